"""Marks of the hooks -> one row per optimiser step: its time by phase, its samples, tokens and losses.

A step ends where an optimiser's `step` returned, the last one before the next training batch is asked for or, without
a loader, before the same optimiser steps again. What follows (a scheduler, logging) belongs to the next step, so the
steps tile the loop: the parts sum up to its wall time.

Steps of a job that never calls an optimiser of torch end with `backward`, once `PATIENCE` of them have shown it, or
many more where there is an optimiser: it may be that the job accumulates gradients for long.

Steps may be passed over (`record.Record` decides when): such a stretch is one row that tells its length and no parts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from . import phases

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .batch import Size
    from .phases import PhaseClock
    from .spool import Spool

    Checkpoint = tuple[int, list[int], int, int]  # freezes, totals by phase, samples, tokens

STEADY = 4
PATIENCE = 16
PATIENCE_WITH_OPTIMISER = 4096

COUNTED = 1  # the operations of this step were counted, which slowed it
FORWARD_UNKNOWN = 2  # the modules whose calls are the forward pass were not known yet
BY_BACKWARD = 4  # no optimiser was seen: the step ended with backward
PASSED_OVER = 8  # nothing but the end of each step was marked: all their time stands under `other`


class Sums:
    """What has come together since the last optimiser step, or what that step closed."""

    __slots__ = ("backwards", "cpu_ns", "flags", "losses", "samples", "tokens", "totals")

    def __init__(self) -> None:
        self.totals = [0] * phases.COUNT
        self.samples = self.tokens = self.backwards = self.cpu_ns = self.flags = 0
        self.losses: list[float] = []  # an int is a ticket of `loss.DeviceLosses`

    def add(self, other: Sums) -> None:
        self.totals = [a + b for a, b in zip(self.totals, other.totals)]
        self.samples += other.samples
        self.tokens += other.tokens
        self.backwards += other.backwards
        self.cpu_ns += other.cpu_ns
        self.flags |= other.flags
        self.losses += other.losses


class Steps:
    """Writes the rows ("step", [last index, steps, end_ns, cpu_ns, samples, tokens, flags, *ns by phase])."""

    def __init__(self, clock: PhaseClock, spool: Spool, cpu_now: Callable[[], int] = time.process_time_ns) -> None:
        self.clock = clock
        self.spool = spool
        self.cpu_now = cpu_now
        self.index = 0
        self.begun_ns: int | None = None
        self.end_ns = 0
        self.now = Sums()
        self.frozen: Sums | None = None
        self.freezes = 0
        self.stepped: set[int] = set()
        self.optimiser_seen = False
        self.by_backward = False
        self.on_freeze: Callable[[], None] | None = None
        self.on_close: Callable[[int, Sums], None] | None = None
        self.stops = self.stops_of_last = self.steady = 0

    def begin(self) -> None:
        """The loop begins with its first mark; what came before is the job's start-up."""
        if self.begun_ns is None:
            self.clock.restart()
            self.begun_ns = self.clock.since
            self.cpu_ns = self.cpu_now()
            self.spool.message("loop", begun_ns=self.begun_ns)

    def batch_wanted(self) -> None:
        """A training batch is about to be fetched: the optimiser step that waits to be closed was its step's last."""
        if self.by_backward and self.now.backwards:
            self._freeze(BY_BACKWARD)
        if self.frozen is not None:
            self._close()

    def current(self, has_loader: bool) -> int:
        """The index of the step that is being made. Without a loader a closed step is noticed only when it ends."""
        return self.index if has_loader or self.frozen is None else self.index + 1

    def count(self, size: Size) -> None:
        """`size`: the (samples, tokens, …) of a batch that this step trains on."""
        self.now.samples += size[0]
        self.now.tokens += size[1]

    def forward_begins(self) -> None:
        """Without a loader a step found by its backward ends where the next forward pass begins."""
        if self.by_backward and self.now.backwards:
            self.batch_wanted()

    def backward_ended(self, has_optimiser: bool) -> None:
        """`has_optimiser`: an optimiser of torch exists, and nothing is compiled that could hide its steps."""
        self.now.backwards += 1
        patience = PATIENCE_WITH_OPTIMISER if has_optimiser else PATIENCE
        if not self.optimiser_seen and self.now.backwards >= patience:
            self.by_backward = True

    def optimiser_begins(self, key: int) -> None:
        self.optimiser_seen = True
        self.by_backward = False
        if key in self.stepped and self.frozen is not None:
            self._close()

    def optimiser_ended(self, key: int) -> None:
        self._freeze(0)
        self.stepped.add(key)
        self.stops += 1

    def surely_ended(self) -> bool:
        """Whether the latest optimiser step was its step's last, going by the steps before, which were all alike."""
        return self.steady >= STEADY and self.stops == self.stops_of_last

    def _freeze(self, flags: int) -> None:
        moment = self.clock.settle()
        cpu_ns = self.cpu_now()
        now = self.now
        now.totals, self.clock.totals = self.clock.totals, [0] * phases.COUNT
        now.cpu_ns, self.cpu_ns = cpu_ns - self.cpu_ns, cpu_ns
        now.flags |= flags
        if self.frozen is None:
            self.frozen = now
        else:
            self.frozen.add(now)
        self.now = Sums()
        self.freezes += 1
        self.end_ns = moment
        if self.on_freeze is not None:
            self.on_freeze()

    def _close(self) -> None:
        step: Sums
        step, self.frozen = self.frozen, None  # type: ignore[assignment]  # the callers have looked
        self.steady = self.steady + 1 if self.stops == self.stops_of_last else 0
        self.stops_of_last, self.stops = self.stops, 0
        self.stepped.clear()
        count = step.backwards or 1 if step.flags & BY_BACKWARD else 1
        self._write(step, count)
        if self.on_close is not None:
            self.on_close(self.index, step)
        self.index += count

    def _write(self, step: Sums, count: int) -> None:
        last = self.index + count - 1
        self.spool.row(
            "step",
            [last, count, self.end_ns, step.cpu_ns, step.samples, step.tokens, step.flags, *step.totals],
        )

    def passed_over(self, count: int, end_ns: int) -> None:
        """Since the latest step was closed, `count` more have ended, the last of them at `end_ns`."""
        cpu_ns = self.cpu_now()
        stretch = Sums()
        stretch.flags = PASSED_OVER
        stretch.cpu_ns, self.cpu_ns = cpu_ns - self.cpu_ns, cpu_ns
        stretch.totals[phases.OTHER] = end_ns - self.end_ns
        self.end_ns = end_ns
        if count:
            self._write(stretch, count)
        self.index += count
        self.clock.resume(end_ns)

    def finish(self) -> None:
        """Close what is open, and write what came after the last step as the tail."""
        if self.begun_ns is None:
            return
        self.batch_wanted()
        self.clock.settle()
        self.spool.message("tail", end_ns=self.clock.since, totals=self.clock.totals, steps=self.index)

    def checkpoint(self) -> Checkpoint:
        """What an iteration over a loader of unknown role starts from; see `recast`."""
        self.clock.settle()
        return self.freezes, list(self.clock.totals), self.now.samples, self.now.tokens

    def recast(self, checkpoint: Checkpoint, to_phase: Sequence[int]) -> None:
        """Book what came since the checkpoint to other phases, unless an optimiser has stepped since.

        An iteration that never led to a step was an evaluation; one that was taken for an evaluation but did, was not.
        """
        freezes, before, samples, tokens = checkpoint
        if freezes != self.freezes:
            return
        self.clock.settle()
        after, result = self.clock.totals, list(before)
        for phase in range(phases.COUNT):
            result[to_phase[phase]] += after[phase] - before[phase]
        self.clock.totals = result
        if to_phase is phases.TO_EVALUATION:
            self.now.samples, self.now.tokens = samples, tokens
