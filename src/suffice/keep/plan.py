"""The plan: the changes that were kept, each with its proof, and what they were proven on.

`plan_of` makes it of a search. `keep.plan_text` writes it as the plan.toml that a user reads, edits and versions, and
reads that; `keep.circumstances` tells why its proof may not hold elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from suffice.keep.report.numbers import digits
from suffice.records import Change, Figure, Profile, Search, Trial, as_json

PLAN_SCHEMA = 1
"""The version of plan.toml; raised when a key changes its meaning or goes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MachineFacts:
    """What a proof rests on besides the job; None is what is not known.

    `flags` are those of the processor's features on which the best program depends, `load` the processors that other
    programs kept busy meanwhile.
    """

    processor: str | None = None
    flags: tuple[str, ...] = ()
    gpus: tuple[str, ...] | None = None
    processors_allowed: float | None = None
    intra_op_threads: int | None = None
    torch: str | None = None
    python: str | None = None
    load: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """Why a change is kept: the time without it over the time with it, of so many pairs of steps, and the verdict."""

    ratio: Figure | None
    pairs: int
    reason: str
    date: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedChange:
    """A change of a plan; one that a user wrote in by hand has no proof."""

    change: Change
    proof: Proof | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The changes to run with.

    `total` is the time without the plan over the time with it, measured with the changes in `proven` (their names, with
    settings) and no others; `step_before_s` and `step_after_s` are the median step without and with them. `evidence`
    says how the training was found to be as good. `refused` are changes that were not kept, with the reason: they are
    for the reader of the text, and don't come back when it is read.
    """

    command: tuple[str, ...]
    made: str
    machine: MachineFacts
    changes: tuple[PlannedChange, ...] = ()
    proven: tuple[str, ...] = ()
    total: Figure | None = None
    step_before_s: Figure | None = None
    step_after_s: Figure | None = None
    evidence: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    schema: int = PLAN_SCHEMA

    @property
    def edits(self) -> list[str]:
        """What was altered since the whole was proven, a sentence each."""
        names = [planned.change.name for planned in self.changes]
        gone = [f"{name} was proven as part of it and is not in it any more" for name in self.proven]
        new = [f"{name} is in it and was not when it was proven" for name in names]
        return [
            *(told for told, name in zip(gone, self.proven, strict=True) if name not in names),
            *(told for told, name in zip(new, names, strict=True) if name not in self.proven),
        ]


def plan_of(
    search: Search,
    machine: MachineFacts,
    *,
    made: str,
    stays: Sequence[str] | None = None,
    evidence: Sequence[str] = (),
) -> Plan:
    """The plan that a search found.

    Args:
        search: what was tried.
        machine: what it was tried on.
        made: the date, YYYY-MM-DD.
        stays: the trials (`Trial.change`) whose changes stay; those that the search names unless given.
        evidence: how the training with all of them was found to be as good, a sentence each.
    """
    search = search if stays is None else replace(search, stays=tuple(stays))
    changes = [_planned(trial, search.changes[trial.change], made) for trial in search.kept]
    staying = {trial.change for trial in search.kept}
    refused = [
        (search.changes[trial.change].name, f"{trial.verdict.outcome}, {trial.verdict.reason}")
        for trial in search.trials
        if trial.change in search.changes and trial.change not in staying
    ]
    return Plan(
        command=search.target.command,
        made=made,
        machine=machine,
        changes=tuple(changes),
        proven=tuple(planned.change.name for planned in changes),
        total=search.total,
        step_before_s=_step_s(search.before),
        step_after_s=_step_s(search.after) if search.after else None,
        evidence=tuple(evidence),
        refused=(*search.refused, *refused),
    )


def _planned(trial: Trial, change: Change, made: str) -> PlannedChange:
    verdict = trial.verdict
    proof = Proof(ratio=verdict.ratio, pairs=verdict.pairs, reason=verdict.reason, date=made)
    return PlannedChange(change=_plain(change), proof=proof)


def _plain(change: Change) -> Change:
    """The change with the settings that come back from a file: no None, and lists for tuples."""
    settings = {name: as_json(value) for name, value in change.settings.items() if value is not None}
    return replace(change, settings=settings)


def as_fast(ratio: Figure) -> str:
    """A ratio of times in words: `2.41x as fast (2.30x to 2.52x)`."""
    shown = f"{times(ratio.value)} as fast"
    if ratio.low is None or ratio.high is None:
        return f"{shown} (no bounds were reached)"
    return f"{shown} ({interval(ratio)})"


def interval(ratio: Figure) -> str:
    """The bounds of a ratio, `2.30x to 2.52x`; empty without any."""
    if ratio.low is None or ratio.high is None:
        return ""
    return f"{times(ratio.low, ratio.value)} to {times(ratio.high, ratio.value)}"


def times(ratio: float, beside: float | None = None) -> str:
    """A ratio to the digits that decide (1.012x, 2.41x, 12.3x), or to those of the one that it stands beside."""
    return f"{ratio:.3f}x" if (ratio if beside is None else beside) < 2 else f"{digits(ratio)}x"


def _step_s(profile: Profile) -> Figure | None:
    return profile.ranks[0].figures.get("step_s") if profile.ranks else None
