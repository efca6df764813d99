"""The nouns that the rooms exchange: frozen records with units in their names; imports nothing of ours.

A `Figure` is a number that never loses its unit and its origin on the way to the screen. A `Profile` is what was
measured of a target, a `Trial` what was compared. All turn into plain JSON and back (`as_json`, `Profile.from_json`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum, StrEnum
from typing import Any

PROFILE_SCHEMA = 1
"""The version of the JSON that `Profile` writes; raised when a field changes its meaning or goes."""


class Origin(StrEnum):
    """Where a figure comes from."""

    MEASURED = "measured"
    ESTIMATED = "estimated"
    LOOKED_UP = "looked up"


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A number with its unit and its origin.

    `low` and `high` bound the value: for an estimate the range in which the truth is expected, for a measurement the
    spread that `method` names. An estimate must state a range and a method; what was looked up, a source and a date.

    Raises:
        ValueError: if the origin's own fields are missing, or `low` ≤ `value` ≤ `high` does not hold.
    """

    value: float
    unit: str
    origin: Origin
    low: float | None = None
    high: float | None = None
    method: str | None = None
    source: str | None = None
    date: str | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"a figure must be finite, found {self.value} {self.unit}; leave out what is not known")
        if self.origin is Origin.ESTIMATED and (self.low is None or self.high is None or not self.method):
            raise ValueError(f"an estimate needs low, high and method; {self.value} {self.unit} lacks one")
        if self.origin is Origin.LOOKED_UP and not (self.source and self.date):
            raise ValueError(f"what was looked up needs source and date; {self.value} {self.unit} lacks one")
        slack = 1e-9 * max(1.0, abs(self.value))
        if (self.low is not None and self.low > self.value + slack) or (
            self.high is not None and self.high < self.value - slack
        ):
            raise ValueError(f"{self.value} {self.unit} is outside its own range {self.low} to {self.high}")

    def scaled(self, factor: float, unit: str) -> Figure:
        """The same figure in another unit, e.g. J to kWh; `factor` must be positive."""
        if factor <= 0:
            raise ValueError(f"a change of unit needs a positive factor, found {factor}")
        return Figure(
            value=self.value * factor,
            unit=unit,
            origin=self.origin,
            low=None if self.low is None else self.low * factor,
            high=None if self.high is None else self.high * factor,
            method=self.method,
            source=self.source,
            date=self.date,
        )

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Figure:
        """The figure that `as_json` wrote."""
        return Figure(**{**data, "origin": Origin(data["origin"])})


def measured(value: float, unit: str, **details: Any) -> Figure:
    """A figure that was read off a clock, a counter or a gauge."""
    return Figure(value=value, unit=unit, origin=Origin.MEASURED, **details)


def estimated(value: float, unit: str, *, low: float, high: float, method: str, **details: Any) -> Figure:
    """A figure that a model gave, with the range in which the truth is expected."""
    return Figure(value=value, unit=unit, origin=Origin.ESTIMATED, low=low, high=high, method=method, **details)


def looked_up(value: float, unit: str, *, source: str, date: str, **details: Any) -> Figure:
    """A figure out of a dated table."""
    return Figure(value=value, unit=unit, origin=Origin.LOOKED_UP, source=source, date=date, **details)


def product(unit: str, method: str, *factors: Figure) -> Figure:
    """The product of non-negative figures; their ranges multiply, and the weakest origin stays.

    Ranges multiply end to end (all factors low, all factors high): the widest range that the factors allow, because
    nothing is known about how their errors go together.
    """
    value = math.prod(f.value for f in factors)
    low = math.prod(f.value if f.low is None else f.low for f in factors)
    high = math.prod(f.value if f.high is None else f.high for f in factors)
    origins = {f.origin for f in factors}
    sources = "; ".join(dict.fromkeys(f.source for f in factors if f.source)) or None
    date = min((f.date for f in factors if f.date), default=None)
    if origins == {Origin.MEASURED}:
        return measured(value, unit, method=method)
    if origins == {Origin.LOOKED_UP}:
        return looked_up(value, unit, source=sources or "", date=date or "", low=low, high=high, method=method)
    return estimated(value, unit, low=low, high=high, method=method, source=sources, date=date)


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """What the user asked for; for a measurement only where the job runs and what it costs an hour."""

    region: str | None = None
    instance: str | None = None
    rate_usd_per_h: float | None = None
    use_instance_metadata: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What is measured: today a training command, with the folder it is started in."""

    command: tuple[str, ...]
    cwd: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """A sentence for the reader: what was not measured and why (`warning`), or what is worth knowing (`info`)."""

    text: str
    level: str = "info"


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One quantity over time: `values[i]` was read at `at_s[i]` seconds after the start of the run."""

    name: str
    unit: str
    at_s: tuple[float, ...]
    values: tuple[float, ...]
    rank: int | None = None

    def __post_init__(self) -> None:
        if len(self.at_s) != len(self.values):
            raise ValueError(f"series {self.name}: {len(self.at_s)} times but {len(self.values)} values")


@dataclass(frozen=True, kw_only=True, slots=True)
class Loader:
    """A `DataLoader` that the job read, and what held it back."""

    name: str
    role: str
    dataset: str
    batch_size: int | None
    workers: int
    figures: Mapping[str, Figure] = field(default_factory=dict)
    limited_by: str | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rank:
    """What one training process did; `split` holds the seconds of a step by part, `figures` the rest."""

    rank: int
    pid: int
    device: str
    figures: Mapping[str, Figure] = field(default_factory=dict)
    split: Mapping[str, Figure] = field(default_factory=dict)
    device_split: Mapping[str, Figure] = field(default_factory=dict)
    loaders: tuple[Loader, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """What was measured of a target in one run.

    `figures` are of the whole job, `parts` divides its duration into what the job did (of the rank that took longest),
    `machine` holds facts that are no figures, `state` says how the run ended: finished, failed, stopped, unfinished.
    """

    run: str
    target: Target
    started: str
    ended: str
    exit_code: int
    state: str
    machine: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    parts: Mapping[str, Figure] = field(default_factory=dict)
    ranks: tuple[Rank, ...] = ()
    series: tuple[Series, ...] = ()
    notes: tuple[Note, ...] = ()
    schema: int = PROFILE_SCHEMA

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Profile:
        """The profile that `as_json` wrote.

        Raises:
            ValueError: if a newer suffice wrote it.
        """
        if data["schema"] > PROFILE_SCHEMA:
            raise ValueError(
                f"this profile has schema {data['schema']}, this suffice knows {PROFILE_SCHEMA} at most; update suffice"
            )
        return Profile(
            **{
                **data,
                "target": Target(command=tuple(data["target"]["command"]), cwd=data["target"]["cwd"]),
                "figures": _figures(data["figures"]),
                "parts": _figures(data["parts"]),
                "ranks": tuple(_rank(r) for r in data["ranks"]),
                "series": tuple(
                    Series(**{**s, "at_s": tuple(s["at_s"]), "values": tuple(s["values"])}) for s in data["series"]
                ),
                "notes": tuple(Note(**n) for n in data["notes"]),
            }
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """Whether a criterion is met, and why; `met` is None where it can't be told."""

    met: bool | None
    reason: str


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
    """

    changes: tuple[str, ...]
    seed: int
    steps: int
    losses: tuple[float, ...]
    inputs: tuple[str, ...] = ()
    indices: tuple[str, ...] = ()
    gradient_errors: Mapping[str, float] = field(default_factory=dict)
    state_errors: Mapping[str, float] = field(default_factory=dict)
    twin_eps: float = 0.0
    quality: float | None = None
    ended: bool = False
    notes: tuple[str, ...] = ()


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

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Trial:
        """The trial that `as_json` wrote."""
        verdict = dict(data["verdict"])
        ratio = Figure.from_json(verdict["ratio"]) if "ratio" in verdict else None
        verdict |= {"outcome": Outcome(verdict["outcome"]), "ratio": ratio}
        times = {name: tuple(data[name]) for name in ("plain_s", "changed_s")}
        return Trial(**{**data, **times, "verdict": Verdict(**verdict)})


def as_json(record: Any) -> Any:
    """A record, or a collection of records, as what `json.dumps` takes; fields that are None are left out."""
    if isinstance(record, Enum):
        return record.value
    if is_dataclass(record) and not isinstance(record, type):
        pairs = ((f.name, getattr(record, f.name)) for f in fields(record))
        return {name: as_json(value) for name, value in pairs if value is not None}
    if isinstance(record, Mapping):
        return {key: as_json(value) for key, value in record.items()}
    if isinstance(record, Sequence) and not isinstance(record, str):
        return [as_json(value) for value in record]
    return record


def _figures(data: Mapping[str, Any]) -> dict[str, Figure]:
    return {name: Figure.from_json(figure) for name, figure in data.items()}


def _rank(data: Mapping[str, Any]) -> Rank:
    loaders = (Loader(**{"batch_size": None, **each, "figures": _figures(each["figures"])}) for each in data["loaders"])
    return Rank(
        **{
            **data,
            "figures": _figures(data["figures"]),
            "split": _figures(data["split"]),
            "device_split": _figures(data["device_split"]),
            "loaders": tuple(loaders),
        }
    )
