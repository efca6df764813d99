"""Two profiles -> their figures side by side, with intervals; a plan and a run -> whether it regressed.

Steps that follow each other are alike, so the interval is taken over the means of blocks of them, and the ratio's
logarithm is treated as normal. It covers the noise within the runs and not what differs from run to run.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, variance

from suffice.keep.circumstances import other_load
from suffice.keep.plan import MachineFacts, Plan
from suffice.keep.report.numbers import quantity
from suffice.prove.statistics import student_quantile
from suffice.records import Figure, Note, Profile

BLOCKS = 20
FEWEST_BLOCKS = 8
CONFIDENCE = 0.95
RUN_TO_RUN = 1.1
"""So much longer a step may be than in another run of the same program on a shared machine, for no reason at all."""
CAVEAT = (
    "one run each: the interval holds the noise within the two runs; on a shared machine two runs of the same program "
    "differ by some 10 % more, so only an interleaved trial proves a gain"
)
COMPARED = (
    "duration_s",
    "processor_s",
    "memory_peak_bytes",
    "energy_j",
    "energy_per_sample_j",
    "carbon_gco2e",
    "cost_usd",
)
RANK_FIGURES = ("samples_per_s", "tokens_per_s", "flop_per_s", "last_loss")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One figure of both runs; `ratio` is b / a, with a 95 % interval where one can be had."""

    name: str
    unit: str
    a: float
    b: float
    ratio: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """All rows, the step time first, and the sentence that belongs beside them."""

    a: str
    b: str
    rows: tuple[Row, ...]
    caveat: str = CAVEAT


def compare(a: Profile, b: Profile, *, names: Sequence[str] = (*COMPARED, *RANK_FIGURES)) -> Comparison:
    """The step and its parts, and of the figures in `names` those that both runs have; of several ranks, the first."""
    rows = [row for row in (_step_time(a, b),) if row is not None]
    rows += _splits(a, b)
    first, second = ({**_rank_figures(run), **run.figures} for run in (a, b))
    shared = [name for name in names if name in first and name in second]
    rows += [_row(name, first[name].unit, first[name].value, second[name].value) for name in shared]
    return Comparison(a=a.run, b=b.run, rows=tuple(rows))


def _rank_figures(run: Profile) -> Mapping[str, Figure]:
    return run.ranks[0].figures if run.ranks else {}


def _row(name: str, unit: str, a: float, b: float) -> Row:
    return Row(name=name, unit=unit, a=a, b=b, ratio=b / a if a else None)


def _splits(a: Profile, b: Profile) -> list[Row]:
    if not (a.ranks and b.ranks):
        return []
    first, second = a.ranks[0].split, b.ranks[0].split
    return [_row(n, first[n].unit, first[n].value, second[n].value) for n in first if n in second]


def _step_time(a: Profile, b: Profile) -> Row | None:
    first, second = _steps(a), _steps(b)
    if not first or not second:
        return None
    mean_a, mean_b = fmean(first), fmean(second)
    row = _row("mean_step_s", "s", mean_a, mean_b)
    interval = ratio_interval(first, second)
    if row.ratio is None or interval is None:
        return row
    return Row(name=row.name, unit="s", a=mean_a, b=mean_b, ratio=row.ratio, low=interval[0], high=interval[1])


def _steps(profile: Profile) -> Sequence[float]:
    """The step times of the first rank, without the first step."""
    rank = profile.ranks[0].rank if profile.ranks else None
    series = next((s for s in profile.series if s.name == "step_s" and s.rank == rank), None)
    return series.values[1:] if series else ()


def ratio_interval(first: Sequence[float], second: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of mean(second) / mean(first), or None where there are too few steps to form blocks."""
    blocks_a, blocks_b = _blocks(first), _blocks(second)
    fewest = min(len(blocks_a), len(blocks_b))
    if fewest < FEWEST_BLOCKS or min(fmean(blocks_a), fmean(blocks_b)) <= 0:
        return None
    spread = math.sqrt(sum(variance(blocks) / len(blocks) / fmean(blocks) ** 2 for blocks in (blocks_a, blocks_b)))
    half = student_quantile(0.5 + CONFIDENCE / 2, fewest - 1) * spread
    ratio = fmean(blocks_b) / fmean(blocks_a)
    return ratio * math.exp(-half), ratio * math.exp(half)


def _blocks(values: Sequence[float], middle: Callable[[Sequence[float]], float] = fmean) -> list[float]:
    size = max(1, len(values) // BLOCKS)
    starts = range(0, len(values) - size + 1, size)
    return [middle(values[i : i + size]) for i in starts]


def regressed(plan: Plan, profile: Profile, earlier: Profile | None = None) -> Note | None:
    """A warning if a run with the plan has a slower median step than was proven, by more than runs differ anyway.

    None as well where that can't be told: the plan was edited or names no step time, or the run has too few steps.

    Args:
        plan: what was proven, with the median step without and with it.
        profile: a run with the plan.
        earlier: a run with the plan that was as fast as proven: the interval then holds its noise, too.
    """
    proven_s, steps = _proven_step_s(plan), _settled(profile)
    spread = _median_spread(steps)
    if plan.edits or not proven_s or spread is None:
        return None
    freedom, theirs = len(_blocks(steps)) - 1, _median_spread(_steps(earlier)) if earlier else None
    half = student_quantile(0.5 + CONFIDENCE / 2, freedom) * math.hypot(spread, theirs or 0.0)
    now_s = median(steps)
    ratio = now_s / proven_s
    low, high = ratio * math.exp(-half), ratio * math.exp(half)
    if low <= RUN_TO_RUN:
        return None
    before = plan.step_before_s
    worse = f"; without the plan it took {quantity(before.value, 's')}" if before and now_s > before.value else ""
    worse += "".join(f"; {told}" for told in other_load(plan.machine, _load_of(profile)))
    return Note(
        level="warning",
        text=f"regressed: a step takes {quantity(now_s, 's')} (median), {ratio:.2f} times the "
        f"{quantity(proven_s, 's')} of {plan.made} when the plan was proven (95 % interval {low:.2f} to {high:.2f})"
        f"{worse}; to prove it anew: suffice improve -- {shlex.join(profile.target.command)}",
    )


def _settled(profile: Profile) -> Sequence[float]:
    """The times of the steps in which a cache of the plan was filled, if it has one; none if it was not to be seen."""
    steps = _steps(profile)
    changes = profile.ranks[0].facts.get("changes", {}) if profile.ranks else {}
    for facts in changes.values():
        if facts.get("misses"):
            steps = steps[len(steps) // 2 :] if facts.get("hits", 0) >= facts["misses"] else ()
    return steps


def _load_of(profile: Profile) -> MachineFacts:
    others = profile.figures.get("processors_used_by_others")
    allowed = profile.machine.get("processors_allowed")
    return MachineFacts(load=others.value if others else None, processors_allowed=allowed)


def _proven_step_s(plan: Plan) -> float | None:
    if plan.step_after_s is not None:
        return plan.step_after_s.value
    if plan.step_before_s is not None and plan.total is not None and plan.total.value > 0:
        return plan.step_before_s.value / plan.total.value
    return None


def _median_spread(steps: Sequence[float]) -> float | None:
    """The standard error of the median step's logarithm; steps that follow each other are alike, so of blocks."""
    middles = _blocks(steps, median)
    if len(middles) < FEWEST_BLOCKS or min(middles) <= 0:
        return None
    return math.sqrt(variance([math.log(middle) for middle in middles]) / len(middles))
