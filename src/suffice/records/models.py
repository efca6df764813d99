"""What is found of a model's forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from suffice.records.figures import Figure
from suffice.records.profile import Note
from suffice.records.trials import Change, Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class FormTrial:
    """One form of a model: how it was made, what became of it, and what it costs.

    `figures` by name: latency_p50_s, latency_p95_s, latency_p99_s (one sample), throughput_per_s, speedup (of one
    sample, over the original by turns), throughput_gain, energy_j and carbon_gco2e (of one sample), memory_bytes,
    size_bytes, load_s, first_s, quality (of the search's samples) and held_out_quality. What was not reached in the
    search is missing. Of language models also first_token_s, tokens_per_s, token_energy_j and token_gain (over the
    original). `front`: no other form is better in everything.
    """

    name: str
    changes: tuple[Change, ...]
    outcome: Outcome
    reason: str
    figures: Mapping[str, Figure] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    spent_s: float = 0.0
    front: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSearch:
    """A search for the cheapest form of a model that is good enough.

    `chosen` names a trial, or the original where nothing else is better and good enough. `quality` is its measure,
    `floor` the bar as the user wrote it, `minimise` what was to be small. `refused` are techniques with the reason why
    no form was built with them. `batches` are the sizes of a call that were timed.
    """

    name: str
    target: str
    started: str
    seconds: float
    quality: str
    floor: str
    minimise: str
    threads: int
    chosen: str
    trials: tuple[FormTrial, ...]
    refused: tuple[tuple[str, str], ...]
    batches: tuple[int, ...]
    subject: Mapping[str, Any]
    notes: tuple[Note, ...] = ()
    machine: Mapping[str, Any] = field(default_factory=dict)

    def trial(self, name: str) -> FormTrial:
        """The trial of that name."""
        return next(each for each in self.trials if each.name == name)


def front(trials: Sequence[FormTrial], less: Sequence[str], more: Sequence[str]) -> set[str]:
    """The names of the trials that none of the others beats in everything: `less` should be small, `more` large."""

    def point(trial: FormTrial) -> list[float] | None:
        found = [trial.figures.get(name) for name in (*less, *more)]
        if any(each is None for each in found):
            return None
        values = [each.value for each in found if each is not None]
        return [*values[: len(less)], *(-value for value in values[len(less) :])]

    points = {trial.name: point(trial) for trial in trials}
    known = {name: each for name, each in points.items() if each is not None}
    return {
        name
        for name, ours in known.items()
        if not any(
            other is not ours and all(a <= b for a, b in zip(other, ours, strict=True)) and other != ours
            for other in known.values()
        )
    }
