"""What a module returned -> its tensors, or arrays, in a fixed order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch


def arrays_of(found: Any) -> list[Any]:
    """The tensors in what a module returned, in order, as arrays; floating ones as float32."""
    return [(each.float() if each.is_floating_point() else each).numpy(force=True) for each in flat(found)]


class Flat(torch.nn.Module):  # type: ignore[misc]  # torch is not looked into
    """A module whose answer is a tuple of tensors, whatever types of the user's own the other one returns."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The tensors in the module's answer."""
        return tuple(flat(self.module(*inputs)))


def flat(found: Any) -> list[torch.Tensor]:
    """The tensors within tuples, lists and mappings, in order; what is None is left out."""
    if isinstance(found, torch.Tensor):
        return [found]
    if isinstance(found, Mapping):
        return [tensor for each in found.values() for tensor in flat(each)]
    if isinstance(found, Sequence) and not isinstance(found, str):
        return [tensor for each in found for tensor in flat(each)]
    return []
