"""A command in a sandbox -> a process beside suffice whose output is kept to its last lines, and which ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

TAIL_BYTES = 4_000
PATIENCE_S = 5.0
LOOK_S = 0.01


class Background:
    """A command of one's own session; `stop` ends it with all its descendants."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], output: Path, *, keep: Sequence[int] = ()
    ) -> None:
        """Start it; what it prints goes to the file `output`, and the descriptors in `keep` stay open in it."""
        self.output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=keep,
            )

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self.process.poll()

    def tail(self) -> str:
        """The last lines of what it printed."""
        with self.output.open("rb") as file:
            file.seek(max(0, self.output.stat().st_size - TAIL_BYTES))
            return file.read().decode(errors="replace").strip()

    def stop(self) -> None:
        """End it now: its files are a sandbox's, so there is nothing that it could still save.

        A launcher gives each rank a session of its own, in which the ranks would outlive it.
        """
        below = _descendants(self.process.pid) if self.exit_code is None else {}
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for pid, begun in below.items():
            with suppress(ProcessLookupError, PermissionError):
                if _stat(pid)[1] == begun:
                    os.kill(pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE_S)
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s and any(_runs(pid, begun) for pid, begun in below.items()):
            time.sleep(LOOK_S)  # the next process of the job may want the same port


def _descendants(pid: int) -> dict[int, str]:
    """When each process that descends from `pid` was started, by its number."""
    children: dict[int, list[tuple[int, str]]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names are all that is wanted
        if entry.isdecimal():
            parent, begun = _stat(int(entry))
            children.setdefault(parent, []).append((int(entry), begun))
    found: dict[int, str] = {}
    left = [pid]
    while left:
        for child, begun in children.get(left.pop(), ()):
            found[child] = begun
            left.append(child)
    return found


def _runs(pid: int, begun: str) -> bool:
    return _stat(pid)[1] == begun


def _stat(pid: int) -> tuple[int, str]:
    """The parent of a process and when it was started; (0, "") where there is none, or it is dead."""
    try:
        state, parent, *rest = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return 0, ""
    return (0, "") if state in "ZX" else (int(parent), rest[17])
