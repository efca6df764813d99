"""The modules of change/{train,ranks,data,process,semantic} -> all techniques; a profile -> changes worth a trial."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from suffice.change import data, process, ranks, semantic, train
from suffice.errors import ChangeUnknownError
from suffice.records import Change, Profile, Risk

Proposed = list[dict[str, Any]] | str
AtStart = Callable[[Mapping[str, Any], Mapping[str, str]], dict[str, str] | str]
"""(settings, the user's variables) -> what is set beside them where the job is started, or why it is not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Technique:
    """One way to change a job, as suffice sees it; the job runs the file's other half.

    `id` is the file's name with hyphens, `what` the first line of its docstring. `clock` decides a trial: "processor"
    where a change leaves alone how many processors work at once, else "wall". A switch is followed by `warm_up` steps
    that don't count and `block` steps that do. `propose` takes a profile with at least one rank, and returns settings,
    the likeliest first, or the reason why there are none. `risk_of`, where there is one, tells what some settings risk.
    `environment` is there where a change needs another process from its start.
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
    environment: AtStart | None = None

    def change(self, settings: dict[str, Any]) -> Change:
        """The change that this technique makes with these settings, which may have a risk of their own."""
        risk = self.risk if self.risk_of is None else Risk(self.risk_of(settings))
        return Change(id=self.id, settings=settings, risk=risk, practice=self.practice)


def _technique(change_id: str, module: ModuleType) -> Technique:
    return Technique(
        id=change_id,
        what=(module.__doc__ or "").strip().partition("\n")[0],
        risk=Risk(module.RISK),
        clock=module.CLOCK,
        block=getattr(module, "BLOCK", 1),
        warm_up=getattr(module, "WARM_UP", 0),
        practice=module.PRACTICE,
        propose=module.propose,
        risk_of=getattr(module, "risk_of", None),
        environment=getattr(module, "environment", None),
    )


class Catalog(Mapping[str, Technique]):
    """Every technique by its id; a technique's file is read when it is asked for."""

    def __init__(self) -> None:
        rooms = (train, ranks, data, process, semantic)
        found = (
            (room, name) for room in rooms for _, name, is_package in iter_modules(room.__path__) if not is_package
        )
        self._files = {name.replace("_", "-"): f"{room.__name__}.{name}" for room, name in found}
        self._techniques: dict[str, Technique] = {}

    def __getitem__(self, change_id: str) -> Technique:
        if change_id not in self._techniques:
            self._techniques[change_id] = _technique(change_id, import_module(self._files[change_id]))
        return self._techniques[change_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


CATALOG = Catalog()


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


def needs_own_process(change: Change) -> bool:
    """Whether the change can't be switched inside a live job."""
    return change.id in CATALOG and CATALOG[change.id].environment is not None


def parted(changes: Iterable[Change]) -> tuple[list[Change], list[Change]]:
    """Those that can be switched inside a live job, and those that need a process of their own."""
    switched: list[Change] = []
    own: list[Change] = []
    for each in changes:
        (own if needs_own_process(each) else switched).append(each)
    return switched, own


def refused_at_start(changes: Sequence[Change], variables: Mapping[str, str]) -> str | None:
    """Why a job with these variables can't be started with the last of the changes beside the others, if it can't."""
    _, told = at_start([change.order for change in changes], variables)
    return told[-1].get("refused")


def at_start(
    listed: Sequence[Mapping[str, Any]], variables: Mapping[str, str]
) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """The variables to start a job with, and its changes as the agent is told of them.

    Args:
        listed: the changes, each with its "id" and "settings".
        variables: the user's; one that is set already stays, and what needs it otherwise is "refused" with the reason.
    """
    started, told = dict(variables), []
    for each in listed:
        found = CATALOG.get(each["id"])
        added = found.environment(each["settings"], started) if found and found.environment else {}
        if isinstance(added, str):
            told.append({**each, "refused": added})
        else:
            told.append(dict(each))
            started.update(added)
    return started, told
