"""Weights and what they are multiplied with -> a factor for each input: inputs that are large are rounded more finely.

A weight that meets large inputs errs more in the outputs. Before rounding, the weights of each input are multiplied by
`factor`, and the input is divided by it: the root mean square of the input to a power, the best of a grid by the error
of the outputs.

Source: AWQ, arXiv 2306.00978, section 3.2, with the squares of inputs instead of their magnitudes.
"""

from __future__ import annotations

import numpy as np

from suffice.change.model.rounding.gptq import error_of, mending
from suffice.change.model.rounding.groups import TINY, Array, Rounded, to_nearest

POWERS = np.linspace(0.0, 1.0, 11)[1:]


def factors(weights: Array, products: Array, *, bits: int, group: int) -> tuple[Array, float]:
    """The factor (inputs,) of each input with which rounding to the nearest errs least; what is left of the error.

    Where none helps they are ones, and all is left.
    """
    large = np.sqrt(np.maximum(np.diag(products), TINY))
    best = np.ones(weights.shape[1])
    plain = least = error_of(weights, to_nearest(weights, bits=bits, group=group), products)
    for power in POWERS:
        tried = large**power
        tried /= np.sqrt(tried.max() * tried.min())
        rounded = to_nearest(weights * tried, bits=bits, group=group)
        error = error_of(weights * tried, rounded, _divided(products, tried))
        if error < least:
            best, least = tried, error
    return best, least / plain if plain else 1.0


def mended(weights: Array, products: Array, factor: Array, *, bits: int, group: int) -> tuple[Rounded, float]:
    """The weights times the factor, each rounded so as to mend earlier errors, and the error of the outputs."""
    products = _divided(products, factor)
    rounded = mending(weights * factor, products, bits=bits, group=group)
    return rounded, error_of(weights * factor, rounded, products)


def _divided(products: Array, factor: Array) -> Array:
    return products / np.outer(factor, factor)
