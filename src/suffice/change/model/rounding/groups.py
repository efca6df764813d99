"""Weights (outputs, inputs) -> codes of few bits, a scale for each group of inputs, by rounding each to the nearest.

Codes are symmetric around a middle: a weight is `(code - middle) * scale`, with 2^bits codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any
TINY = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class Rounded:
    """Codes (outputs, inputs) of so many bits, and scales (outputs, groups)."""

    codes: Array
    scales: Array
    bits: int
    group: int

    @property
    def weights(self) -> Array:
        """What the codes stand for, (outputs, inputs)."""
        scales = np.repeat(self.scales, self.group, axis=1)[:, : self.codes.shape[1]]
        return (self.codes.astype(scales.dtype) - middle(self.bits)) * scales


def middle(bits: int) -> int:
    """The code of zero."""
    return int(2 ** (bits - 1))


def scale_of(weights: Array, bits: int) -> Array:
    """The scale (outputs,) with which the largest weight of each row (outputs, group) is the outermost code."""
    rows = np.arange(len(weights))
    outermost = weights[rows, np.abs(weights).argmax(axis=1)]
    # There is one code more below zero than above: the sign of the scale gives it to the largest weight.
    scale = -outermost / middle(bits)
    return np.where(np.abs(scale) < TINY, 1.0, scale)


def code_of(weights: Array, scale: Array, bits: int) -> Array:
    """The nearest code of weights (outputs, …) by scales (outputs,)."""
    spread = scale.reshape(-1, *[1] * (weights.ndim - 1))
    return np.clip(np.rint(weights / spread) + middle(bits), 0, 2**bits - 1).astype(np.uint8)


def to_nearest(weights: Array, *, bits: int, group: int) -> Rounded:
    """Each weight for itself."""
    starts = range(0, weights.shape[1], group)
    parts = [weights[:, start : start + group] for start in starts]
    scales = [scale_of(part, bits) for part in parts]
    codes = [code_of(part, scale, bits) for part, scale in zip(parts, scales, strict=True)]
    return Rounded(codes=np.concatenate(codes, axis=1), scales=np.stack(scales, axis=1), bits=bits, group=group)
