"""A training command -> the job, live in a sandbox, in which changes are switched on and off and compared step by step.

The job is the user's own script with the agent in it; it waits at the boundary of a step for each order. When the
script comes to its end it is started again, and what was switched on is switched on again. Nothing that it does is the
user's run: it is ended when the rig is closed.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suffice.errors import RigError
from suffice.prove.trial import Arm, MeasurePair
from suffice.prove.workshop import Workshop
from suffice.records import Change
from suffice.run.background import Background

BEGIN_S = 300.0
STEP_S = 600.0
POLL_S = 0.1
RESTARTS = 40
FAILURES = 2
ENDING_S = 10.0
SOCKET = "rig"
NOT_A_TRAINING = "what follows `--` must train a model of torch; `suffice measure` tells what it does"


class JobEndedError(Exception):
    """The job's process has ended, or said nothing for too long."""


class Link:
    """The socket of one process of the job."""

    def __init__(self, process: Background, listener: socket.socket, on_wait: Callable[[], None]) -> None:
        self.process = process
        self.on_wait = on_wait
        listener.settimeout(POLL_S)
        until_s = time.monotonic() + BEGIN_S
        while True:
            try:
                self.connection, _ = listener.accept()
                break
            except TimeoutError:
                self._look(until_s)
        self.connection.settimeout(POLL_S)
        self.buffer = b""
        self.hello = self.receive()

    def _look(self, until_s: float) -> None:
        self.on_wait()
        if self.process.exit_code is not None:
            raise JobEndedError(f"it ended with exit code {self.process.exit_code}")
        if time.monotonic() > until_s:
            raise JobEndedError("it made no step for too long")

    def receive(self) -> dict[str, Any]:
        """The next answer."""
        until_s = time.monotonic() + STEP_S
        while b"\n" not in self.buffer:
            try:
                data = self.connection.recv(1 << 16)
            except TimeoutError:
                self._look(until_s)
                continue
            except OSError:
                data = b""
            if not data:
                raise JobEndedError("it ended")
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, **order: Any) -> dict[str, Any]:
        """Give an order and wait for its answer."""
        try:
            self.connection.sendall(json.dumps(order).encode() + b"\n")
        except OSError:
            raise JobEndedError("it ended") from None
        return self.receive()


@dataclass(kw_only=True, slots=True)
class Pairs:
    """The times of a trial's pairs by clock, in seconds a step: [(plain, changed), …].

    `processor` is that of the process itself, `of_all` that of its children (workers) as well.
    """

    wall: list[tuple[float, float]] = field(default_factory=list)
    processor: list[tuple[float, float]] = field(default_factory=list)
    of_all: list[tuple[float, float]] = field(default_factory=list)


class Rig:
    """The live job; to be closed."""

    def __init__(
        self,
        workshop: Workshop,
        *,
        spool: Path | None,
        on_wait: Callable[[int | None], None] = lambda _: None,
        changes: Sequence[Change] = (),
    ) -> None:
        self.workshop = workshop
        self.on_wait = on_wait
        self.kept: list[Change] = []
        self.from_start = [{"id": change.id, "settings": dict(change.settings)} for change in changes]
        self.spool: Path | None = spool
        self.starts = 0
        self.start_s = 0.0
        self.process: Background | None = None
        self.place = Path(tempfile.mkdtemp(prefix="rig-", dir=workshop.folder))
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _short(self.place) as short:
            self.listener.bind(f"{short}/{SOCKET}")
        self.listener.listen(1)
        try:
            self.link = self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> Link:
        self.starts += 1
        if self.starts > RESTARTS:
            raise RigError(f"the job came to its end {RESTARTS} times during the trials: it makes too few steps")
        order = {"socket": str(self.place / SOCKET), "changes": self.from_start}
        begun_s = time.monotonic()
        self.process = self.workshop.start(order, spool=self.spool)
        self.spool = None  # only the first process is recorded
        try:
            link = Link(self.process, self.listener, self._wait)
        except JobEndedError as ended:
            self.process.stop()
            raise RigError(
                f"the job made no step in which anything could be tried: {ended}\n{self.process.tail()}",
                hint=NOT_A_TRAINING,
            ) from None
        self.workshop.by_hand |= bool(link.hello.get("by_hand"))
        self.start_s = time.monotonic() - begun_s
        return link

    def _wait(self) -> None:
        self.on_wait(self.process.process.pid if self.process else None)

    def _again(self, candidate: Change | None) -> None:
        """A new process in the state of the old one."""
        self.close_process()
        self.link = self._start()
        for change in (*self.kept, *((candidate,) if candidate else ())):
            answer = self._prepared(change)
            if "refused" in answer:
                raise RigError(f"{change.name} could be switched on once, and not again: {answer['refused']}")
            if change in self.kept:
                self.link.ask(do="keep", id=change.id)

    def _asked(self, candidate: Change | None, **order: Any) -> dict[str, Any]:
        """An order's answer; where the job comes to its end first, in a new process.

        Raises:
            RigError: if it failed, and failed again.
        """
        failures = 0
        while True:
            try:
                return self.link.ask(**order)
            except JobEndedError:
                failures += self._failed()
                if candidate is not None and failures == FAILURES:
                    raise RigError(f"with it the job fails: {self._last_line()}") from None
                self._again(candidate)

    def _failed(self) -> bool:
        """Whether the job ended by an error of its own."""
        if self.process is None:
            return False
        with suppress(subprocess.TimeoutExpired):
            self.process.process.wait(ENDING_S)
        return self.process.exit_code not in (None, 0)

    def _last_line(self) -> str:
        lines = self.process.tail().splitlines() if self.process is not None else []
        return lines[-1] if lines else "it says nothing"

    def run(self, steps: int) -> dict[str, Any] | None:
        """Let the job make steps; None where it comes to its end first, after which it is started again when asked."""
        try:
            return self.link.ask(do="run", steps=steps)
        except JobEndedError:
            return None

    def prepare(self, change: Change) -> str | None:
        """Make a change ready to be tried; the reason if it is not possible here."""
        while True:
            try:
                return self._prepared(change).get("refused")
            except JobEndedError:
                self._again(None)

    def _prepared(self, change: Change) -> dict[str, Any]:
        order = {"do": "prepare", "id": change.id, "settings": dict(change.settings), "seconds": self.rehearsal_s}
        return self.link.ask(**order)

    rehearsal_s = 120.0

    def pairs(self, change: Change | None, *, clock: str, block: int, warm_up: int, seen: Pairs) -> MeasurePair:
        """What measures one pair of blocks, without and with a prepared change; None changes nothing."""
        ids = [] if change is None else [change.id]
        return self._measure(ids, change, clock=clock, block=block, warm_up=warm_up, seen=seen)

    def together(self, *, clock: str, block: int, warm_up: int, seen: Pairs) -> MeasurePair:
        """The same for all that was kept against the plain job."""
        ids = [change.id for change in self.kept]
        return self._measure(ids, None, clock=clock, block=block, warm_up=warm_up, seen=seen)

    def _measure(
        self, ids: Sequence[str], change: Change | None, *, clock: str, block: int, warm_up: int, seen: Pairs
    ) -> MeasurePair:
        def measure(first: Arm) -> tuple[float, float] | None:
            order = {"do": "pair", "ids": list(ids), "first": str(first), "block": block, "warm_up": warm_up}
            answer = self._asked(change, **order)
            if "refused" in answer:
                raise RigError(f"the trial broke off: {answer['refused']}")
            for number, times in enumerate((seen.wall, seen.processor, seen.of_all)):
                times.append((answer["plain"][number], answer["changed"][number]))
            return (seen.wall if clock == "wall" else seen.processor)[-1]

        return measure

    def block(self, steps: int, *, warm_up: int) -> tuple[float, float]:
        """Seconds a step on the clock and on the processor, of a block of steps as the job is now."""
        answer = self._asked(None, do="block", block=steps, warm_up=warm_up)
        if "refused" in answer:
            raise RigError(f"the trial broke off: {answer['refused']}")
        wall_s, processor_s, _ = answer["block"]
        return wall_s, processor_s

    def keep(self, change: Change) -> None:
        """Leave a prepared change switched on, and build on it."""
        self.kept.append(change)
        with suppress(JobEndedError):  # then the next process has it
            self.link.ask(do="keep", id=change.id)

    def drop(self, change: Change) -> None:
        """Take a change out again, whether it was kept or only prepared."""
        self.kept = [each for each in self.kept if each != change]
        with suppress(JobEndedError):
            self.link.ask(do="drop", id=change.id)

    def facts(self) -> dict[str, dict[str, Any]]:
        """What the techniques tell of themselves."""
        answer = self._asked(None, do="facts")
        facts: dict[str, dict[str, Any]] = answer.get("facts", {})
        return facts

    def refused(self) -> dict[str, str]:
        """What the job was started with and goes without, with the reason."""
        refused: dict[str, str] = self._asked(None, do="facts")["refused"]
        return refused

    def leave(self) -> None:
        """Have the record of the first process written; nothing is recorded from here on."""
        with suppress(JobEndedError):
            self.link.ask(do="leave")

    def close_process(self) -> None:
        """End the job's process."""
        if self.process is not None:
            self.process.stop()
            self.process = None
        with suppress(AttributeError, OSError):
            self.link.connection.close()

    def close(self) -> None:
        """End the job."""
        self.close_process()
        self.listener.close()


@contextmanager
def _short(folder: Path) -> Iterator[str]:
    """Another path of a folder: a socket's may not be longer than 107 bytes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
