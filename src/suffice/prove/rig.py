"""A training command -> the job, live in a sandbox, in which changes are switched on and off and compared step by step.

The job is the user's own script with the agent in it; it waits at the boundary of a step for each order. When the
script comes to its end it is started again, and what was switched on is switched on again. Nothing that it does is the
user's run: it is ended when the rig is closed.
"""

from __future__ import annotations

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
from suffice.run.links import JobEndedError, Links

RESTARTS, ENDS = 40, 3
ATTEMPTS = 6
FAILURES = 2
ENDING_S = 10.0
NOT_A_TRAINING = "what follows `--` must train a model of torch; `suffice measure` tells what it does"


@dataclass(kw_only=True, slots=True)
class Pairs:
    """The times of a trial's pairs by clock, in seconds a step: [(plain, changed), …].

    `processor` is that of the process itself, `of_all` that of its children (workers) as well.
    """

    wall: list[tuple[float, float]] = field(default_factory=list)
    processor: list[tuple[float, float]] = field(default_factory=list)
    of_all: list[tuple[float, float]] = field(default_factory=list)

    def add(self, plain: Sequence[float], changed: Sequence[float]) -> None:
        """One more pair: the times of each by the three clocks."""
        for times, pair in zip((self.wall, self.processor, self.of_all), zip(plain, changed, strict=True), strict=True):
            times.append(pair)


class Rig:
    """The live job; to be closed. Its ranks all have the same order for the same step."""

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
        self.from_start = [change.order for change in changes]
        self.spool: Path | None = spool
        self.starts, self.start_s = 0, 0.0
        self.ranks = 1
        self.process: Background | None = None
        self.links: Links | None = None
        self.place = Path(tempfile.mkdtemp(prefix="rig-", dir=workshop.folder))
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        self.starts += 1
        if self.starts > RESTARTS:
            raise RigError(f"the job came to its end {RESTARTS} times during the trials: it makes too few steps")
        path, begun_s = self.place / str(self.starts), time.monotonic()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            with _short(self.place) as short:
                listener.bind(f"{short}/{path.name}")
            listener.listen()
            self.process = self.workshop.start({"socket": str(path), "changes": self.from_start}, spool=self.spool)
            self.spool = None  # only the first process is recorded
            try:
                self.links = Links(self.process, listener, self._wait)
            except JobEndedError as ended:
                self.process.stop()
                raise RigError(
                    f"the job made no step in which anything could be tried: {ended}\n{self.process.tail()}",
                    hint=NOT_A_TRAINING,
                ) from None

        self.ranks = len(self.links)
        self.workshop.by_hand |= any(link.hello.get("by_hand") for link in self.links.links)
        self.start_s = time.monotonic() - begun_s

    def _wait(self) -> None:
        self.on_wait(self.process.process.pid if self.process else None)

    def _again(self, candidate: Change | None) -> None:
        """New processes in the state of the old ones."""
        self.close()
        self._start()
        for change in (*self.kept, *((candidate,) if candidate else ())):
            reason = self._prepared(change)
            if reason is not None:
                raise RigError(f"{change.name} could be switched on once, and not again: {reason}")
            if change in self.kept:
                self._ask(do="keep", id=change.id)

    def _ask(self, **order: Any) -> list[dict[str, Any]]:
        """The answers of all ranks.

        Raises:
            JobEndedError: if the job comes to its end first.
            RigError: if its ranks don't make the same steps; then it is ended.
        """
        if self.links is None:
            raise JobEndedError("it was ended")
        try:
            return self.links.ask(**order)
        except RigError:
            self.close()
            raise

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
        """Let the job make steps; None where it comes to its end first, after which it is started again when asked.

        A step's time is that of the slowest rank.
        """
        try:
            answers = self._ask(do="run", steps=steps, warm_up=0)
        except JobEndedError:
            return None
        return {"ran": steps, "wall_s": [max(each) for each in zip(*(a["wall_s"] for a in answers), strict=True)]}

    def prepare(self, change: Change) -> str | None:
        """Make a change ready to be tried, on all ranks or on none; the reason if it is not possible here."""
        while True:
            try:
                return self._prepared(change)
            except JobEndedError:
                self._again(None)

    def _prepared(self, change: Change) -> str | None:
        order = {"do": "prepare", **change.order, "seconds": self.rehearsal_s}
        reason = self._refusal(self._ask(**order))
        if reason is not None:
            self._ask(do="drop", id=change.id)
        return reason

    def _refusal(self, answers: Sequence[dict[str, Any]]) -> str | None:
        """Why a rank refused, if one did."""
        reasons = [(rank, answer["refused"]) for rank, answer in enumerate(answers) if "refused" in answer]
        if not reasons:
            return None
        rank, reason = reasons[0]
        return str(reason) if len(reasons) == len(answers) else f"on rank {rank}: {reason}"

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
        def measure(first: Arm) -> tuple[float, float]:
            arms = (Arm.PLAIN, Arm.CHANGED) if first is Arm.PLAIN else (Arm.CHANGED, Arm.PLAIN)
            failures = 0
            for _ in range(ENDS):
                try:
                    told = {arm: self._block(ids, arm, block, warm_up) for arm in arms}
                except JobEndedError:
                    failures += self._failed()
                    if change is not None and failures == FAILURES:
                        raise RigError(f"with it the job fails: {self._last_line()}") from None
                    self._again(change)
                    continue
                seen.add(told[Arm.PLAIN], told[Arm.CHANGED])
                # Processor time does not know how long ranks wait for each other.
                return (seen.wall if clock == "wall" or self.ranks > 1 else seen.processor)[-1]
            raise RigError(f"the job came to its end {ENDS} times before one pair of blocks was compared")

        return measure

    def block(self, steps: int, *, warm_up: int) -> tuple[float, float, float]:
        """Seconds a step on the clock, on the processor, and there with children, of a block as the job is now.

        It is compared with that of another process: what workers fetched while it waited does not count.
        """
        while True:
            try:
                ahead = max(each["ahead"] for each in self._ask(do="switch", ids=[], on=False))
                return self._timed(steps, warm_up + ahead)
            except JobEndedError:
                self._again(None)

    def _block(self, ids: Sequence[str], arm: Arm, block: int, warm_up: int) -> tuple[float, float, float]:
        """The times of a block of steps with the changes on or off.

        What all ranks do is settled here: how many steps make a block, and whether it has to be made again.
        """
        answers = self._ask(do="switch", ids=list(ids), on=arm is Arm.CHANGED)
        reason = self._refusal(answers)
        if reason is not None:
            raise RigError(f"the trial broke off: {reason}")
        # A switch may find in the job that it needs longer blocks: workers have fetched ahead.
        block = max(block, *(each["block"] for each in answers))
        warm_up = max(warm_up, *(each["warm_up"] for each in answers))
        return self._timed(block, warm_up)

    def _timed(self, block: int, warm_up: int) -> tuple[float, float, float]:
        """Seconds a step: of the slowest rank on the wall clock; of all ranks on the processors, and with children.

        Of several attempts the last counts, whatever happened.
        """
        for attempt in range(ATTEMPTS):
            answers = self._ask(do="run", steps=block, warm_up=0 if attempt else warm_up)
            if not any(each["disturbed"] for each in answers):
                break
        steps = max(each["worth"] for each in answers) or block
        wall_s = max(sum(each["wall_s"]) for each in answers)
        processor_s = sum(sum(each["processor_s"]) for each in answers)
        of_children_s = sum(each["of_children_s"] for each in answers)
        return wall_s / steps, processor_s / steps, (processor_s + of_children_s) / steps

    def keep(self, change: Change) -> None:
        """Leave a prepared change switched on, and build on it."""
        self.kept.append(change)
        with suppress(JobEndedError):  # then the next process has it
            self._ask(do="keep", id=change.id)

    def drop(self, change: Change) -> None:
        """Take a change out again, whether it was kept or only prepared."""
        self.kept = [each for each in self.kept if each != change]
        with suppress(JobEndedError):
            self._ask(do="drop", id=change.id)

    def facts(self) -> dict[str, dict[str, Any]]:
        """What the techniques tell of themselves, on the first rank."""
        while True:
            try:
                facts: dict[str, dict[str, Any]] = self._ask(do="facts")[0].get("facts", {})
            except JobEndedError:
                self._again(None)
            else:
                return facts

    def refused(self) -> dict[str, str]:
        """What the job was started with and goes without on some rank, with the reason."""
        while True:
            try:
                refused: dict[str, str] = {}
                for answer in self._ask(do="facts"):
                    refused.update(answer["refused"])
            except JobEndedError:
                self._again(None)
            else:
                return refused

    def leave(self) -> None:
        """Have the record of the first processes written; nothing is recorded from here on."""
        with suppress(JobEndedError):
            self._ask(do="leave")

    def rest(self) -> None:
        """End a job of several ranks until it is needed again: its courses want the port that its ranks meet at."""
        if self.ranks > 1:
            self.close()

    def wake(self) -> None:
        """Start it again, if it rests, so that no trial's time goes into that."""
        if self.links is None:
            self._again(None)

    def close(self) -> None:
        """End the job."""
        if self.process is not None:
            self.process.stop()
            self.process = None
        if self.links is not None:
            self.links.close()
            self.links = None


@contextmanager
def _short(folder: Path) -> Iterator[str]:
    """Another path of a folder: a socket's may not be longer than 107 bytes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
