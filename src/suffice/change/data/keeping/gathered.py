"""A data set whose samples stand in a table -> whether they still rest on what they rested on when it was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..looking.dependencies import Dependencies, changed
from ..looking.study import objects_of
from .files import file_stamps
from .memo import Owner

if TYPE_CHECKING:
    from typing import Any

    from .table import Direct, Table


class Gathered:
    """One loader's data set with its table."""

    def __init__(self, torch: Any, loader: Any, name: str, table: Table | Direct | None) -> None:
        self.torch = torch
        self.table = table
        self.dataset = loader.dataset
        self.collate = loader.collate_fn
        self.objects = objects_of(torch, loader.dataset, name)
        self.volatile: set[str] = set()
        self.owners: list[tuple[Any, Owner]] = []
        self.first: dict[str, str] = {}

    def settle(self, volatile: set[str]) -> None:
        """From here on everything that the samples rest on is to stay as it is, but for what reading them changes."""
        self.volatile = volatile
        for path, thing in self.objects.items():
            names = [name[len(path) + 1 :] for name in volatile if name.startswith(path + ".")]
            self.owners.append((thing, Owner(thing, "", path, names)))
        self.first = self._state()

    def _state(self) -> dict[str, str]:
        state = Dependencies(self.torch, [], self.objects, quick=True).snapshot()
        state.update(file_stamps(self.objects))
        return {name: digest for name, digest in state.items() if name not in self.volatile}

    def changed(self) -> list[str]:
        """What of it is no longer as it was; of a direct one nothing matters, for its tensors are read anew."""
        return changed(self.first, self._state()) if self.first else []

    def guarded(self) -> str:
        """The object whose plain attributes are others by now, or nothing."""
        return next((owner.shown for thing, owner in self.owners if owner.plain(thing) != owner.first), "")
