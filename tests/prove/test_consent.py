"""Another training is tried with consent and a metric alone, and stays where whole runs have shown it to be as good."""

import time
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest

from suffice.agent.rig.rig import Rig as Obeying
from suffice.loop import improving
from suffice.loop.candidates import candidates_of
from suffice.loop.diary import Diary
from suffice.prove.equality import judge_semantic
from suffice.prove.full import FullPair
from suffice.prove.gate import _comparable
from suffice.prove.rig import Rig
from suffice.prove.search import Search, Terms
from suffice.prove.trial import Arm
from suffice.records import Change, Judgement, Outcome, Risk
from tests.change.profiles import profile
from tests.prove.made_courses import plain
from tests.prove.test_search import PlayedGate, PlayedRig

EVERY_RISK = frozenset(Risk)
OTHER = Change(id="larger-batch", settings={}, risk=Risk.SEMANTIC, practice="")
SAME = Change(id="sample-cache", settings={}, risk=Risk.EXACT, practice="")


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        (Terms(), "--allow semantic"),
        (Terms(allow=EVERY_RISK), "--prove full --metric"),
        (Terms(whole_runs=True), "--allow semantic"),
    ],
)
def test_without_consent_or_metric_it_is_not_tried(terms: Terms, says: str) -> None:
    """The reason names what is missing, and the others keep their time and their share of the error."""
    rig = PlayedRig({"larger-batch": 0.5, "sample-cache": 0.7})
    search = Search(rig, PlayedGate(rig), terms, step_s=0.1, clock=rig.clock)
    search.deadline = 300.0
    found = {change.id: trial for change, trial in search.each([OTHER, SAME], {}, {})}
    assert found["larger-batch"].verdict.outcome is Outcome.REFUSED
    assert says in found["larger-batch"].verdict.reason
    assert found["larger-batch"].plain_s == ()
    assert found["sample-cache"].kept
    assert "confidence sequence at 0.9667" in str(found["sample-cache"].verdict.ratio)


def test_with_both_it_is_tried() -> None:
    """What it gains is measured as any change's."""
    rig = PlayedRig({"larger-batch": 0.5})
    terms = Terms(allow=EVERY_RISK, whole_runs=True)
    search = Search(rig, PlayedGate(rig), terms, step_s=0.1, clock=rig.clock)
    search.deadline = 300.0
    assert [trial.kept for _, trial in search.each([OTHER], {}, {})] == [True]


def test_it_comes_after_what_leaves_the_training_alone() -> None:
    """Whatever its finding promises."""
    found = candidates_of(profile(), 1e6, 0.1).now
    late = [change.risk is Risk.SEMANTIC for change in found if change.id != "compile"]
    assert late == sorted(late)


def test_its_short_course_must_train_and_no_more() -> None:
    """Other losses and inputs are what it is for, and fewer steps; a loss that is no number is not."""
    before, other = plain(), plain(seed=1, steps=5)
    assert judge_semantic(before, other).met is True
    assert judge_semantic(before, replace(other, losses=(3.0, float("nan")))).met is False
    assert judge_semantic(before, replace(other, losses=())).met is False


def test_numbers_are_compared_without_another_training() -> None:
    """A change that rounds is held against the plain job where a larger batch was kept before it."""
    rounding = Change(id="fused-optimiser", settings={}, risk=Risk.NUMERIC, practice="")
    assert _comparable([SAME, OTHER], rounding) == [SAME]
    assert _comparable([SAME, rounding], OTHER) == [SAME, rounding]


def test_without_whole_runs_it_does_not_stay() -> None:
    """Where the search was broken off before them, say, and the reader is told."""
    diary = Diary(None, "made", lambda _: None)
    assert improving._same_training(diary, [SAME, OTHER]) == [SAME]
    assert "larger-batch" in diary.notes[0].text
    assert improving._same_training(diary, [SAME]) == [SAME]
    assert len(diary.notes) == 1


def test_whole_runs_that_take_no_less_do_not_keep_it() -> None:
    """A job that counts its steps trains longer with a larger batch."""
    good = Judgement(met=True, reason="less than the margin is lost")
    faster = [FullPair(plain=0.9, changed=0.9, plain_s=10.0, changed_s=6.0)] * 2
    slower = [FullPair(plain=0.9, changed=0.9, plain_s=10.0, changed_s=11.0)] * 2
    assert improving._no_slower(faster, good).met is True
    refused = improving._no_slower(slower, good)
    assert refused.met is False
    assert "22 s with the plan and 20 s without" in refused.reason


@dataclass
class Counting:
    """A switch whose steps stand for several."""

    each: int
    worth: int = 0
    now: int = 1

    def on(self) -> None:
        self.now = self.each

    def off(self) -> None:
        self.now = 1


def test_a_step_of_several_is_told_by_the_time_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """With three steps in one that takes as long, a step's time is a third."""
    switch = Counting(each=3)
    job = Obeying.__new__(Obeying)
    job.steering = SimpleNamespace(switches={"x": switch}, iterations=0, loader=None)  # type: ignore[assignment]
    job.recording = False

    def ask(_: Rig, **order: Any) -> list[dict[str, Any]]:
        asked = job._obey(order)
        try:
            while True:
                next(asked)
                switch.worth += switch.now
                time.sleep(0.01)
        except StopIteration as end:
            return [end.value]

    monkeypatch.setattr(Rig, "_ask", ask)
    live = Rig.__new__(Rig)
    plain_s, *_ = live._block(["x"], Arm.PLAIN, 4, 1)
    changed_s, *_ = live._block(["x"], Arm.CHANGED, 4, 1)
    assert plain_s / changed_s == pytest.approx(3, rel=0.3)
