"""What a module returns -> the same with each tensor in it changed, in the containers that it came in."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

DEPTH = 8


def each_tensor(torch: Any, change: Callable[[Any], Any], thing: Any, depth: int = 0) -> Any:
    """`thing` with `change(tensor)` for each tensor in tuples, lists, mappings and dataclasses.

    A container of which nothing changed stays the very object that it was; none is changed itself.
    """
    if isinstance(thing, torch.Tensor):
        return change(thing)
    if depth == DEPTH:
        return thing
    parts = _parts(thing)
    changed = {key: each_tensor(torch, change, part, depth + 1) for key, part in parts.items()}
    return thing if all(changed[key] is parts[key] for key in parts) else _with(thing, changed)


def _parts(thing: Any) -> dict[Any, Any]:
    if isinstance(thing, (tuple, list)):
        return dict(enumerate(thing))
    if _is_mapping(thing):
        return dict(thing.items())
    fields = getattr(type(thing), "__dataclass_fields__", {})
    return {name: getattr(thing, name) for name in fields if hasattr(thing, name)}


def _with(thing: Any, parts: dict[Any, Any]) -> Any:
    if isinstance(thing, tuple):
        return thing._make(parts.values()) if hasattr(thing, "_make") else type(thing)(parts.values())
    changed = copy.copy(thing)
    for key, part in parts.items():
        if isinstance(thing, list) or _is_mapping(thing):
            changed[key] = part
        else:
            object.__setattr__(changed, key, part)  # also where the dataclass is frozen
    return changed


def _is_mapping(thing: Any) -> bool:
    return hasattr(thing, "items") and hasattr(thing, "__setitem__")
