"""What is found, changed, compared and decided."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from suffice.records.figures import Figure
from suffice.records.profile import Note, Profile, Target


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A diagnosis: what holds a target up, and the most that curing it can gain.

    `id` is the name of the rule's file, with hyphens; `rung` the place on the ladder, 1 to 5. `evidence` are figures of
    the profile by name. `bound` is Amdahl's: old time over new if the cause vanished and nothing else changed, so 2.6
    for a share of 0.62. `practice` opens with the guidance's id. `cures` are ids of changes, the likeliest first.
    `confidence` says which signal is missing, and is None where none is.

    Raises:
        ValueError: if the rung is none of the ladder's, or the bound is below 1.
    """

    id: str
    rung: int
    sentence: str
    evidence: Mapping[str, Figure]
    bound: float
    practice: str
    cures: tuple[str, ...] = ()
    confidence: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.rung <= 5:
            raise ValueError(f"the ladder has the rungs 1 to 5, {self.id} names {self.rung}")
        if not (math.isfinite(self.bound) and self.bound >= 1):
            raise ValueError(f"a cure can't be bounded by {self.bound}: {self.id} needs a finite ratio of at least 1")


class Risk(StrEnum):
    """What a change does to the numbers: nothing, rounding, other draws of the same distribution, another training."""

    EXACT = "exact"
    NUMERIC = "numeric"
    STOCHASTIC = "stochastic"
    SEMANTIC = "semantic"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One technique with its settings; `id` is the name of its file, with hyphens."""

    id: str
    settings: Mapping[str, Any]
    risk: Risk
    practice: str

    @property
    def name(self) -> str:
        """The id with its settings, as it is shown: `loader-workers (workers=2)`."""
        told = ", ".join(f"{key}={value}" for key, value in sorted(self.settings.items()))
        return f"{self.id} ({told})" if told else self.id

    @property
    def order(self) -> dict[str, Any]:
        """What the agent is told of it."""
        return {"id": self.id, "settings": dict(self.settings)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Change:
        """The change that `as_json` wrote."""
        return Change(**{**data, "risk": Risk(data["risk"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """A short run of a job from its start, with all changes in `changes`, and what is compared between such runs.

    `losses`, `inputs` and `indices` have an entry a step: the loss as it is (NaN where it could not be read), a
    fingerprint of what the root modules received, and of the samples' indices (empty where they are not known).
    `gradient_errors` has each parameter's relative error of its gradient at step 1 against the baseline's course,
    `state_errors` that of each tensor of the state after the last step; both are empty for the baseline. A course with
    a `twin_eps` is the baseline with its first weights changed by so much, which shows the job's own chaos. `ended`:
    the job ended before it had made all `steps`.

    An entry of `indices` is `pass:fingerprint`, the pass of the loader counted from 0. `reads` has, for some samples by
    their index, a fingerprint of each time one was read: in the steps, and twice after them. `zero_gradients` names the
    parameters whose gradient at step 1 is zero or missing although the baseline's is not.
    """

    changes: tuple[str, ...]
    seed: int
    steps: int
    losses: tuple[float, ...]
    inputs: tuple[str, ...] = ()
    indices: tuple[str, ...] = ()
    gradient_errors: Mapping[str, float] = field(default_factory=dict)
    state_errors: Mapping[str, float] = field(default_factory=dict)
    zero_gradients: tuple[str, ...] = ()
    reads: Mapping[str, Sequence[str]] = field(default_factory=dict)
    twin_eps: float = 0.0
    quality: float | None = None
    ended: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """Whether a criterion is met, and why; `met` is None where it can't be told."""

    met: bool | None
    reason: str


class Outcome(StrEnum):
    """What a trial decided; what is undecided is not kept."""

    KEPT = "kept"
    REFUSED = "refused"
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a trial decided and why.

    `ratio` is the time without the change over the time with it, of the typical pair, so 1.05 is 5 % faster; it has no
    bounds while nothing is ruled out, and is None where no pair was measured. `total_ratio` is the same of the sums.
    """

    outcome: Outcome
    reason: str
    pairs: int
    ratio: Figure | None = None
    total_ratio: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A comparison of a change with what was kept so far: pair i took `plain_s[i]` without it, `changed_s[i]` with."""

    change: str
    verdict: Verdict
    plain_s: tuple[float, ...]
    changed_s: tuple[float, ...]
    spent_s: float

    @property
    def kept(self) -> bool:
        """Whether the change proved itself."""
        return self.verdict.outcome is Outcome.KEPT

    @property
    def pairs_s(self) -> tuple[tuple[float, float], ...]:
        """The seconds of each pair, without and with the change."""
        return tuple(zip(self.plain_s, self.changed_s, strict=True))

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Trial:
        """The trial that `as_json` wrote."""
        verdict = dict(data["verdict"])
        ratio = Figure.from_json(verdict["ratio"]) if "ratio" in verdict else None
        verdict |= {"outcome": Outcome(verdict["outcome"]), "ratio": ratio}
        times = {name: tuple(data[name]) for name in ("plain_s", "changed_s")}
        return Trial(**{**data, **times, "verdict": Verdict(**verdict)})


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """A search for what makes a target faster: the job before, what was tried, what was kept, the job after.

    `changes` has the change that each of `trials` tried, by `Trial.change`; trials of nothing, or of all that was kept,
    have none. `stays` names the trials whose changes are in the plan, None where that is all that were kept. `refused`
    are changes that were turned down before a trial, with the reason. `total` is the time without the plan over the
    time with it, of paired steps; None where nothing stays, or the plan was never tried as a whole. `before` and
    `after` (None where nothing stays) need not be whole runs; `whole_run` is one without the plan, if any was measured,
    and `runs_per_year` how often the user makes one. `plan` is the text of plan.toml. `seconds` is what the search
    took, of which `compile_s` went into compiling.
    """

    name: str
    target: Target
    started: str
    seconds: float
    before: Profile
    after: Profile | None = None
    trials: tuple[Trial, ...] = ()
    changes: Mapping[str, Change] = field(default_factory=dict)
    stays: tuple[str, ...] | None = None
    refused: tuple[tuple[str, str], ...] = ()
    total: Figure | None = None
    plan: str | None = None
    whole_run: Profile | None = None
    runs_per_year: float | None = None
    compile_s: float = 0.0
    notes: tuple[Note, ...] = ()

    @property
    def kept(self) -> tuple[Trial, ...]:
        """The trials whose changes stay."""
        stays = self.changes.keys() if self.stays is None else self.stays
        return tuple(trial for trial in self.trials if trial.kept and trial.change in stays)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Search:
        """The search that `as_json` wrote.

        Raises:
            ValueError: if a newer suffice wrote one of its profiles.
        """
        target = data["target"]
        return Search(
            **{
                **data,
                "target": Target(command=tuple(target["command"]), cwd=target["cwd"]),
                "before": Profile.from_json(data["before"]),
                "after": Profile.from_json(data["after"]) if "after" in data else None,
                "whole_run": Profile.from_json(data["whole_run"]) if "whole_run" in data else None,
                "stays": tuple(data["stays"]) if "stays" in data else None,
                "trials": tuple(Trial.from_json(each) for each in data["trials"]),
                "changes": {name: Change.from_json(each) for name, each in data["changes"].items()},
                "refused": tuple((name, reason) for name, reason in data["refused"]),
                "total": Figure.from_json(data["total"]) if "total" in data else None,
                "notes": tuple(Note(**each) for each in data["notes"]),
            }
        )
