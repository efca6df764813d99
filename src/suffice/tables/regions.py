"""A region's code in, its grid's carbon intensity and its data centres' PUE out, each as a range with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from suffice.tables.ranges import Range, range_in, read_rows

WORLD = "world"


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """A place that draws from one grid: `intensity` in gCO2e per kWh, `pue` without unit."""

    code: str
    place: str
    country: str
    zone: str
    intensity: Range
    intensity_source: str
    pue: Range
    pue_source: str
    date: str


def regions() -> tuple[Region, ...]:
    """Every AWS region that the table knows, by code; not the row for the world."""
    return tuple(_region(row) for row in read_rows("regions") if row["code"] != WORLD)


def find_region(code: str) -> Region:
    """The region with this code, e.g. `eu-north-1`.

    Raises:
        ValueError: if the table has no such region; the message names the nearest and the known ones.
    """
    known = {region.code: region for region in regions()}
    if code in known:
        return known[code]
    near = get_close_matches(code, known)
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    raise ValueError(f"unknown region {code!r}{hint} Known regions: {', '.join(sorted(known))}.")


def world() -> Region:
    """The row for a place that is not known: from the cleanest country's grid to the dirtiest one's."""
    return next(_region(row) for row in read_rows("regions") if row["code"] == WORLD)


def _region(row: Mapping[str, str]) -> Region:
    return Region(
        code=row["code"],
        place=row["place"],
        country=row["country"],
        zone=row["zone"],
        intensity=range_in(row, "g_per_kwh"),
        intensity_source=row["figures"],
        pue=range_in(row, "pue"),
        pue_source=row["pue_source"],
        date=row["date"],
    )
