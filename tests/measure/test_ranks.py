"""One process's record -> its rank: typical steps, rates, losses."""

import pytest

from suffice.agent.steps import COUNTED, PASSED_OVER
from suffice.measure.ranks import Fetches, notes_of, rank_of, series_of, typical
from suffice.measure.spool.reader import PHASES, ProcessRecord, StepRow

NONE = Fetches(totals={}, kinds={}, cores=2.0)
MS = 10**6


def step(last: int, ms: int, flags: int = 0, count: int = 1, samples: int = 8) -> StepRow:
    """A step that spent its time in forward."""
    ns = [0] * len(PHASES)
    ns[PHASES.index("forward")] = ms * MS * count
    return StepRow(last, count, (last + 1) * 10**9, ms * MS * count, samples * count, 0, flags, tuple(ns))


def record(*steps: StepRow) -> ProcessRecord:
    return ProcessRecord(process={"pid": 7}, steps=list(steps), tail_ns=(0,) * len(PHASES), begun_ns=0)


def test_the_first_step_and_counted_ones_do_not_enter_the_split() -> None:
    """Caches start in the one, counting slows the other."""
    made = record(step(0, 900), *(step(i, 10) for i in range(1, 8)), step(8, 500, COUNTED))
    rank = rank_of(made, NONE)
    assert rank.split["forward_s"].value == pytest.approx(0.010)
    assert rank.figures["step_s"].value == pytest.approx(0.010)
    assert rank.figures["steps"].value == 9
    assert rank.figures["samples_per_s"].value == pytest.approx(800)


def test_passed_over_steps_count_for_the_time_of_a_step_and_not_for_its_split() -> None:
    """A stretch of ten steps weighs as ten in the median."""
    made = record(step(0, 900), *(step(i, 10) for i in range(1, 7)), step(16, 30, PASSED_OVER, count=10))
    rank = rank_of(made, NONE)
    assert rank.split["forward_s"].value == pytest.approx(0.010)
    assert rank.figures["step_s"].value == pytest.approx(0.030)
    assert rank.figures["mean_step_s"].value == pytest.approx((6 * 10 + 10 * 30) / 16 / 1e3)
    assert rank.figures["steps"].value == 17


def test_a_single_step_has_to_do() -> None:
    """Where there is nothing but the first step, it is the typical one."""
    made = record(step(0, 10))
    assert typical(made.steps) == made.steps
    assert rank_of(made, NONE).split["forward_s"].value == pytest.approx(0.010)


def test_a_loss_that_is_not_finite_is_told_and_left_out_of_the_curve() -> None:
    """The note names the first such step."""
    made = record(*(step(i, 10) for i in range(4)))
    made.losses = [(0, 2.0), (1, 1.0), (2, float("nan")), (3, float("inf"))]
    (loss,) = [s for s in series_of(made, 0.0) if s.name == "loss"]
    assert loss.values == (2.0, 1.0)
    assert rank_of(made, NONE).figures["last_loss"].value == 1.5
    assert any("not finite from step 2 on" in note.text for note in notes_of(made))
