"""A job that updates its weights itself -> an optimiser that stands for that, whose `step` marks where a step ends.

Whatever is switched between two steps, and whatever compares them, waits for an optimiser's `step`. Where the job has
made backward passes for a while and no optimiser of torch, one is made that holds the weights and does nothing; its
`step` is called at the end of each backward pass, before the job's own update.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..process import has_optimiser
from ..roots import find

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..hooks import Patches

PATIENCE = 16


class ByHand:
    """`known`: an earlier process of the same job was found to have no optimiser, so nothing is waited for."""

    def __init__(self, torch: Any, known: bool) -> None:
        self.torch = torch
        self.known = known
        self.backwards = self.depth = 0
        self.settled = False
        self.optimiser: Any = None

    def install(self, patches: Patches, guarded: Callable[..., None]) -> None:
        """Listen to the ends of backward passes."""

        def around(original: Any) -> Any:
            def backward(*args: Any, **kwargs: Any) -> Any:
                self.depth += 1
                try:
                    returned = original(*args, **kwargs)
                finally:
                    self.depth -= 1
                if not self.depth:
                    guarded(self._ended)
                return returned

            return backward

        patches.replace(self.torch.autograd, "backward", around)

    def trains(self) -> bool:
        """Whether the training may begin: an optimiser is there, or stands for the job's own updates."""
        return has_optimiser(self.torch) or (self.known and self._stands_in())

    def _ended(self) -> None:
        if not self.settled:
            self.backwards += 1
            by_hand = not has_optimiser(self.torch)
            if by_hand and self.backwards >= PATIENCE:
                self._stands_in()
            self.settled = not by_hand or self.backwards >= PATIENCE
        if self.optimiser is not None:
            self.optimiser.step()

    def _stands_in(self) -> bool:
        weights = {id(weight): weight for root in find(self.torch)[0] for weight in root.parameters()}
        trained = [weight for weight in weights.values() if weight.requires_grad]
        if trained:
            self.optimiser = _kind(self.torch)(trained, {})
        return bool(trained)


def _kind(torch: Any) -> Any:
    class UpdateByHand(torch.optim.Optimizer):  # type: ignore[misc]  # as torch comes only with the job
        def step(self, closure: Any = None) -> None:
            """The job does it."""

    return UpdateByHand
