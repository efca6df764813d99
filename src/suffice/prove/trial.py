"""A source of paired step times -> a `Trial` with its verdict.

A trial stops as soon as its verdict is settled, or when its budget is used. The first trial of a search is of the null
candidate, which changes nothing: where that is found faster the comparison is at fault, and the search is void.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from suffice.errors import SearchVoidError
from suffice.prove.statistics import ConfidenceSequence
from suffice.records import Figure, Outcome, Trial, Verdict, measured

NULL = "null"
"""The candidate that changes nothing."""
GIVEN_UP_AFTER, LOOKS_SLOWER = 1 / 3, 0.9
"""What looks so much slower after this share of its seconds leaves the rest to others."""


class Arm(StrEnum):
    """One of the two that are compared."""

    PLAIN = "plain"
    CHANGED = "changed"


MeasurePair = Callable[[Arm], tuple[float, float] | None]
"""Runs a step of each arm, the given one first -> (seconds plain, seconds changed), or None when the job has ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StopRule:
    """When a verdict is settled.

    A change is kept when a gain below `least_gain` is ruled out and the totals gain as much; it is refused when a gain
    of `futile_gain` is ruled out. `alpha` is the probability that the interval ever misses the truth. The gap between
    the two gains spares a change that is worth about `least_gain` from being measured for ever.

    A proven gain is measured on until its interval is as narrow as `precision` (high / low), or for `precise_pairs`:
    what ends at the moment of its proof has had luck, and would be told as more than it is.
    """

    alpha: float = 0.05
    least_gain: float = 0.01
    futile_gain: float = 0.02
    precision: float = 1.25
    precise_pairs: int = 40

    def __post_init__(self) -> None:
        if not 0 <= self.least_gain <= self.futile_gain:
            raise ValueError(f"0 ≤ least_gain ≤ futile_gain must hold, found {self.least_gain} and {self.futile_gain}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What a trial, or a search, may use: `pairs` is for each trial, `seconds` for all of them together."""

    pairs: int = 200
    seconds: float = math.inf


def run_trial(
    change: str,
    measure_pair: MeasurePair,
    *,
    rng: Random,
    rule: StopRule | None = None,
    budget: Budget | None = None,
    earlier: Sequence[tuple[float, float]] = (),
    clock: Callable[[], float] = time.monotonic,
) -> Trial:
    """Measure pairs, each in random order, until the verdict is settled, the budget is used, or the job has ended.

    `earlier` are the pairs of a trial that this one goes on with: an interval may be looked at after every pair.

    Raises:
        ValueError: if a pair's times are not positive and finite.
    """
    rule, budget = rule or StopRule(), budget or Budget()
    sequence = ConfidenceSequence(rule.alpha)
    for plain, changed in earlier:
        sequence.see(log_ratio(plain, changed))
    plain_s = [plain for plain, _ in earlier]
    changed_s = [changed for _, changed in earlier]
    start = clock()
    verdict = None
    while verdict is None or not _precise(verdict, rule):
        if len(sequence) >= budget.pairs:
            why = f"all of its {budget.pairs} pairs are used"
        elif clock() - start >= budget.seconds:
            why = f"its {budget.seconds:.3g} s are used"
        elif plain_s and clock() - start >= GIVEN_UP_AFTER * budget.seconds and _looks_slower(plain_s, changed_s):
            why = f"{clock() - start:.3g} s of its {budget.seconds:.3g} s are used, and it looks slower"
        elif (pair := measure_pair(rng.choice((Arm.PLAIN, Arm.CHANGED)))) is None:
            why = "the job ended"
        else:
            sequence.see(log_ratio(*pair))
            plain_s.append(pair[0])
            changed_s.append(pair[1])
            verdict = settled(sequence, sum(plain_s) / sum(changed_s), rule)
            continue
        verdict = verdict or _undecided(sequence, sum(plain_s) / sum(changed_s) if plain_s else None, rule, why)
        break
    return Trial(
        change=change,
        verdict=verdict,
        plain_s=tuple(plain_s),
        changed_s=tuple(changed_s),
        spent_s=clock() - start,
    )


def _looks_slower(plain_s: Sequence[float], changed_s: Sequence[float]) -> bool:
    """Whether more time would hardly show a gain; that proves nothing, so the verdict is "undecided"."""
    return statistics.median(plain / changed for plain, changed in zip(plain_s, changed_s, strict=True)) < LOOKS_SLOWER


def _precise(verdict: Verdict, rule: StopRule) -> bool:
    """Whether no more pairs are wanted than it took to settle the verdict."""
    ratio = verdict.ratio
    if verdict.outcome is not Outcome.KEPT or ratio is None or ratio.low is None or ratio.high is None:
        return True
    return ratio.high <= rule.precision * ratio.low or verdict.pairs >= rule.precise_pairs


def settled(sequence: ConfidenceSequence, total_ratio: float, rule: StopRule) -> Verdict | None:
    """The verdict, once it is settled; `total_ratio` is all seconds without the change over all with it."""
    least, futile = 1 + rule.least_gain, 1 + rule.futile_gain
    if sequence.exceeds(least) and total_ratio >= least:
        reason = f"at least {rule.least_gain:.1%} faster"
        return _verdict(Outcome.KEPT, sequence, total_ratio, rule, reason)
    if sequence.stays_below(futile):
        slower = sequence.stays_below(1.0)
        reason = "slower" if slower else f"a gain of {rule.futile_gain:.1%} or more is ruled out"
        return _verdict(Outcome.REFUSED, sequence, total_ratio, rule, reason)
    return None


def _undecided(sequence: ConfidenceSequence, total_ratio: float | None, rule: StopRule, why: str) -> Verdict:
    if total_ratio is None:
        return Verdict(outcome=Outcome.UNDECIDED, reason=f"{why}, and no pair was measured", pairs=0)
    reason = f"{why}, and neither a gain nor its absence is proven"
    if sequence.exceeds(1 + rule.least_gain):
        reason = f"{why}; the typical step is faster, but some are so much slower that the sum is {total_ratio:.3f}x"
    return _verdict(Outcome.UNDECIDED, sequence, total_ratio, rule, reason)


def _verdict(
    outcome: Outcome, sequence: ConfidenceSequence, total_ratio: float, rule: StopRule, reason: str
) -> Verdict:
    ratio = _ratio(sequence, rule.alpha)
    bounds = "no bounds yet" if ratio.low is None else f"{ratio.low:.3f} to {ratio.high:.3f}"
    return Verdict(
        outcome=outcome,
        reason=f"{reason}: {ratio.value:.3f}x ({bounds}) after {len(sequence)} pairs",
        pairs=len(sequence),
        ratio=ratio,
        total_ratio=total_ratio,
    )


def _ratio(sequence: ConfidenceSequence, alpha: float) -> Figure:
    found = sequence.interval()
    method = f"paired steps in random order, confidence sequence at {1 - alpha:.4g}"
    if not math.isfinite(found.high):
        return measured(found.centre, "x", method=method)
    return measured(found.centre, "x", low=found.low, high=found.high, method=method)


def log_ratio(plain_s: float, changed_s: float) -> float:
    """The logarithm of the time without over the time with a change.

    Raises:
        ValueError: if a time is not positive and finite.
    """
    for seconds in (plain_s, changed_s):
        if not (math.isfinite(seconds) and seconds > 0):
            raise ValueError(f"a step's time must be positive and finite, found {seconds} s: is the clock too coarse?")
    return math.log(plain_s / changed_s)


def require_no_difference(trial: Trial, rule: StopRule) -> None:
    """The null candidate may be found neither faster nor slower by `least_gain`.

    Raises:
        SearchVoidError: if it was.
    """
    ratio = trial.verdict.ratio
    if ratio is None or ratio.low is None or ratio.high is None:
        return
    least = 1 + rule.least_gain
    if ratio.low < least and ratio.high > 1 / least:
        return
    raise SearchVoidError(
        f"the search is void: no change at all was measured as {ratio.value:.3f}x as fast "
        f"({ratio.low:.3f} to {ratio.high:.3f}, {trial.verdict.pairs} pairs), where 1 lies within the bounds",
        hint="switching itself costs time, or the two arms are not alike: try a longer block, or a quieter machine",
    )
