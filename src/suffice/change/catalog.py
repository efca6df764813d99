"""The modules of change/{train,ranks,data} -> all techniques; a profile -> the changes that are worth a trial."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from suffice.change import data, ranks, train
from suffice.errors import ChangeUnknownError
from suffice.records import Change, Profile, Risk

Proposed = list[dict[str, Any]] | str


@dataclass(frozen=True, kw_only=True, slots=True)
class Technique:
    """One way to change a job, as suffice sees it; the job runs the file's other half.

    `id` is the file's name with hyphens, `what` the first line of its docstring. `clock` decides a trial: "processor"
    where a change leaves alone how many processors work at once, else "wall". A switch is followed by `warm_up` steps
    that don't count and `block` steps that do. `propose` takes a profile with at least one rank, and returns settings,
    the likeliest first, or the reason why there are none. `risk_of`, where there is one, tells what some settings risk.
    """

    id: str
    what: str
    risk: Risk
    clock: str
    block: int
    warm_up: int
    practice: str
    propose: Callable[[Profile], Proposed]
    risk_of: Callable[[Mapping[str, Any]], str] | None = None

    def change(self, settings: dict[str, Any]) -> Change:
        """The change that this technique makes with these settings, which may have a risk of their own."""
        risk = self.risk if self.risk_of is None else Risk(self.risk_of(settings))
        return Change(id=self.id, settings=settings, risk=risk, practice=self.practice)


def _technique(name: str, module: ModuleType) -> Technique:
    return Technique(
        id=name.replace("_", "-"),
        what=(module.__doc__ or "").strip().partition("\n")[0],
        risk=Risk(module.RISK),
        clock=module.CLOCK,
        block=getattr(module, "BLOCK", 1),
        warm_up=getattr(module, "WARM_UP", 0),
        practice=module.PRACTICE,
        propose=module.propose,
        risk_of=getattr(module, "risk_of", None),
    )


def _techniques() -> Iterator[Technique]:
    for room in (train, ranks, data):
        for found in sorted(iter_modules(room.__path__), key=lambda each: each.name):
            if not found.ispkg:  # what techniques of a room share
                yield _technique(found.name, import_module(f"{room.__name__}.{found.name}"))


CATALOG: Mapping[str, Technique] = {each.id: each for each in _techniques()}
"""Every technique by its id."""


def technique(change_id: str) -> Technique:
    """The technique of that id.

    Raises:
        ChangeUnknownError: if there is none.
    """
    found = CATALOG.get(change_id)
    if found is None:
        known = ", ".join(sorted(CATALOG))
        raise ChangeUnknownError(f"there is no change {change_id!r}", hint=f"these are known: {known}")
    return found


def proposals(profile: Profile, ids: Iterable[str]) -> tuple[list[Change], list[tuple[str, str]]]:
    """The changes that are worth a trial on this profile, in the order of `ids`, and (id, reason) of the others.

    Raises:
        ChangeUnknownError: if there is no such technique.
    """
    changes: list[Change] = []
    refused: list[tuple[str, str]] = []
    for each in map(technique, ids):
        proposed = each.propose(profile) if profile.ranks else "no training loop was seen"
        if isinstance(proposed, str):
            refused.append((each.id, proposed))
            continue
        changes += [each.change(settings) for settings in proposed]
    return changes, refused
