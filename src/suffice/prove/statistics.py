"""Paired log-ratios -> an interval for the ratio that may be looked at after every pair; quantiles of Student's t.

A pair is one step without the change and one with it, in an order that a coin decides. A change that makes every step
`exp(theta)` times as fast then gives log-ratios that lie symmetrically about theta, given all that went before: the
coin alone sees to that, whatever the machine does. Drift, autocorrelation and heavy tails are therefore no assumption
that could fail, and neither a variance nor a number of pairs must be known beforehand.

Against each value m that theta might have, a wager is laid on the sign of what exceeds it: the wealth of
`1 + g tanh((z - m) / s)` multiplied over the pairs has expectation one where m is true, so it ever exceeds 1 / alpha
with probability alpha at most (Ville's inequality). s comes from earlier pairs only, g is mixed over a few fixed sizes.
The interval is what no wager has ruled out. Each wager rises with z - m, so the set is an interval, and wagers against
"theta is m at most" hold for smaller effects as well. tanh bounds what one wild pair can do.

What it speaks of is the typical pair. A change whose steps are mostly faster but sometimes far slower has no single
theta: whoever decides by it must look at the totals too.

Sources: V. Vovk, R. Wang, "Nonparametric e-tests of symmetry", arXiv 2208.08925 (wagers on symmetry);
A. Ramdas, P. Grünwald, V. Vovk, G. Shafer, "Game-theoretic statistics and safe anytime-valid inference",
arXiv 2210.01948 (confidence sequences by wagers, Ville's inequality); M. Abramowitz, I. Stegun, "Handbook of
Mathematical Functions", 26.7.3 and 26.7.4 (Student's t).
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

WAGERS = (0.15, 0.4, 0.9)
"""How much of the wealth a pair can win or lose: the small ones suit small effects in much noise."""
FIRST_SCALE = 0.05
"""The scale of the noise (in logarithms) until `PAIRS_FOR_SCALE` pairs were seen."""
PAIRS_FOR_SCALE = 4
FINEST_SCALE = 0.001
QUARTILES_APART = 1.349
"""The distance of a normal distribution's quartiles in standard deviations."""
PAIRS_AT_ONCE = 128
"""So many factors are multiplied before a logarithm is taken: few enough for a float to hold the product."""
TIE = 1e-9
"""Wealth whose logarithms differ by less counts as alike."""
HALVINGS = 50


class Side(IntEnum):
    """Which claim a wager supports: that theta is above a value, or below it."""

    ABOVE = 1
    BELOW = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A ratio's centre and bounds; 0 and infinity where nothing is ruled out yet."""

    low: float
    centre: float
    high: float


class Wager:
    """The wealth won against one value that theta might have, at each size of wager."""

    def __init__(self, value: float, side: Side) -> None:
        self.pairs = 0
        self._value = value
        self._side = side
        self._logs = [0.0] * len(WAGERS)

    def take(self, pairs: Sequence[tuple[float, float]]) -> None:
        """Reckon further pairs: log-ratio, and the scale of the noise before it."""
        for start in range(0, len(pairs), PAIRS_AT_ONCE):
            some = pairs[start : start + PAIRS_AT_ONCE]
            excess = [self._side * math.tanh((log_ratio - self._value) / scale) for log_ratio, scale in some]
            for index, size in enumerate(WAGERS):
                self._logs[index] += math.log(math.prod([1 + size * each for each in excess]))
        self.pairs += len(pairs)

    @property
    def evidence(self) -> float:
        """The logarithm of the mean of the wealth."""
        most = max(self._logs)
        return most + math.log(sum(math.exp(log - most) for log in self._logs) / len(WAGERS))


class ConfidenceSequence:
    """An interval for a ratio at confidence 1 - alpha, which holds at all looks together.

    `see` takes log-ratios one by one; `exceeds` and `stays_below` say whether a value is ruled out now.
    """

    def __init__(self, alpha: float) -> None:
        if not 0 < alpha < 1:
            raise ValueError(f"alpha is a probability between 0 and 1, found {alpha}")
        self._needed = math.log(2 / alpha)
        self._pairs: list[tuple[float, float]] = []
        self._ordered: list[float] = []
        self._wagers: dict[tuple[float, Side], Wager] = {}

    def __len__(self) -> int:
        return len(self._pairs)

    def see(self, log_ratio: float) -> None:
        """Add a pair.

        Raises:
            ValueError: if the log-ratio is not finite.
        """
        if not math.isfinite(log_ratio):
            raise ValueError(f"a pair's log-ratio must be finite, found {log_ratio}")
        self._pairs.append((log_ratio, self._scale()))
        insort(self._ordered, log_ratio)

    def exceeds(self, ratio: float) -> bool:
        """Whether "this ratio at most" is ruled out."""
        return self._watched(math.log(ratio), Side.ABOVE) >= self._needed

    def stays_below(self, ratio: float) -> bool:
        """Whether "this ratio at least" is ruled out."""
        return self._watched(math.log(ratio), Side.BELOW) >= self._needed

    def evidence(self, value: float, side: Side) -> float:
        """The logarithm of the wealth won by wagers against `value`, a log-ratio, towards a side."""
        wager = Wager(value, side)
        wager.take(self._pairs)
        return wager.evidence

    def interval(self) -> Interval:
        """What is not ruled out now, and the value against which both sides have won alike."""
        if not self._pairs:
            return Interval(low=0.0, centre=1.0, high=math.inf)
        least, most = self._ends()
        centre = math.exp(self._centre(least, most))
        if self.evidence(least, Side.ABOVE) < self._needed:
            return Interval(low=0.0, centre=centre, high=math.inf)
        low = _falls_to_zero(lambda value: self.evidence(value, Side.ABOVE) - self._needed, least, most)
        high = _falls_to_zero(lambda value: self._needed - self.evidence(value, Side.BELOW), least, most)
        return Interval(low=math.exp(low), centre=centre, high=math.exp(high))

    def _watched(self, value: float, side: Side) -> float:
        """As `evidence`, for a value that is asked for after every pair: only the new pairs are reckoned."""
        wager = self._wagers.setdefault((value, side), Wager(value, side))
        wager.take(self._pairs[wager.pairs :])
        return wager.evidence

    def _centre(self, least: float, most: float) -> float:
        """Where both sides have won alike: the middle of it, where few pairs leave them alike over a stretch."""

        def lead(value: float) -> float:
            return self.evidence(value, Side.ABOVE) - self.evidence(value, Side.BELOW)

        start = _falls_to_zero(lambda value: lead(value) - TIE, least, most)
        return (start + _falls_to_zero(lambda value: lead(value) + TIE, least, most)) / 2

    def _ends(self) -> tuple[float, float]:
        """Values so far outside all pairs that every wager there is won or lost in full."""
        margin = 20 * max(scale for _, scale in self._pairs)
        return self._ordered[0] - margin, self._ordered[-1] + margin

    def _scale(self) -> float:
        """The spread of the pairs seen before, in standard deviations, from their quartiles."""
        count = len(self._ordered)
        if count < PAIRS_FOR_SCALE:
            return FIRST_SCALE
        spread = self._ordered[count - 1 - count // 4] - self._ordered[count // 4]
        return max(spread / QUARTILES_APART, FINEST_SCALE)


def student_quantile(probability: float, freedom: int) -> float:
    """The value below which Student's t with `freedom` degrees of freedom falls with a probability.

    Raises:
        ValueError: if the probability is not between 0 and 1, or there is less than one degree of freedom.
    """
    if not 0 < probability < 1 or freedom < 1:
        raise ValueError(f"found probability {probability} (0 to 1 is allowed) with {freedom} degrees of freedom (≥ 1)")
    right_angle = math.pi / 2
    angle = _falls_to_zero(lambda x: probability - _student_probability(x, freedom), -right_angle, right_angle)
    return math.sqrt(freedom) * math.tan(angle)


def _student_probability(angle: float, freedom: int) -> float:
    """P(t ≤ sqrt(freedom) tan(angle)): a finite sum of powers of the cosine."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for power in range(2 + odd, freedom - 1, 2):
        term *= cosine * cosine * (power - 1) / power
        total += term
    within = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return (1 + within) / 2


def _falls_to_zero(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function passes zero, between two points, by halving."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if function(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
