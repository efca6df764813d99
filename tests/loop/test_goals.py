"""Goals of an improvement: a deadline and a budget are held against a run with the plan, a floor against its metric."""

from dataclasses import replace

import pytest

from suffice.keep.report.saving import takes
from suffice.loop.improving import FullProof, _of_goal
from suffice.prove.full import Metric
from suffice.records import Goal, estimated, measured
from tests.keep.made_searches import found
from tests.keep.report.made_profiles import on_gpus


def a_search(**changes):
    """One that was made after a whole run of two hours, which trained all the time, for 10 USD."""
    run = on_gpus(ranks=1)
    figures = {**run.figures, "duration_s": measured(7200.0, "s")}
    figures["cost_usd"] = estimated(10.0, "USD", low=9.0, high=11.0, method="the rate")
    ranks = [replace(rank, figures={**rank.figures, "training_s": measured(7200.0, "s")}) for rank in run.ranks]
    return found(whole_run=replace(run, figures=figures, ranks=tuple(ranks)), **changes)


def test_a_run_takes_what_the_proven_ratio_leaves():
    took = takes(a_search())
    assert took["duration_s"].value == pytest.approx(7200 / 2.6)
    assert took["duration_s"].low == pytest.approx(7200 / 2.71)
    assert took["cost_usd"].high == pytest.approx(11 / 2.48)
    assert takes(a_search(stays=(), total=None))["duration_s"].value == 7200
    assert takes(found()) == {}


@pytest.mark.parametrize(
    ("deadline_h", "verdict"), [(0.9, "kept"), (0.77, "not decided"), (0.5, "missed"), (None, None)]
)
def test_a_deadline(deadline_h, verdict):
    notes = [note.text for note in _of_goal(Goal(deadline_h=deadline_h), a_search(), None)]
    assert [text.rpartition(": ")[2] for text in notes] == [verdict] * (verdict is not None)


def test_a_budget_and_a_run_that_is_not_known():
    assert "kept" in next(_of_goal(Goal(budget_usd=5.0), a_search(), None)).text
    unknown = next(_of_goal(Goal(budget_usd=5.0), found(), None))
    assert (unknown.level, "nothing was measured" in unknown.text) == ("warning", True)


def test_a_floor_that_no_whole_run_was_held_against():
    goal = Goal(metric="accuracy", floor=0.9)
    assert "--prove full" in next(_of_goal(goal, a_search(), None)).text
    assert not list(_of_goal(goal, a_search(), FullProof(metric=Metric.parse("accuracy"), margin=0.01, seeds=3)))
