"""What the marks of a step cost against what the step takes -> how many steps to pass over, so that a share is kept.

The cost is measured as it comes, in the job, where caches are cold and neighbours busy: it is some ten times that of
the same calls in a loop of their own. A short job is marked in full: the first `ALLOWANCE_NS` of cost are free.
"""

from __future__ import annotations

ALLOWANCE_NS = 50_000_000
SHARE, SHARE_OF_SHORT = 0.0075, 0.03
SHORT_NS = 5_000_000
FIRST_STEPS = 5
WEIGHT = 0.2
OUTLIER = 4.0  # times the mean: beyond it a mark was interrupted, and what it took is not its own
LONGEST_NS = 1_000_000_000
SMALLEST_PLAIN_PART = 0.05
ROWS_BEFORE_THINNING = 50_000


class Pace:
    """Running means of what a step takes and of what its marks cost, and their sums, in nanoseconds."""

    def __init__(self, allowance_ns: int = ALLOWANCE_NS) -> None:
        self.allowance_ns = allowance_ns
        self.marked = 0
        self.step_ns = self.spent_ns = 0.0
        self.all_steps_ns = self.all_spent_ns = 0

    def step(self, step_ns: int, spent_ns: int) -> None:
        """A step has been marked in full; the first ones, in which much happens once, tell nothing."""
        self.marked += 1
        if self.marked <= FIRST_STEPS:
            self.step_ns, self.spent_ns = float(step_ns), float(spent_ns)
            return
        spent_ns = min(spent_ns, max(int(OUTLIER * self.spent_ns), 1_000))
        self.step_ns += WEIGHT * (step_ns - self.step_ns)
        self.spent_ns += WEIGHT * (spent_ns - self.spent_ns)
        self.passed(step_ns)
        self.all_spent_ns += spent_ns

    def passed(self, stretch_ns: int) -> None:
        """Steps have gone by, marked or not."""
        self.all_steps_ns += stretch_ns

    def pass_over(self) -> int:
        """Steps to pass over now: as many as bring the cost of the marks down to the share, in at most a second.

        A long record thins out: beyond `ROWS_BEFORE_THINNING` marked steps, one in two, in three and so on is marked.
        """
        if self.marked <= FIRST_STEPS or self.step_ns <= 0:
            return 0
        # A step that is passed over takes the time of a marked one without its marks.
        plain_ns = max(self.step_ns - self.spent_ns, SMALLEST_PLAIN_PART * self.step_ns)
        wanted = float(self.marked // ROWS_BEFORE_THINNING)
        share = SHARE_OF_SHORT if plain_ns < SHORT_NS else SHARE
        if self.all_spent_ns > self.allowance_ns + share * self.all_steps_ns:
            wanted = max(wanted, self.spent_ns / (share * plain_ns))
        return int(min(wanted, LONGEST_NS / plain_ns))
