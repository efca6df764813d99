"""The confidence sequence holds at every look on noise of any kind, and Student's quantiles are those of the tables."""

import math
from itertools import product
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suffice.prove.statistics import ConfidenceSequence, Side, student_quantile
from tests.prove.streams import KINDS, log_ratios

ALPHA = 0.05
STREAMS, PAIRS = 160, 150
LOGS = st.lists(st.floats(-2, 2), min_size=1, max_size=40)


def sequence_of(log_ratios: list[float], alpha: float = ALPHA) -> ConfidenceSequence:
    """A sequence that saw them all."""
    sequence = ConfidenceSequence(alpha)
    for each in log_ratios:
        sequence.see(each)
    return sequence


def ever_misses(log_ratios: list[float], truth: float) -> bool:
    """Whether the interval leaves the truth out at any look."""
    sequence = ConfidenceSequence(ALPHA)
    for each in log_ratios:
        sequence.see(each)
        if sequence.exceeds(truth) or sequence.stays_below(truth):
            return True
    return False


def ever_misses_by_t(log_ratios: list[float], truth: float) -> bool:
    """The same of the interval that a t-test gives."""
    quantiles = {n: student_quantile(1 - ALPHA / 2, n - 1) for n in range(20, len(log_ratios) + 1, 5)}
    return any(
        abs(fmean(log_ratios[:n]) - math.log(truth)) > quantile * stdev(log_ratios[:n]) / math.sqrt(n)
        for n, quantile in quantiles.items()
    )


@pytest.mark.parametrize(("kind", "gain"), list(zip(KINDS, (0.0, 0.05, -0.2, 0.5, 0.0), strict=True)))
def test_the_interval_holds_the_truth_at_all_looks_together(kind: str, gain: float) -> None:
    """Of 160 streams of 150 looks each, one in twenty at most ever leaves the truth out, whatever the noise."""
    streams = [log_ratios(kind, PAIRS, gain=gain, spread=0.05, seed=seed) for seed in range(STREAMS)]
    assert sum(ever_misses(stream, 1 + gain) for stream in streams) <= ALPHA * STREAMS


def test_a_t_test_that_is_looked_at_repeatedly_does_not_hold_it() -> None:
    """On the same streams the interval of a t-test misses the truth at some look far more often than it promises."""
    streams = [log_ratios("steady", PAIRS, gain=0.0, spread=0.05, seed=seed) for seed in range(STREAMS)]
    assert sum(ever_misses_by_t(stream, 1.0) for stream in streams) > 2 * ALPHA * STREAMS


@given(st.lists(st.floats(0, 3), min_size=1, max_size=8), st.sampled_from(Side), st.floats(-1, 1))
def test_where_a_coin_decides_every_sign_the_wealth_stays_one_on_average(
    sizes: list[float], side: Side, value: float
) -> None:
    """Over all ways in which the coins can fall, the mean of the wealth is exactly one."""
    ways = list(product((1, -1), repeat=len(sizes)))
    won = (
        sequence_of([value + sign * size for sign, size in zip(signs, sizes, strict=True)]).evidence(value, side)
        for signs in ways
    )
    assert fmean(math.exp(each) for each in won) == pytest.approx(1.0, rel=1e-9)


@given(LOGS)
def test_swapping_the_arms_inverts_the_interval(logs: list[float]) -> None:
    """The interval of b over a is that of a over b, turned over."""
    there, back = sequence_of(logs).interval(), sequence_of([-each for each in logs]).interval()
    assert back.centre == pytest.approx(1 / there.centre, rel=1e-6)
    if there.low > 0:
        assert (back.low, back.high) == pytest.approx((1 / there.high, 1 / there.low), rel=1e-6)
    else:
        assert (back.low, back.high) == (0.0, math.inf)


@given(LOGS, st.floats(-2, 2))
def test_the_interval_is_what_no_wager_has_ruled_out(logs: list[float], value: float) -> None:
    """Values outside are ruled out, values inside are not, and the centre lies within."""
    sequence, ratio = sequence_of(logs), math.exp(value)
    found = sequence.interval()
    assert found.low <= found.centre <= found.high
    if not math.isclose(ratio, found.low, rel_tol=1e-6):
        assert sequence.exceeds(ratio) is (ratio < found.low)
    if not math.isclose(ratio, found.high, rel_tol=1e-6):
        assert sequence.stays_below(ratio) is (ratio > found.high)


def test_nothing_is_ruled_out_by_few_pairs() -> None:
    """Seven pairs that all agree rule nothing out; a dozen rule out that the arms are alike."""
    few, more = sequence_of([0.3] * 7), sequence_of([0.3] * 12)
    assert few.interval().high == math.inf
    assert not few.exceeds(1.0)
    assert more.exceeds(1.0)
    assert ConfidenceSequence(ALPHA).interval().low == 0.0


def test_more_pairs_and_less_confidence_make_it_narrower() -> None:
    """The interval shrinks with the pairs, and grows with the confidence that is asked for."""
    logs = log_ratios("steady", 200, gain=0.1, spread=0.05, seed=1)
    widths = [sequence_of(logs[:n]).interval() for n in (20, 60, 200)]
    assert widths[0].high / widths[0].low > widths[1].high / widths[1].low > widths[2].high / widths[2].low
    surer = sequence_of(logs, alpha=0.005).interval()
    assert surer.low < widths[2].low < 1.1 < widths[2].high < surer.high


def test_one_wild_pair_does_not_decide() -> None:
    """A pair that a neighbour made a thousand times slower moves the bounds by less than the bounds are apart."""
    logs = log_ratios("steady", 40, gain=0.05, spread=0.03, seed=3)
    plain, wild = sequence_of(logs).interval(), sequence_of([*logs[:20], -7.0, *logs[20:]]).interval()
    assert wild.low > 1.0
    assert abs(math.log(wild.centre / plain.centre)) < math.log(plain.high / plain.low) / 2


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, float("nan")])
def test_an_alpha_that_is_no_probability_is_refused(alpha: float) -> None:
    """The message says what was found."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        ConfidenceSequence(alpha)


@pytest.mark.parametrize("log_ratio", [math.nan, math.inf])
def test_a_log_ratio_must_be_finite(log_ratio: float) -> None:
    """What is no number decides nothing."""
    with pytest.raises(ValueError, match="finite"):
        ConfidenceSequence(ALPHA).see(log_ratio)


@pytest.mark.parametrize(
    ("probability", "freedom", "expected"),
    [
        (0.975, 1, 12.7062),
        (0.975, 2, 4.3027),
        (0.975, 3, 3.1824),
        (0.975, 4, 2.7764),
        (0.95, 5, 2.0150),
        (0.80, 4, 0.9410),
        (0.995, 19, 2.8609),
        (0.975, 30, 2.0423),
        (0.975, 120, 1.9799),
        (0.05, 5, -2.0150),
        (0.50, 7, 0.0),
    ],
)
def test_quantiles_of_student_are_those_of_the_tables(probability: float, freedom: int, expected: float) -> None:
    """To four digits, for odd and even degrees of freedom."""
    assert student_quantile(probability, freedom) == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize(("probability", "freedom"), [(0.0, 3), (1.0, 3), (0.5, 0)])
def test_a_quantile_that_there_is_not_is_refused(probability: float, freedom: int) -> None:
    """No quantile of 0 or 1, and none without a degree of freedom."""
    with pytest.raises(ValueError, match="degrees of freedom"):
        student_quantile(probability, freedom)
