"""Times of forms by turns: ratios of the same rounds, and ties that the simpler form wins."""

from random import Random

import pytest

from suffice.measure.model.timing import Times, fastest, ratio


def times(*medians: float) -> Times:
    """Slices with these medians."""
    return Times(slices=[[median] * 5 for median in medians], processor_s=[5 * median for median in medians])


def test_a_ratio_is_that_of_the_same_rounds() -> None:
    """A machine that is three times as slow for a while slows both: the ratio stays."""
    slow, fast = times(2.0, 6.0, 2.0, 6.0), times(1.0, 3.0, 1.0, 3.0)
    found = ratio(slow, fast, Random(0))
    assert (found.value, found.low, found.high) == (2.0, 2.0, 2.0)
    assert fast.processor_s_per_call == 2.0


def test_a_tie_goes_to_the_simplest() -> None:
    """Within 5 %; of two that are as simple to the quicker one, and beyond 5 % to the quickest of all."""
    simplicity = {"exact": (False, 2), "int8": (True, 2), "int4": (True, 2)}
    assert fastest({"exact": times(1.04), "int8": times(1.0), "int4": times(1.01)}, simplicity) == "exact"
    assert fastest({"exact": times(1.10), "int8": times(1.01), "int4": times(1.0)}, simplicity) == "int4"
    assert fastest({"exact": times(1.10), "int8": times(1.0), "int4": times(1.2)}, simplicity) == "int8"


def test_percentiles() -> None:
    """Of all calls, with the range of the slices' medians."""
    found = Times(slices=[[1.0] * 9 + [9.0], [2.0] * 10], processor_s=[1.0, 1.0])
    assert found.latency(0.5).value == 2.0
    assert found.latency(0.99).value == 9.0
    assert found.latency(0.5).low == pytest.approx(1.0)
