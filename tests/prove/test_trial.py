"""A trial ends when its verdict is settled, keeps what gains and seldom what doesn't; a null that wins voids all."""

import json
from itertools import pairwise
from random import Random
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suffice.errors import SearchVoidError
from suffice.prove.trial import NULL, Arm, Budget, MeasurePair, StopRule, require_no_difference, run_trial
from suffice.records import Outcome, Trial, as_json
from tests.prove.streams import KINDS, Machine

LIMIT = Budget(pairs=120)


class Hands:
    """A clock that stands still until somebody moves it."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def compared(kind: str, *, gain: float, spread: float, seed: int, budget: Budget = LIMIT) -> Trial:
    """A trial on a simulated machine."""
    return run_trial("x", Machine(kind, gain=gain, spread=spread, seed=seed), rng=Random(seed), budget=budget)


def steadily(gain: float) -> MeasurePair:
    """A machine without noise."""
    return lambda _: (1.0 + gain, 1.0)


@pytest.mark.parametrize("spread", [0.03, pytest.param(0.2, marks=pytest.mark.slow)])
def test_no_change_at_all_is_hardly_ever_kept(spread: float) -> None:
    """Of 400 comparisons of a program with itself, on noise of five kinds, one in twenty at most is kept."""
    trials = [compared(kind, gain=0.0, spread=spread, seed=seed) for kind in KINDS for seed in range(80)]
    assert len(trials) == 400
    assert sum(trial.kept for trial in trials) <= 20


@pytest.mark.parametrize("kind", ["steady", "drifting", "autocorrelated"])
def test_a_gain_of_five_percent_is_found_soon(kind: str) -> None:
    """At 3 % of noise in a step, nine of ten trials keep it within 40 pairs, half of them within 24."""
    trials = [compared(kind, gain=0.05, spread=0.03, seed=seed) for seed in range(60)]
    pairs = sorted(trial.verdict.pairs if trial.kept else 999 for trial in trials)
    assert pairs[len(pairs) * 9 // 10 - 1] <= 40
    assert median(pairs) <= 24


def test_a_proven_gain_is_measured_until_it_can_be_told() -> None:
    """On a noisy machine a gain of 30 % is told as 30 %, give or take 5 in the middle of many trials, not as luck."""
    trials = [compared("steady", gain=0.3, spread=0.3, seed=seed) for seed in range(80)]
    kept = [trial.verdict for trial in trials if trial.kept]
    assert len(kept) > 60
    assert all(verdict.pairs >= 40 or verdict.ratio.high <= 1.25 * verdict.ratio.low for verdict in kept)
    assert 1.25 < median(verdict.ratio.value for verdict in kept) < 1.35


@pytest.mark.parametrize("kind", KINDS)
def test_a_gain_too_small_to_matter_is_hardly_ever_kept(kind: str) -> None:
    """A true gain of 0.3 % is refused or undecided in 57 of 60 trials at least."""
    assert sum(compared(kind, gain=0.003, spread=0.03, seed=seed).kept for seed in range(60)) <= 3


def test_what_is_slower_is_refused_and_called_slower() -> None:
    """A change that doubles the time is refused soon, with its ratio and interval."""
    trial = compared("shared", gain=-0.5, spread=0.03, seed=1)
    verdict = trial.verdict
    assert verdict.outcome is Outcome.REFUSED
    assert verdict.reason.startswith("slower")
    assert verdict.pairs == len(trial.plain_s) == len(trial.changed_s) < 30
    assert verdict.ratio is not None
    assert verdict.ratio.low < 0.5 < verdict.ratio.high < 1.0


def test_what_saves_little_is_refused_for_that_reason() -> None:
    """A true gain of nothing is refused because a gain worth having is ruled out, not as slower."""
    assert "gain of 2.0% or more is ruled out" in compared("steady", gain=0.0, spread=0.02, seed=2).verdict.reason


def test_a_gain_that_rare_stalls_eat_up_is_not_kept() -> None:
    """Where three steps of four are 10 % faster and the fourth is thrice as slow, the sum decides."""
    machine = Machine("steady", gain=0.1, spread=0.01, seed=5)
    count = iter(range(10**6))

    def with_stalls(first: Arm) -> tuple[float, float]:
        plain, changed = machine(first)
        return plain, changed * (3 if next(count) % 4 == 1 else 1)

    trial = run_trial("x", with_stalls, rng=Random(5), budget=LIMIT)
    assert not trial.kept
    assert trial.verdict.total_ratio < 0.8


def test_the_order_within_each_pair_is_drawn_anew_and_the_same_by_the_same_seed() -> None:
    """Either arm comes first in about half of the pairs, in no pattern, and a seed repeats the order."""

    def order(seed: int) -> list[Arm]:
        firsts: list[Arm] = []
        run_trial("x", lambda first: firsts.append(first) or (1.015, 1.0), rng=Random(seed), rule=StopRule(alpha=1e-80))
        return firsts

    drawn = order(1)
    changes = sum(a is not b for a, b in pairwise(drawn))
    assert len(drawn) == Budget().pairs
    assert 70 < drawn.count(Arm.PLAIN) < 130
    assert 70 < changes < 130
    assert order(1) == drawn
    assert order(2) != drawn


def test_a_trial_that_is_not_settled_ends_with_its_pairs() -> None:
    """When the pairs are used up it is undecided, which is not kept."""
    trial = compared("steady", gain=0.015, spread=0.2, seed=1, budget=Budget(pairs=15))
    assert trial.verdict.outcome is Outcome.UNDECIDED
    assert not trial.kept
    assert "15 pairs are used" in trial.verdict.reason
    assert trial.verdict.ratio is not None


def test_a_trial_that_is_not_settled_ends_with_its_seconds() -> None:
    """No pair is begun once the seconds are used."""
    clock = Hands()

    def slow_pair(_: Arm) -> tuple[float, float]:
        clock.now_s += 3.0
        return 1.5, 1.5

    trial = run_trial("x", slow_pair, rng=Random(0), budget=Budget(seconds=10.0), clock=clock)
    assert (trial.verdict.pairs, trial.spent_s) == (4, 12.0)
    assert "its 10 s are used" in trial.verdict.reason
    assert trial.verdict.ratio is not None
    assert trial.verdict.ratio.low is None, "four pairs bound nothing"


def test_what_looks_slower_leaves_its_seconds_to_others() -> None:
    """Four dear pairs prove nothing, but more of them would hardly show a gain."""
    clock = Hands()

    def dear_pair(_: Arm) -> tuple[float, float]:
        clock.now_s += 3.0
        return 1.0, 1.3

    trial = run_trial("x", dear_pair, rng=Random(0), budget=Budget(seconds=30.0), clock=clock)
    assert (trial.verdict.outcome, trial.spent_s) == (Outcome.UNDECIDED, 12.0)
    assert "it looks slower" in trial.verdict.reason


def test_a_job_that_ends_leaves_its_trial_undecided() -> None:
    """With no pair measured there is no ratio either."""
    pairs = iter([(1.0, 1.0), (1.0, 1.0)])
    trial = run_trial("x", lambda _: next(pairs, None), rng=Random(0))
    assert trial.verdict.outcome is Outcome.UNDECIDED
    assert trial.verdict.reason.startswith("the job ended")
    nothing = run_trial("x", lambda _: None, rng=Random(0)).verdict
    assert (nothing.outcome, nothing.pairs, nothing.ratio) == (Outcome.UNDECIDED, 0, None)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(seconds: float) -> None:
    """A clock that stood still, or went back, is named as such."""
    with pytest.raises(ValueError, match="positive and finite"):
        run_trial("x", lambda _: (seconds, 1.0), rng=Random(0))


def test_gains_that_contradict_each_other_are_refused() -> None:
    """What is futile can't be less than what is asked for."""
    with pytest.raises(ValueError, match="least_gain"):
        StopRule(least_gain=0.05, futile_gain=0.02)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.floats(1e-6, 1e6), st.sampled_from([-0.1, 0.0, 0.05]))
def test_a_verdict_does_not_depend_on_the_unit_of_time(seed: int, factor: float, gain: float) -> None:
    """All times multiplied by one factor give the same verdict and the same interval."""

    def trial(factor: float) -> Trial:
        machine = Machine("shared", gain=gain, spread=0.02, seed=seed)

        def pair(first: Arm) -> tuple[float, float]:
            plain, changed = machine(first)
            return plain * factor, changed * factor

        return run_trial("x", pair, rng=Random(seed), budget=Budget(pairs=30))

    one, other = trial(1.0).verdict, trial(factor).verdict
    assert (one.outcome, one.pairs) == (other.outcome, other.pairs)
    assert other.ratio.value == pytest.approx(one.ratio.value, rel=1e-5)


def test_a_trial_comes_back_equal_from_json() -> None:
    """With bounds, without bounds, and without any pair."""
    for trial in (
        compared("steady", gain=0.1, spread=0.02, seed=1),
        compared("steady", gain=0.1, spread=0.02, seed=1, budget=Budget(pairs=3)),
        run_trial("x", lambda _: None, rng=Random(0)),
    ):
        assert Trial.from_json(json.loads(json.dumps(as_json(trial)))) == trial


def test_a_null_candidate_that_wins_voids_the_search() -> None:
    """Nothing that is found faster than itself: the comparison is at fault."""
    trial = run_trial(NULL, steadily(0.05), rng=Random(0))
    with pytest.raises(SearchVoidError, match="no change at all was measured as") as caught:
        require_no_difference(trial, StopRule())
    assert caught.value.hint


def test_a_null_candidate_hardly_ever_voids_a_search_on_an_honest_machine() -> None:
    """Two searches of a hundred at most, on the noise of a shared machine."""
    void = 0
    for seed in range(100):
        machine = Machine("shared", gain=0.0, spread=0.05, seed=seed)
        try:
            require_no_difference(run_trial(NULL, machine, rng=Random(seed), budget=LIMIT), StopRule())
        except SearchVoidError:
            void += 1
    assert void <= 2


def test_a_smaller_alpha_is_told_and_widens_the_interval() -> None:
    """Trials that share an alpha have wider intervals, and say at which confidence."""
    trials = [run_trial("x", steadily(0.3), rng=Random(0), rule=StopRule(alpha=alpha)) for alpha in (0.05, 0.005)]
    assert "at 0.95" in trials[0].verdict.ratio.method
    assert "at 0.995" in trials[1].verdict.ratio.method
