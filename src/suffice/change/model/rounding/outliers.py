"""A product in 8 bits whose few large inputs stay precise: what LLM.int8() does, as a reference for kernels.

Language models have some inputs that are a hundred times larger than the others in every sample. Scaled by them, all
others round to nothing. So those columns are multiplied as they are, and the rest in 8 bits with a scale for each row
of the inputs and each output.

A tool for quality, not for speed: on a processor it is slower than either alone.

Source: LLM.int8(), arXiv 2208.07339, section 3: threshold 6, vector-wise scales.
"""

from __future__ import annotations

import numpy as np

from suffice.change.model.rounding.groups import TINY, Array

THRESHOLD = 6.0
LARGEST = 127


def rounded(values: Array, *, axis: int | None) -> Array:
    """The values as 8 bits tell them, with a scale for each row (`axis` 1) or one for all (None)."""
    scale = np.maximum(np.abs(values).max(axis=axis, keepdims=True), TINY) / LARGEST
    return np.rint(values / scale) * scale


def product8(x: Array, weights: Array) -> Array:
    """`x` (samples, inputs) times weights (outputs, inputs), both in 8 bits: (samples, outputs)."""
    x_scale, weight_scale = (np.maximum(np.abs(each).max(axis=1), TINY) / LARGEST for each in (x, weights))
    x_codes = np.rint(x / x_scale[:, None]).astype(np.int32)
    weight_codes = np.rint(weights / weight_scale[:, None]).astype(np.int32)
    return (x_codes @ weight_codes.T) * np.outer(x_scale, weight_scale)


def decomposed(x: Array, weights: Array, *, threshold: float = THRESHOLD) -> Array:
    """The same, with the inputs that reach the threshold in any sample multiplied as they are."""
    large = np.abs(x).max(axis=0) >= threshold
    precise = x[:, large] @ weights[:, large].T
    return precise if large.all() else precise + product8(x[:, ~large], weights[:, ~large])
