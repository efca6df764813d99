"""What the marks of a step cost against what the step takes -> how many steps to pass over, so that a share is kept.

The cost is measured as it comes, in the job, where caches are cold and neighbours busy: it is some ten times that of
the same calls in a loop of their own.
"""

from __future__ import annotations

SHARE = 0.0075
FIRST_STEPS = 5
WEIGHT = 0.2
LONGEST_NS = 1_000_000_000
ROWS_BEFORE_THINNING = 50_000


class Pace:
    """Running means of what a step takes and of what its marks cost, in nanoseconds."""

    def __init__(self) -> None:
        self.steps = 0
        self.step_ns = 0.0
        self.spent_ns = 0.0

    def step(self, step_ns: int, spent_ns: int) -> None:
        """A step has been marked in full; the first ones, in which much happens once, tell nothing."""
        self.steps += 1
        if self.steps <= FIRST_STEPS:
            self.step_ns, self.spent_ns = float(step_ns), float(spent_ns)
            return
        self.step_ns += WEIGHT * (step_ns - self.step_ns)
        self.spent_ns += WEIGHT * (spent_ns - self.spent_ns)

    def pass_over(self) -> int:
        """Steps to pass over now: as many as bring the cost of the marks down to `SHARE`, in at most a second.

        A long record thins out: beyond `ROWS_BEFORE_THINNING` marked steps, one in two, in three and so on is marked.
        """
        if self.steps <= FIRST_STEPS or self.step_ns <= 0:
            return 0
        wanted = max(self.spent_ns / (SHARE * self.step_ns) - 1, self.steps // ROWS_BEFORE_THINNING)
        return int(min(wanted, LONGEST_NS / self.step_ns))
