"""The pace keeps the marks at their share of a job's time, whatever the steps and the marks take."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from suffice.agent.pace import ALLOWANCE_NS, FIRST_STEPS, ROWS_BEFORE_THINNING, SHARE, SHARE_OF_SHORT, Pace

MS, US = 1_000_000, 1_000


@dataclass
class Simulated:
    """What came of a job whose marks cost time."""

    marked: int = 0
    longest_gap: int = 0
    spent_ns: int = 0
    all_ns: int = 0


def simulate(steps: int, step_ns: int, mark_ns: Callable[[int], int]) -> Simulated:
    """A job of equal steps; `mark_ns` gives what the marks of the so-many-th marked step cost."""
    pace, seen, left = Pace(), Simulated(), steps
    while left > 0:
        spent_ns = mark_ns(seen.marked)
        pace.step(step_ns + spent_ns, spent_ns)
        gap = min(left - 1, pace.pass_over())
        pace.passed(gap * step_ns)
        seen.marked += 1
        seen.longest_gap = max(seen.longest_gap, gap)
        seen.spent_ns += spent_ns
        seen.all_ns += (1 + gap) * step_ns + spent_ns
        left -= 1 + gap
    return seen


def test_a_short_job_is_marked_in_full() -> None:
    """While the marks have cost less than the allowance, no step is passed over, however dear its marks are."""
    each_ns = 100 * US
    assert simulate(ALLOWANCE_NS // each_ns, 200 * US, lambda _: each_ns).longest_gap == 0


def test_steps_with_cheap_marks_are_all_marked() -> None:
    """A long job whose marks stay below the share is marked in full."""
    assert simulate(20_000, 50 * MS, lambda _: int(0.5 * SHARE * 50 * MS)).longest_gap == 0


@pytest.mark.parametrize(
    ("step_ns", "each_ns", "share"),
    [
        (100 * US, 60 * US, SHARE_OF_SHORT),
        (1 * MS, 200 * US, SHARE_OF_SHORT),
        (20 * MS, 1 * MS, SHARE),
        (300 * MS, 5 * MS, SHARE),
    ],
)
def test_a_long_job_keeps_the_share(step_ns: int, each_ns: int, share: float) -> None:
    """Beyond the allowance the marks take the share of all the job's time, and not much less than that either."""
    job = simulate(300_000_000_000 // step_ns, step_ns, lambda _: each_ns)
    paid_ns = job.spent_ns - ALLOWANCE_NS - FIRST_STEPS * each_ns
    assert paid_ns <= share * job.all_ns + each_ns
    assert paid_ns >= 0.5 * share * job.all_ns


def test_an_interrupted_mark_is_not_taken_for_its_cost() -> None:
    """One mark in twenty that was interrupted for 20 ms does not make the job pass over many more steps."""
    quiet = simulate(200_000, 2 * MS, lambda _: 100 * US)
    disturbed = simulate(200_000, 2 * MS, lambda i: 20 * MS if i % 20 == 19 else 100 * US)
    assert disturbed.marked > 0.5 * quiet.marked


def test_the_first_steps_tell_nothing() -> None:
    """What happens once, such as finding the model, neither uses up the allowance nor counts for what follows."""
    assert simulate(400, 1 * MS, lambda i: 500 * MS if i < FIRST_STEPS - 1 else 100 * US).longest_gap == 0


def test_marks_that_became_dearer_are_noticed() -> None:
    """Where each mark costs ten times as much from some step on, the share is kept all the same."""
    job = simulate(400_000, 2 * MS, lambda i: 30 * US if i < 5_000 else 300 * US)
    assert job.spent_ns - ALLOWANCE_NS <= 1.1 * SHARE_OF_SHORT * job.all_ns


def test_at_most_a_second_is_passed_over() -> None:
    """However dear the marks are, something is marked each second."""
    job = simulate(10_000, 50 * MS, lambda _: 50 * MS)
    assert 10 <= job.longest_gap <= 20


def test_a_long_record_thins_out() -> None:
    """Beyond the rows that a record should hold, fewer steps are marked even where marks cost nothing."""
    job = simulate(4 * ROWS_BEFORE_THINNING, 10 * MS, lambda _: 0)
    assert ROWS_BEFORE_THINNING < job.marked < 3 * ROWS_BEFORE_THINNING
