"""Entries and exits -> exclusive time by phase: every nanosecond belongs to exactly one phase, so the parts sum up.

The clock is an argument, so that the arithmetic can be tested without a job.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

WAIT, COPY, FORWARD, BACKWARD, OPTIMISER, OTHER, EVAL_WAIT, EVAL_FORWARD, EVAL_OTHER = range(9)
NAMES = (
    "wait_for_data",
    "copy",
    "forward",
    "backward",
    "optimiser",
    "other",
    "evaluation_wait",
    "evaluation_forward",
    "evaluation_other",
)
COUNT = len(NAMES)
# What a phase is called while the job evaluates, and the way back.
TO_EVALUATION = (
    EVAL_WAIT,
    EVAL_OTHER,
    EVAL_FORWARD,
    EVAL_OTHER,
    EVAL_OTHER,
    EVAL_OTHER,
    EVAL_WAIT,
    EVAL_FORWARD,
    EVAL_OTHER,
)
TO_TRAINING = (WAIT, COPY, FORWARD, BACKWARD, OPTIMISER, OTHER, WAIT, FORWARD, OTHER)


class PhaseClock:
    """Sums nanoseconds by phase in `totals`; `tap`, if set, is told of each change of phase."""

    __slots__ = ("evaluating", "now", "phase", "since", "stack", "tap", "totals")

    def __init__(self, now: Callable[[], int] = time.perf_counter_ns) -> None:
        self.now = now
        self.tap: Callable[[int], None] | None = None
        self.restart()

    def restart(self) -> None:
        self.totals = [0] * COUNT
        self.phase = OTHER
        self.stack: list[int] = []
        self.evaluating = False
        self.since = self.now()

    def _turn(self, phase: int) -> None:
        moment = self.now()
        self.totals[self.phase] += moment - self.since
        self.since = moment
        self.phase = phase
        if self.tap is not None:
            self.tap(phase)

    def enter(self, phase: int) -> None:
        self.stack.append(self.phase)
        self._turn(TO_EVALUATION[phase] if self.evaluating else phase)

    def leave(self) -> None:
        self._turn(self.stack.pop() if self.stack else self.ground())

    def ground(self) -> int:
        """The phase of whatever lies between the marked ones."""
        return EVAL_OTHER if self.evaluating else OTHER

    def rest(self, evaluating: bool, phase: int = OTHER) -> None:
        """Back to the top level, where an exception may have kept an exit from being marked."""
        if self.stack or evaluating != self.evaluating or phase != OTHER or self.phase != self.ground():
            del self.stack[:]
            self.evaluating = evaluating
            self._turn(TO_EVALUATION[phase] if evaluating else phase)

    def resume(self, moment: int) -> None:
        """Go on from a moment of the past, with nothing booked."""
        self.totals = [0] * COUNT
        self.stack = []
        self.evaluating = False
        self.phase = OTHER
        self.since = moment

    def settle(self) -> int:
        """Book the time until now and return the moment, in nanoseconds of the clock."""
        self._turn(self.phase)
        return self.since
