"""What was found, and what the user asked for -> whether it suffices, with the reason; and how much few runs can show.

A floor, a limit and a margin each answer with a `Judgement`. What the measurements can't tell is not met and not
missed: its `met` is None.

Source of the non-inferiority test: International Conference on Harmonisation, E9 "Statistical principles for clinical
trials", 3.3.2: a one-sided bound of the difference is held against a margin that was chosen beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from suffice.prove.statistics import student_quantile
from suffice.records import Figure, Judgement

ALPHA = 0.05
"""How often a run that is worse by the margin may pass."""
POWER = 0.8
"""How often a run that is just as good should pass."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Floor:
    """The least that a metric must reach; for a metric that should be small, the most that it may be.

    Exactly one of `value` (absolute) and `loss` (the share of the baseline's value that may be lost) is given.
    """

    metric: str
    value: float | None = None
    loss: float | None = None
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        if (self.value is None) == (self.loss is None):
            raise ValueError(f"the floor of {self.metric} needs a value or a loss, and not both")
        if self.loss is not None and not 0 <= self.loss < 1:
            raise ValueError(f"the loss of {self.metric} is a share from 0 up to 1, found {self.loss}")

    def judge(self, found: float, baseline: float | None = None) -> Judgement:
        """Whether a metric's value reaches the floor; a relative floor needs the baseline's value."""
        floor = self._floor(baseline)
        if floor is None:
            return Judgement(met=None, reason=f"{self.metric}: the floor is relative, and no baseline was measured")
        if not math.isfinite(found):
            return Judgement(met=False, reason=f"{self.metric} is {found}")
        met = found >= floor if self.higher_is_better else found <= floor
        wanted = "at least" if self.higher_is_better else "at most"
        return Judgement(met=met, reason=f"{self.metric} is {found:.6g}, {wanted} {floor:.6g} is asked for")

    def _floor(self, baseline: float | None) -> float | None:
        if self.loss is None or baseline is None:
            return self.value
        may_lose = self.loss * abs(baseline)
        return baseline - may_lose if self.higher_is_better else baseline + may_lose


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """The most that a figure may be: a deadline in s, a budget in USD."""

    name: str
    at_most: float
    unit: str

    def judge(self, found: Figure | None) -> Judgement:
        """Whether a figure keeps the limit with its whole range; a range across the limit decides nothing.

        Raises:
            ValueError: if the figure has another unit.
        """
        if found is None:
            return Judgement(met=None, reason=f"{self.name}: nothing was measured that could be held against it")
        if found.unit != self.unit:
            raise ValueError(f"the {self.name} is in {self.unit}, the figure in {found.unit}: convert it first")
        low = found.value if found.low is None else found.low
        high = found.value if found.high is None else found.high
        met = True if high <= self.at_most else False if low > self.at_most else None
        spread = f"{low:.4g} to {high:.4g}" if low < high else f"{found.value:.4g}"
        return Judgement(met=met, reason=f"{self.name}: {spread} {self.unit}, at most {self.at_most:.4g} are allowed")


@dataclass(frozen=True, kw_only=True, slots=True)
class NonInferiority:
    """How a metric compares over paired runs, turned so that higher is better.

    `difference` is the mean of changed minus baseline, `low` its one-sided bound. `shown_margin` is the smallest margin
    that these runs would have passed; `usual_margin` the one that as many runs pass four times in five, if the change
    is as good as the baseline.
    """

    judgement: Judgement
    runs: int
    difference: float | None = None
    low: float | None = None
    shown_margin: float | None = None
    usual_margin: float | None = None


def non_inferiority(
    baseline: Sequence[float],
    changed: Sequence[float],
    *,
    margin: float,
    resolution: float,
    higher_is_better: bool = True,
) -> NonInferiority:
    """Whether a change makes a metric worse by less than `margin`; run i of both has the same seed.

    Args:
        baseline: The metric's value of each run without the change.
        changed: The same with the change.
        margin: The loss that doesn't matter, in the metric's unit; chosen before the runs.
        resolution: The smallest step of the metric (one sample of n in an accuracy: 1 / n). Runs that agree by its
            coarseness are not taken for runs without any noise.
        higher_is_better: False for a loss, an error rate, a perplexity.

    Raises:
        ValueError: if the runs are no pairs, or margin or resolution are negative.
    """
    if len(baseline) != len(changed):
        raise ValueError(
            f"each run needs its partner, found {len(baseline)} without and {len(changed)} with the change"
        )
    if margin < 0 or resolution < 0:
        raise ValueError(f"margin and resolution can't be negative, found {margin} and {resolution}")
    runs, sign = len(baseline), 1 if higher_is_better else -1
    gains = [sign * (after - before) for before, after in zip(baseline, changed, strict=True)]
    if not all(math.isfinite(gain) for gain in gains):
        return NonInferiority(judgement=Judgement(met=False, reason="a run's metric is not finite"), runs=runs)
    if runs < 2:
        few = f"{runs} pairs of runs show no margin at all, two are needed at least"
        return NonInferiority(judgement=Judgement(met=None, reason=few), runs=runs)
    difference, spread = fmean(gains), max(stdev(gains), resolution)
    half = student_quantile(1 - ALPHA, runs - 1) * spread / math.sqrt(runs)
    usual = margin_of(runs, spread)
    return NonInferiority(
        judgement=_judge(difference, half, margin, runs, usual),
        runs=runs,
        difference=difference,
        low=difference - half,
        shown_margin=max(0.0, half - difference),
        usual_margin=usual,
    )


def margin_of(runs: int, spread: float) -> float:
    """The margin that paired runs pass four times in five if both are equally good.

    Args:
        runs: Pairs, two at least.
        spread: The standard deviation of the difference within a pair, in the metric's unit.
    """
    freedom = runs - 1
    return (student_quantile(1 - ALPHA, freedom) + student_quantile(POWER, freedom)) * spread / math.sqrt(runs)


def runs_for(margin: float, spread: float) -> int:
    """The fewest pairs of runs of which `margin_of` is `margin` at most.

    Raises:
        ValueError: if the margin is not positive.
    """
    if margin <= 0:
        raise ValueError(f"no number of runs shows a margin of {margin}; it must be positive")
    most = 2
    while margin_of(most, spread) > margin:
        most *= 2
    fewest = most // 2 + 1 if most > 2 else 2
    while fewest < most:
        middle = (fewest + most) // 2
        if margin_of(middle, spread) > margin:
            fewest = middle + 1
        else:
            most = middle
    return most


def _judge(difference: float, half: float, margin: float, runs: int, usual: float) -> Judgement:
    low, high = difference - half, difference + half
    found = f"a difference of {difference:+.4g} over {runs} paired runs, at worst {low:+.4g}"
    if low > -margin or low == margin == 0:
        return Judgement(met=True, reason=f"{found}: less than the margin of {margin:.4g} is lost")
    if high < -margin:
        return Judgement(met=False, reason=f"{found}, at best {high:+.4g}: more than {margin:.4g} is lost")
    can = f"so many runs usually show a margin of {usual:.4g}"
    return Judgement(met=None, reason=f"{found}: not shown to be within {margin:.4g}; {can}")
