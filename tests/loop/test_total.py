"""The ratio of a plan: what was switched in the live job is proven together, what a process is started with on top."""

import pytest

from suffice.change.catalog import technique
from suffice.loop.improving import _total
from suffice.prove.search import TOGETHER
from suffice.records import Outcome, Trial, Verdict, measured

FUSED = technique("fused-optimiser").change({})
CACHE = technique("sample-cache").change({})
PASSIVE = technique("wait-policy").change({"policy": "passive"})


def kept(name: str, ratio: float) -> Trial:
    """A trial that was won by so much."""
    found = measured(ratio, "x", low=ratio * 0.9, high=ratio * 1.1)
    verdict = Verdict(outcome=Outcome.KEPT, reason="faster", pairs=20, ratio=found)
    return Trial(change=name, verdict=verdict, plain_s=(), changed_s=(), spent_s=1.0)


TRIALS = [kept(FUSED.name, 1.5), kept(CACHE.name, 2.0), kept(TOGETHER, 2.5), kept(PASSIVE.name, 1.2)]


@pytest.mark.parametrize(
    ("stays", "ratio"),
    [
        ([FUSED, CACHE], 2.5),
        ([FUSED, CACHE, PASSIVE], 3.0),
        ([FUSED, PASSIVE], 1.8),
        ([PASSIVE], 1.2),
        ([CACHE], 2.0),
    ],
)
def test_the_total_of_what_stays(stays, ratio):
    """The trial of all together speaks of what can be switched; a change of the process is a factor of its own."""
    found = _total(TRIALS, stays)
    assert found is not None
    assert found.value == pytest.approx(ratio)


def test_nothing_has_no_total():
    """Neither has what was never measured."""
    assert _total(TRIALS, []) is None
    assert _total([], [PASSIVE]) is None
