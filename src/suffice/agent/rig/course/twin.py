"""The live roots -> weights that are a rounding away from what they were, which shows the job's own chaos."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def stir(torch: Any, roots: Iterable[Any], eps: float, seed: int) -> None:
    """Multiply each weight by 1 + eps times normal noise, drawn from a generator that the job does not have."""
    generator = torch.Generator().manual_seed(seed)
    weights = {id(p): p for root in roots for p in root.parameters() if p.is_floating_point()}
    with torch.no_grad():
        for weight in weights.values():
            noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            # A factor near 1 would be 1 in half precision.
            wide = torch.float64 if weight.dtype == torch.float64 else torch.float32
            weight.mul_((1 + eps * noise).to(weight.device, wide))
