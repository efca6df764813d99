"""A search -> the words that are said of it, the same for the terminal and the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from suffice.keep.plan import as_fast
from suffice.keep.report.held_up import HeldUp, held_up
from suffice.keep.report.numbers import duration
from suffice.keep.report.saving import Savings, pays_back, savings
from suffice.prove.trial import NULL, StopRule
from suffice.records import Figure, Outcome, Search, Trial, as_json

PROJECTION = "projected, never measured"
LOOKS_FASTER = 1 + StopRule().least_gain


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """One trial as it is shown; `verdict` is an outcome, or dropped (kept at first), or control (of no change)."""

    name: str
    risk: str | None
    verdict: str
    reason: str
    pairs: int
    spent_s: float
    ratio: Figure | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What there is to say of a search, in the order in which it is said."""

    headline: str
    support: str
    tried: tuple[Tried, ...]
    turned_down: tuple[tuple[str, str], ...]
    remains: HeldUp | None
    savings: Savings | None
    no_savings: str | None
    payback: str | None


def tell(search: Search) -> Told:
    """The words of a search, the same for the terminal and the page."""
    saved = savings(search)
    return Told(
        headline=_headline(search),
        support=_support(search),
        tried=tuple(_tried(search, trial) for trial in search.trials),
        turned_down=search.refused,
        remains=_remains(search),
        savings=saved,
        no_savings=None if saved else _no_savings(search),
        payback=pays_back(search, saved) if saved else None,
    )


def _headline(search: Search) -> str:
    kept = search.kept
    if not kept:
        return _nothing_kept(_of_changes(search))
    names = f"{_count(len(kept), 'change')} kept"
    if search.total is None:
        return f"{names}, which were never tried together"
    return f"{as_fast(search.total)}, with {names}"


def _nothing_kept(tried: list[Trial]) -> str:
    if not tried:
        return "nothing is worth a try: the job is as fast as suffice can make it here"
    open_ones = [trial for trial in tried if trial.verdict.outcome is Outcome.UNDECIDED and _looks_faster(trial)]
    nothing = f"nothing was kept of {_count(len(tried), 'change')} tried"
    if open_ones:
        return f"{nothing}, {len(open_ones)} of them undecided: the job stays as it is"
    return f"{nothing}: the job is as fast as suffice can make it here"


def _looks_faster(trial: Trial) -> bool:
    """Or was not looked at."""
    ratio = trial.verdict.ratio
    return ratio is None or ratio.value > LOOKS_FASTER


def _support(search: Search) -> str:
    counts = [trial.verdict.outcome for trial in _of_changes(search)]
    told = [f"{counts.count(outcome)} {outcome}" for outcome in Outcome if outcome in counts]
    told += [f"{len(search.refused)} turned down before a trial"] if search.refused else []
    trials = f"{_count(len(counts), 'change')} tried in {duration(search.seconds)}"
    trials = trials if counts else f"the search took {duration(search.seconds)}"
    trials += f", {duration(search.compile_s)} of it compiling" if search.compile_s else ""
    return f"{trials}: {', '.join(told)}" if told else trials


def _of_changes(search: Search) -> list[Trial]:
    return [trial for trial in search.trials if trial.change in search.changes]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _tried(search: Search, trial: Trial) -> Tried:
    change, verdict = search.changes.get(trial.change), trial.verdict
    shown, reason, name = str(verdict.outcome), verdict.reason, change.name if change else trial.change
    if trial.change == NULL:
        name, shown, reason = "no change at all", "control", "what is compared with itself must show no difference"
    elif change is None:
        name = "all that was kept, together"
    elif trial.kept and trial not in search.kept:
        shown, reason = "dropped", f"kept at first, and dropped since; {reason}"
    return Tried(
        name=name,
        risk=str(change.risk) if change else None,
        verdict=shown,
        reason=reason,
        pairs=verdict.pairs,
        spent_s=trial.spent_s,
        ratio=verdict.ratio,
    )


def _remains(search: Search) -> HeldUp | None:
    """What holds the job up now: the diagnosis of the job with the plan, or of the plain one where nothing stays."""
    now = search.after or (None if search.kept else search.before)
    return None if now is None else held_up(now)


def _no_savings(search: Search) -> str:
    if not search.kept:
        return "nothing was kept, so nothing is saved"
    if search.total is None or search.total.low is None:
        return "no ratio with bounds was proven of the plan as a whole, so no saving is projected"
    return "no training step of the plain job was seen, so no saving is projected"


def as_data(search: Search) -> Mapping[str, Any]:
    """The same as JSON for the page, with the search's name, date, plan and notes."""
    told: dict[str, Any] = as_json(tell(search))
    told |= {"name": search.name, "started": search.started, "command": list(search.target.command)}
    told |= {"notes": as_json(search.notes), "projection": PROJECTION}
    if search.plan is not None:
        told["plan"] = search.plan
    return told
