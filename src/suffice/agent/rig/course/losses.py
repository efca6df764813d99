"""The roots of each `backward` -> the loss of a step, to the last bit, before any scaler's factor."""

from __future__ import annotations

import math
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

SCALED_KEPT = 8


class Losses:
    """Reads the loss at once, although the job has to wait for it; `take` gives their sum since the last time."""

    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self.values: list[float] = []
        self.depth = 0
        self.scaled_roots: list[tuple[Any, Any]] = []

    def scaled(self, plain: Any, scaled: Any) -> None:
        """A gradient scaler made `scaled` of `plain`: what will be the root is not the loss."""
        if isinstance(plain, self.torch.Tensor):
            self.scaled_roots = [*self.scaled_roots, (weakref.ref(scaled), plain.detach())][-SCALED_KEPT:]

    def backward_begins(self, roots: Any) -> bool:
        """One within another, as when a checkpoint is recomputed, starts from no loss."""
        self.depth += 1
        if self.depth == 1:
            for root in roots if isinstance(roots, (list, tuple)) else [roots]:
                plain = next((p for scaled, p in reversed(self.scaled_roots) if scaled() is root), root)
                self.values.append(float(plain.detach().sum().item()))
        return True

    def backward_ends(self, token: Any) -> None:
        """It has ended, or failed."""
        if token:
            self.depth -= 1

    def take(self) -> str:
        """The sum as `float.hex` has it; nan where there was none."""
        values, self.values, self.depth = self.values, [], 0
        if not values:
            return math.nan.hex()
        return (math.fsum(values) if all(map(math.isfinite, values)) else sum(values, 0.0)).hex()
