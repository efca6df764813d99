"""A module whose layers are rounded to few bits while it is trained, and then no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.utils.parametrize import register_parametrization, remove_parametrizations

PACE = 0.05
"""The share of what was last read in a range."""
TINY = 1e-12


class RoundedWeight(torch.nn.Module):  # type: ignore[misc]
    """Weights (outputs, …) -> the same, of each output to as many steps on both sides of zero."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.most = 2 ** (bits - 1) - 1

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The gradient is that of the weights as they are."""
        scale = (weight.detach().abs().flatten(1).amax(1) / self.most).clamp_min(TINY)
        middle = torch.zeros(len(scale), dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, middle, 0, -self.most, self.most)


class RoundedInput:
    """What a layer reads -> the same in steps over the range of what it has read; the range holds zero."""

    def __init__(self, bits: int) -> None:
        self.most = 2**bits - 1
        self.low = self.high = 0.0
        self.widens = True

    def __call__(self, layer: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """As a hook before the layer; where it is trained the range follows, before that it grows."""
        read = given[0]
        if self.widens:
            self.low, self.high = min(self.low, float(read.min())), max(self.high, float(read.max()))
            return given
        if layer.training:
            self.low += PACE * (min(0.0, float(read.detach().min())) - self.low)
            self.high += PACE * (max(0.0, float(read.detach().max())) - self.high)
        scale = max((self.high - self.low) / self.most, TINY)
        zero = min(self.most, max(0, round(-self.low / scale)))
        return (torch.fake_quantize_per_tensor_affine(read, scale, zero, 0, self.most), *given[1:])


@contextmanager
def rounded(
    module: torch.nn.Module, kinds: Sequence[str], batches: Sequence[Any], *, bits: int
) -> Iterator[dict[str, RoundedInput]]:
    """Within it the layers of these kinds are rounded; ranges begin with what `batches` make them read.

    Gives what rounds the inputs, by the layers' paths.
    """
    layers = {path: each for path, each in module.named_modules() if type(each).__name__ in kinds}
    inputs = {path: RoundedInput(bits) for path in layers}
    hooks = [layers[path].register_forward_pre_hook(each) for path, each in inputs.items()]
    try:
        with torch.no_grad():
            for each in batches:
                module(*each)
        for each in inputs.values():
            each.widens = False
        for layer in layers.values():
            register_parametrization(layer, "weight", RoundedWeight(bits))
        yield inputs
    finally:
        for hook in hooks:
            hook.remove()
        for layer in layers.values():
            if hasattr(layer, "parametrizations"):
                remove_parametrizations(layer, "weight", leave_parametrized=False)
