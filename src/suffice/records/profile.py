"""What was asked for, and what was measured of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from suffice.records.figures import Figure

PROFILE_SCHEMA = 1
"""The version of the JSON that `Profile` writes; raised when a field changes its meaning or goes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """What the user asked for; for a measurement only where the job runs and what it costs an hour.

    The rest is for improving it: `metric` (a name or a pattern) may not fall below `floor`, a run is to end within
    `deadline_h` and to cost no more than `budget_usd`, and of `minimise` a kept change must take no more.
    """

    region: str | None = None
    instance: str | None = None
    rate_usd_per_h: float | None = None
    use_instance_metadata: bool = False
    metric: str | None = None
    lower_is_better: bool = False
    floor: float | None = None
    deadline_h: float | None = None
    budget_usd: float | None = None
    minimise: str = "time"


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
