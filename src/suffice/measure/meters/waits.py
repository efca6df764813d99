"""The busy workers of a loader -> what they wait for at this moment: storage, network, sleep, a pipe or a lock.

Looked at from outside, four to twenty times a second, and only while a worker's page says that it is inside `fetch`:
between two fetches a worker waits for its next index, which would look like the network. State, system call and wait
channel come from /proc, which a user may read of his own processes.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from suffice.measure.spool.pages import Page

THREADS_LOOKED_AT = 8
RUNNING, STORAGE, NETWORK, SLEEP, PIPE, LOCK, OTHER = "run", "storage", "network", "sleep", "pipe", "lock", "other"
STORAGE_CHANNELS = ("fuse", "nfs", "request_wait_answer", "folio_wait", "io_schedule")
# A thread of `multiprocessing.resource_sharer` waits for connections as long as a worker lives; it says nothing.
ACCEPTING = "accept"

# System calls by number: x86-64 and, where they differ, aarch64.
_X86 = {
    SLEEP: {35, 230},
    STORAGE: {74, 75, 217, 257, 262, 332},
    NETWORK: {7, 23, 42, 44, 45, 46, 47, 232, 270, 271, 281, 441},
    ACCEPTING: {43, 288},
    LOCK: {202, 449},
    "read": {0, 17, 19, 295},
}
_ARM = {
    SLEEP: {101, 115},
    STORAGE: {56, 61, 79, 82, 83, 291},
    NETWORK: {22, 72, 73, 203, 206, 207, 211, 212, 441},
    ACCEPTING: {202, 242},
    LOCK: {98, 449},
    "read": {63, 65, 67},
}
CALLS = _ARM if os.uname().machine == "aarch64" else _X86


class WaitWatcher:
    """Counts kinds of waiting by the owner of the pages: (process, loader)."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self.proc = proc
        self.counts: dict[tuple[int, int], Counter[str]] = {}

    def look(self, pages: Iterable[Page]) -> None:
        """Add what each busy worker does now."""
        for page in pages:
            if page.busy:
                kinds = self._kinds(page)
                counter = self.counts.setdefault(page.owner, Counter())
                for kind in kinds:
                    counter[kind] += 1

    def save(self, path: Path) -> None:
        """Keep the counts; `load_waits` reads them."""
        with suppress(OSError):
            path.write_text(json.dumps([{"owner": owner, "kinds": kinds} for owner, kinds in self.counts.items()]))

    def _kinds(self, page: Page) -> set[str]:
        kind = self._kind(page.pid, page.thread)
        if kind != LOCK:
            return {kind} if kind else set()
        # The fetching thread waits for threads of its own: what they do is what it waits for.
        try:
            threads = [int(t) for t in os.listdir(self.proc / str(page.pid) / "task")]
        except OSError:
            return {LOCK}
        others = [t for t in threads if t != page.thread][:THREADS_LOOKED_AT]
        busy = {k for t in others if (k := self._kind(page.pid, t))} & {STORAGE, NETWORK, SLEEP, RUNNING}
        return busy or {LOCK}

    def _kind(self, pid: int, thread: int) -> str | None:
        folder = self.proc / str(pid) / "task" / str(thread)
        state = _state(folder)
        if state is None:
            return None
        if state == "R":
            return RUNNING
        channel = _text(folder / "wchan")
        if state == "D" or any(name in channel for name in STORAGE_CHANNELS):
            return STORAGE
        call = _text(folder / "syscall").split()
        if not call or call[0] == "running":
            return RUNNING
        number = int(call[0])
        if number in CALLS["read"]:
            return self._of_descriptor(pid, int(call[1], 16))
        return next((kind for kind, numbers in CALLS.items() if number in numbers), OTHER)

    def _of_descriptor(self, pid: int, descriptor: int) -> str:
        try:
            target = os.readlink(self.proc / str(pid) / "fd" / str(descriptor))
        except OSError:
            return STORAGE
        return NETWORK if target.startswith("socket") else PIPE if target.startswith("pipe") else STORAGE


def _state(folder: Path) -> str | None:
    """R, S, D …, from behind the name, which may hold anything; None where the thread has gone."""
    text = _text(folder / "stat")
    return text.rsplit(")", 1)[1].split()[0] if ")" in text else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def load_waits(path: Path) -> dict[tuple[int, int], Mapping[str, float]]:
    """The counts that a `WaitWatcher` kept, by owner; none where there is no such file."""
    try:
        rows = json.loads(path.read_text())
        return {(int(row["owner"][0]), int(row["owner"][1])): dict(row["kinds"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
