"""Weights and what they are multiplied with -> codes of few bits, each rounded so as to mend earlier errors.

Inputs are taken one after the other. What rounding one of them changes in the outputs is made good by the inputs that
are still to come, as far as they are correlated with it on the samples: `H` = the mean of x xᵀ, its inverse's Cholesky
factor tells how much of the error each of them takes. A diagonal of `DAMPING` of the mean keeps it invertible, also
where an input is always zero.

Source: GPTQ, arXiv 2210.17323, algorithm 1, in float64; inputs after a block of them are mended all at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from suffice.change.model.rounding.groups import Array, Rounded, code_of, middle, scale_of

DAMPING = 0.01
BLOCK = 128


def mending(weights: Array, products: Array, *, bits: int, group: int) -> Rounded:
    """Round weights (outputs, inputs), given the mean products (inputs, inputs) of what they are multiplied with."""
    left = weights.astype(np.float64).copy()
    upper = _factor(products)
    scales: list[Any] = []
    codes = np.empty(left.shape, np.uint8)
    block, inputs = group * max(1, BLOCK // group), left.shape[1]
    for start in range(0, inputs, block):
        end = min(start + block, inputs)
        errors = np.empty((len(left), end - start))
        for place in range(start, end):
            if place % group == 0:
                scales.append(scale_of(left[:, place : place + group], bits))
            column = left[:, place]
            codes[:, place] = code_of(column, scales[-1], bits)
            error = (column - (codes[:, place].astype(float) - middle(bits)) * scales[-1]) / upper[place, place]
            left[:, place + 1 : end] -= np.outer(error, upper[place, place + 1 : end])
            errors[:, place - start] = error
        left[:, end:] -= errors @ upper[start:end, end:]
    return Rounded(codes=codes, scales=np.stack(scales, axis=1), bits=bits, group=group)


def _factor(products: Array) -> Array:
    """The upper Cholesky factor of the inverse of the damped products."""
    damped = products.astype(np.float64).copy()
    diagonal = np.diag_indices_from(damped)
    mean = float(damped[diagonal].mean()) or 1.0
    damped[diagonal] += DAMPING * mean
    inverse = np.linalg.inv(damped)
    return np.linalg.cholesky((inverse + inverse.T) / 2).T


def error_of(weights: Array, rounded: Rounded, products: Array) -> float:
    """The mean squared error of the outputs on the samples, over the mean square of the outputs."""
    difference = weights - rounded.weights
    wrong = ((difference @ products) * difference).sum()
    whole = ((weights @ products) * weights).sum()
    return float(wrong / whole) if whole else 0.0
