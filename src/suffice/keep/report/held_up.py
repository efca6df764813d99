"""A profile -> what holds it up, in a few lines: the diagnosis, and each finding with its bound and its cure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from suffice.diagnose.ladder import diagnose
from suffice.records import Finding, Profile

GAINS = 1.005  # below it a bound prints as 1.00


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldUp:
    """`sentence` is the diagnosis; `rows` are of each finding its name, its bound and what to do, in words."""

    sentence: str
    rows: tuple[tuple[str, str, str], ...]


def held_up(profile: Profile) -> HeldUp:
    """What the ladder says of the profile."""
    found = diagnose(profile)
    rows = [_row(finding, said=found.sentence) for finding in found.findings]
    return HeldUp(sentence=found.sentence, rows=tuple(rows))


def as_data(held: HeldUp) -> Mapping[str, Any]:
    """The same as JSON, for the page."""
    return {"sentence": held.sentence, "rows": [list(row) for row in held.rows]}


def _row(finding: Finding, *, said: str) -> tuple[str, str, str]:
    bound = f"at most {finding.bound:.3g}\N{MULTIPLICATION SIGN}" if finding.bound >= GAINS else "costs no time"
    if finding.cures:
        cure = f"try {_listed(finding.cures)}"
    else:
        cure = "no change by itself cures it" if said.endswith(finding.sentence) else finding.sentence
    return finding.id.replace("-", " "), bound, cure


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
