"""Scores of the same samples by a form and by the original -> whether it keeps the floor, by a paired interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from suffice.errors import GoalError
from suffice.prove.statistics import student_quantile
from suffice.records import Figure, Judgement, measured

CONFIDENCE = 0.95
BOUNDED = frozenset({"accuracy", "agreement", "same-class", "neighbours"})
"""A sample's score lies between 0 and 1, or for a cosine between -1 and 1."""
EXAMPLE = "--floor 0.90 for a value, --floor -0.005 for what may be lost, --floor -2% for the share of it"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """The least quality: a value of its own, or what may be lost of the original's, absolutely or as a share of it."""

    text: str
    value: float
    relative: bool = False
    share: bool = False

    @staticmethod
    def parse(text: str) -> Bar:
        """The bar that a user wrote.

        Raises:
            GoalError: if it is no number, or a gain.
        """
        share = text.endswith("%")
        try:
            value = float(text.removesuffix("%"))
        except ValueError:
            raise GoalError(f"the floor {text!r} is no number", hint=EXAMPLE) from None
        relative = share or text.lstrip().startswith("-")
        if not math.isfinite(value) or (share and value > 0):
            raise GoalError(f"the floor {text!r} can't be reached or says nothing", hint=EXAMPLE)
        return Bar(text=text, value=value / 100 if share else value, relative=relative, share=share)

    def least_difference(self, original: float, *, logarithmic: bool) -> float:
        """What the mean score may lose; `logarithmic` where the quality is the exponential of minus the score."""
        if self.share:
            return -math.log1p(-self.value) if logarithmic else self.value * abs(original)
        return self.value


def value_of(quality: str, scores: Sequence[float]) -> Figure:
    """The quality of all samples, with the interval of its mean."""
    mean = statistics.fmean(scores)
    half = _half(scores)
    if quality == "perplexity":
        value = math.exp(-mean)
        return measured(value, "", low=value * math.exp(-half), high=value * math.exp(half), method=_method(scores))
    sign = -1.0 if quality == "error" else 1.0
    return measured(sign * mean, "", low=sign * mean - half, high=sign * mean + half, method=_method(scores))


def judge(quality: str, ours: Sequence[float], original: Sequence[float], bar: Bar) -> Judgement:
    """Whether the mean score, or its difference from the original's on the same samples, is above the bar for sure."""
    logarithmic = quality == "perplexity"
    if bar.relative:
        least = bar.least_difference(statistics.fmean(original), logarithmic=logarithmic)
        if logarithmic:
            least = -abs(least)
        found = [a - b for a, b in zip(ours, original, strict=True)]
    else:
        least = -math.log(bar.value) if logarithmic else -bar.value if quality == "error" else bar.value
        found = list(ours)
    mean = statistics.fmean(found)
    # One more sample that lost all it could: else samples that never differ would prove that none ever does.
    worst = -1.0 if bar.relative and quality in BOUNDED else 0.0 if quality in BOUNDED else min(found)
    counted = [*found, worst]
    low = statistics.fmean(counted) - _half(counted, one_sided=True)
    high = mean + _half(found, one_sided=True)
    told = "loses" if bar.relative else "has"
    shown = (
        f"{told} {abs(mean):.2g} ({low:.2g} at worst, {least:.2g} allowed) on {len(found)} samples"
        if bar.relative
        else f"has {mean:.4g} ({low:.4g} at worst, {least:.4g} asked) on {len(found)} samples"
    )
    if low >= least:
        return Judgement(met=True, reason=f"{quality} {shown}")
    if high < least:
        return Judgement(met=False, reason=f"{quality} {shown}: below the floor")
    return Judgement(met=None, reason=f"{quality} {shown}: more samples are needed to tell")


def _half(scores: Sequence[float], *, one_sided: bool = False) -> float:
    if len(scores) < 2:
        return float("inf") if one_sided else 0.0
    probability = CONFIDENCE if one_sided else (1 + CONFIDENCE) / 2
    spread = statistics.stdev(scores) / math.sqrt(len(scores))
    return student_quantile(probability, len(scores) - 1) * spread


def _method(scores: Sequence[float]) -> str:
    return f"the mean of {len(scores)} samples, 95 % of Student's distribution"
