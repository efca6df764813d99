"""What a module returned -> its tensors as arrays, in a fixed order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch


def arrays_of(found: Any) -> list[Any]:
    """The tensors in what a module returned, in order, as arrays; floating ones as float32."""
    return [(each.float() if each.is_floating_point() else each).numpy(force=True) for each in flat(found)]


def flat(found: Any) -> list[torch.Tensor]:
    """The tensors within tuples, lists and mappings, in order; what is None is left out."""
    if isinstance(found, torch.Tensor):
        return [found]
    if isinstance(found, Mapping):
        return [tensor for each in found.values() for tensor in flat(each)]
    if isinstance(found, Sequence) and not isinstance(found, str):
        return [tensor for each in found for tensor in flat(each)]
    return []
