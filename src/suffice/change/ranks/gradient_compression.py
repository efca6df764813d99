"""Gradients of several ranks exchanged in bfloat16, half the bytes: torch's `bf16_compress_hook`.

Each bucket is cast before it is sent, averaged in bfloat16, and cast back; weights and optimiser stay as they are.

Not on a processor: torch refuses the hook without NCCL 2.10 (or XCCL), and would raise into the job's construction. Not
with one rank, with gradients that have 16 bits already, or where the job has a communication hook of its own. A hook
can't be taken out of a reducer, so that each switch builds a new one; hence not while the job trains, unless somebody
has all ranks change at the same step.

Practice: HPC, distributed training: exchange fewer bytes
Source: torch.distributed.algorithms.ddp_comm_hooks.default_hooks; on a processor, measured: the hook refuses.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .exchange.wrappers import nothing_exchanged, rebuild, require_plain, wrappers_of

if TYPE_CHECKING:
    from typing import Any

    from suffice.records import Profile

RISK = "numeric"
CLOCK = "wall"
BLOCK = 8
WARM_UP = 2
PRACTICE = "HPC, distributed training: exchange fewer bytes"

BACKENDS = ("nccl", "xccl")
HOOKS = "torch.distributed.algorithms.ddp_comm_hooks.default_hooks"
WIDE = "torch.float32"


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """One setting for ranks on GPUs whose gradients have 32 bits."""
    without = nothing_exchanged(profile)
    if without:
        return without
    rank = profile.ranks[0]
    if not rank.device.startswith(("cuda", "xpu")):
        return "torch compresses gradients between GPUs alone"
    if rank.facts.get("parameter_dtype") not in (None, "float32"):
        return "the gradients have few bits already"
    return [{}]


def prepare(job: Any, settings: dict[str, Any]) -> GradientCompression:  # noqa: ARG001 - there is nothing to set
    """The switch; refused where torch can't do it, or the ranks could not change together."""
    wrappers = wrappers_of(job)
    for wrapper in wrappers:
        backend = job.torch.distributed.get_backend(wrapper.process_group)
        if backend not in BACKENDS:
            job.refuse("torch compresses gradients over NCCL alone, and the ranks exchange them over " + str(backend))
        if any(str(p.dtype) != WIDE for p in wrapper.parameters() if p.requires_grad):
            job.refuse("the gradients have few bits already")
    require_plain(job, wrappers)
    if not job.torch.cuda.is_bf16_supported():
        job.refuse("this GPU has no units for bf16")
    return GradientCompression(wrappers)


class GradientCompression:
    """Switches the hook; on every rank at the same step."""

    def __init__(self, wrappers: list[Any]) -> None:
        self.wrappers = wrappers
        self.is_on = False

    def on(self) -> None:
        """Between two steps, on all ranks."""
        if self.is_on:
            return
        hooks = import_module(HOOKS)
        self.is_on = True
        for wrapper in self.wrappers:
            rebuild(wrapper)
            wrapper.register_comm_hook(None, hooks.bf16_compress_hook)

    def off(self) -> None:
        """Between two steps, on all ranks."""
        if not self.is_on:
            return
        self.is_on = False
        for wrapper in self.wrappers:
            wrapper._comm_hooks.clear()
            rebuild(wrapper)
