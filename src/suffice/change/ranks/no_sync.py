"""Gradients of several ranks exchanged once a step of the optimiser, where a step is made of several backward passes.

`DistributedDataParallel` exchanges the gradients in each backward pass. Where several are added up before the optimiser
steps, only the last exchange is needed, which then carries the sum: that is torch's own `no_sync`. How many passes make
a step is learnt from the first steps. In a step that has fewer of them the gradients are averaged before the optimiser
takes them, and from then on each pass is exchanged again.

Not where each backward pass is followed by a step (that would be another training), where the job does it itself, with
several optimisers, or with a gradient scaler, which may skip a step on one rank alone. A job that clips gradients clips
those of its own rank in a step that turns out to be shorter. The sums are rounded in another order.

Practice: HPC, distributed training: exchange gradients once for each step
Source: DistributedDataParallel.no_sync; measured over loopback: 12 in place of 31 ms a pass, three of four spared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .exchange.wrappers import nothing_exchanged, wrappers_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from suffice.records import Profile

RISK = "numeric"
CLOCK = "wall"
BLOCK = 4
WARM_UP = 1
PRACTICE = "HPC, distributed training: exchange gradients once for each step"

LEARNT_AFTER = 3


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """One setting for ranks that make several backward passes before the optimiser steps."""
    without = nothing_exchanged(profile)
    if without:
        return without
    passes = profile.ranks[0].facts.get("backwards_per_step")
    if passes is None:
        return "how many backward passes make a step is not known"
    return [{}] if passes > 1 else "each backward pass is followed by a step of the optimiser"


def prepare(job: Any, settings: dict[str, Any]) -> NoSync:  # noqa: ARG001 - there is nothing to set
    """The switch; refused where an exchange could be missed, or the ranks could not change together."""
    wrappers = wrappers_of(job)
    optimisers = job.optimisers()
    if len(wrappers) > 1 or len(optimisers) != 1:
        job.refuse("there are several models or optimisers, which may step at other times")
    if job.scalers():
        job.refuse("a gradient scaler may skip a step on one rank alone")
    if not hasattr(wrappers[0], "require_backward_grad_sync"):
        job.refuse("torch {} spares an exchange in another way".format(job.torch.__version__))
    return NoSync(job, wrappers[0], optimisers[0])


class NoSync:
    """Switches the exchange of all passes but a step's last; on every rank at the same step."""

    def __init__(self, job: Any, wrapper: Any, optimiser: Any) -> None:
        self.torch = job.torch
        self.wrapper = wrapper
        self.optimiser = optimiser
        self.calls = job.calls([wrapper], self._passes)
        self.handles: list[Any] = []
        self.passes = self.usual = self.alike = self.spared = 0
        self.owed = False
        self.given_up: str | None = None

    def on(self) -> None:
        """Between two steps, on all ranks."""
        if not self.handles:
            self.passes, self.owed = 0, False
            self.calls.on()
            self.handles = [
                self.optimiser.register_step_pre_hook(self._step_begins),
                self.optimiser.register_step_post_hook(self._step_ended),
            ]

    def off(self) -> None:
        """Between two steps, on all ranks."""
        self.calls.off()
        for handle in self.handles:
            handle.remove()
        self.handles = []

    def _passes(self, module: Any, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if module is not self.wrapper or not self.torch.is_grad_enabled():
            return call(*args, **kwargs)
        if not module.require_backward_grad_sync:
            self.given_up = "the job does it itself"
            return call(*args, **kwargs)
        self.passes += 1
        self.owed = not self.given_up and self.alike >= LEARNT_AFTER and self.passes < self.usual
        if not self.owed:
            return call(*args, **kwargs)
        self.spared += 1
        module.require_backward_grad_sync = False
        try:
            return call(*args, **kwargs)
        finally:
            module.require_backward_grad_sync = True

    def _step_begins(self, optimiser: Any, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - torch passes them
        if not self.owed:
            return
        self.owed = False
        self.given_up = "a step of {} passes followed steps of {}".format(self.passes, self.usual)
        distributed, group = self.torch.distributed, self.wrapper.process_group
        for parameter in self.wrapper.parameters():
            if parameter.grad is not None:
                parameter.grad.div_(distributed.get_world_size(group))
                distributed.all_reduce(parameter.grad, group=group)

    def _step_ended(self, optimiser: Any, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - as above
        self.alike = self.alike + 1 if self.passes == self.usual else 0
        self.usual, self.passes = self.passes, 0

    def facts(self) -> dict[str, Any]:
        """How many exchanges were spared, and why no more are."""
        return {"passes_per_step": self.usual, "exchanges_spared": self.spared, "given_up": self.given_up}
