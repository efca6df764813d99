"""Nothing in, the newest versions known of what suffice works with out, each with the day on which that was so."""

from __future__ import annotations

from dataclasses import dataclass

from suffice.tables.ranges import read_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """The newest version of a driver or package that was known on `date`."""

    name: str
    newest: str
    what: str
    source: str
    date: str


def newest_versions() -> dict[str, Version]:
    """The newest known versions by name: `torch`, `cuda`, `nvidia-driver` (its branch) and others."""
    return {row["name"]: Version(**row) for row in read_rows("versions")}
