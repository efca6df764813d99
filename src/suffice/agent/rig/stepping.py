"""Optimisers -> their steps with other values in `param_groups`, such as `fused`, and only for the length of a step.

Between steps the groups are as the job made them, so that it saves, loads, adds and reads them as ever. A value that is
called with the group gives that group's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    May = Callable[[Any], bool]

ABSENT = object()


class Stepping:
    """Switched on and off between steps; `steps` counts those made with the values, `passed` those made without."""

    def __init__(self, optimisers: Iterable[Any], values: dict[str, Any], may: May) -> None:
        self.optimisers = list(optimisers)
        self.values = values
        self.may = may
        self.before: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.handles: list[Any] = []
        self.steps = self.passed = 0

    def on(self) -> None:
        """From now on steps are made with the values; calling it again changes nothing."""
        if not self.handles:
            for optimiser in self.optimisers:
                self.handles.append(optimiser.register_step_pre_hook(self._begins))
                self.handles.append(optimiser.register_step_post_hook(self._ends))

    def off(self) -> None:
        """From now on they are made as before."""
        for handle in self.handles:
            handle.remove()
        self.handles = []
        self._restore()

    def _begins(self, optimiser: Any, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - torch passes them
        self._restore()  # where the latest step failed half-way
        if not self.may(optimiser):
            self.passed += 1
            return
        self.steps += 1
        for group in optimiser.param_groups:
            self.before.append((group, {name: group.get(name, ABSENT) for name in self.values}))
            found = {name: value(group) if callable(value) else value for name, value in self.values.items()}
            group.update(found)

    def _ends(self, optimiser: Any, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - torch passes them
        self._restore()

    def _restore(self) -> None:
        for group, values in self.before:
            for name, value in values.items():
                if value is ABSENT:
                    group.pop(name, None)
                else:
                    group[name] = value
        self.before.clear()
