"""A number -> a number that never loses its unit and its origin."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


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
        bounded = all(f.low is not None and f.high is not None for f in factors)
        return measured(value, unit, method=method, **({"low": low, "high": high} if bounded else {}))
    if origins == {Origin.LOOKED_UP}:
        return looked_up(value, unit, source=sources or "", date=date or "", low=low, high=high, method=method)
    return estimated(value, unit, low=low, high=high, method=method, source=sources, date=date)
