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
FEWEST_SCORES, FEWEST_IN_BLOCK = 10, 25
MOST_FREEDOM = 1_000
"""Beyond it Student's distribution is the normal one."""
COUNTED = frozenset({"accuracy", "same-class", "neighbours"})
"""A sample's score is 0 or 1 mostly: those that were seen don't tell how much an unseen one loses."""
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

    def least(self, quality: str, original: float) -> float:
        """The least mean score, or with a relative bar the least difference from the original's mean score.

        Raises:
            GoalError: if no perplexity could reach it.
        """
        if quality == "perplexity":
            lost = -self.value if self.share else -self.value * math.exp(original)
            if not self.relative and self.value <= 0:
                raise GoalError(f"a perplexity can't be {self.value:g}", hint=EXAMPLE)
            return -math.log1p(lost) if self.relative else -math.log(self.value)
        if self.share:
            return self.value * abs(original)
        return -self.value if quality == "error" and not self.relative else self.value


def value_of(quality: str, scores: Sequence[float]) -> Figure:
    """The quality of all samples, with the interval of its mean."""
    mean = statistics.fmean(scores)
    half = _half(scores, (1 + CONFIDENCE) / 2) if len(scores) > 1 else 0.0
    if quality == "perplexity":
        value = math.exp(-mean)
        return measured(value, "", low=value * math.exp(-half), high=value * math.exp(half), method=_method(scores))
    sign = -1.0 if quality == "error" else 1.0
    return measured(sign * mean, "", low=sign * mean - half, high=sign * mean + half, method=_method(scores))


def judge(
    quality: str, ours: Sequence[float], original: Sequence[float], bar: Bar, *, confidence: float = CONFIDENCE
) -> Judgement:
    """Whether the mean score, or its difference from the original's on the same samples, is above the bar for sure."""
    least = bar.least(quality, statistics.fmean(original))
    found = [a - b for a, b in zip(ours, original, strict=True)] if bar.relative else list(ours)
    mean = statistics.fmean(found)
    low = _lowest(quality, found, original, bar, confidence)
    high = mean + _half(found, confidence)
    if bar.relative:
        verb = "loses" if mean <= 0 else "gains"
        shown = f"{quality} {verb} {abs(mean):.2g} ({low:.2g} at worst, {least:.2g} allowed) on {len(found)} samples"
    else:
        shown = f"{quality} scores {mean:.4g} ({low:.4g} at worst, {least:.4g} asked) on {len(found)} samples"
    if low >= least:
        return Judgement(met=True, reason=shown)
    if high < least:
        return Judgement(met=False, reason=f"{shown}: below the floor")
    return Judgement(met=None, reason=f"{shown}: more samples are needed to tell")


def _lowest(quality: str, found: Sequence[float], original: Sequence[float], bar: Bar, confidence: float) -> float:
    """The lower end of the mean: of these and one more that lost all it could.

    Without it, samples that never differ would prove that none ever does. A cosine shows by degrees what may be lost:
    the one more is twice as far off as the worst. Where none has lost anything, so many samples hide a share of losses
    of 1 - (1 - confidence)^(1 / n).
    """
    if quality not in COUNTED and len(found) < FEWEST_SCORES:
        return -math.inf
    whole = 0.0 if bar.relative else 1.0
    if quality in COUNTED:
        worst = whole - 1.0
    elif quality == "agreement":
        worst = max(-1.0, whole - 2 * (whole - min(found)))
    else:  # of a user's function, which judges blocks: one sample of a block
        worst = min(found) - (abs(statistics.fmean(original)) / FEWEST_IN_BLOCK if quality == "function" else 0.0)
    counted = [*found, worst]
    low = statistics.fmean(counted) - _half(counted, confidence)
    if quality in COUNTED and bar.relative and min(found) >= 0:
        return min(low, float((1 - confidence) ** (1 / len(found))) - 1)
    return low


def _half(scores: Sequence[float], confidence: float) -> float:
    """Half of the interval, to one side."""
    if len(scores) < 2:
        return math.inf
    spread = statistics.stdev(scores) / math.sqrt(len(scores))
    return student_quantile(confidence, min(MOST_FREEDOM, len(scores) - 1)) * spread


def _method(scores: Sequence[float]) -> str:
    return f"the mean of {len(scores)} scores, 95 % of Student's distribution"
