"""Activations of repeated blocks made again in the backward pass, in place of kept: less memory for more arithmetic.

Each block of a list of like ones (the layers of a transformer) is called through `torch.utils.checkpoint`, with the
same random numbers in both passes. Losses and gradients are bitwise equal.

Not unless memory limits the job: it costs about a third of a step, and pays where the machine stalls for memory, or
where a larger batch needs the room. Not with BatchNorm, whose statistics would be updated twice; blocks that change any
buffer of theirs are found at their first call and left alone. Not where blocks have hooks, which would be called twice,
or keep a cache of keys and values.

Practice: HPC, memory limit: less memory by checkpointing of gradients, lower precision or smaller batches
Source: torch.utils.checkpoint; Chen et al., "Training Deep Nets with Sublinear Memory Cost".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from suffice.records import Profile

RISK = "exact"
CLOCK = "wall"
BLOCK = 2
WARM_UP = 1
PRACTICE = "HPC, memory limit: less memory by checkpointing of gradients, lower precision or smaller batches"

FULL = 0.90  # of the memory that the job may use
STALLS = 0.10  # of the time something waits for memory
FEWEST = 2
HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """One setting where the machine stalls for memory; a GPU's own memory does not stall, it suffices or fails."""
    if profile.ranks[0].device.startswith("cuda"):
        return "the job fits into the GPU: it would pay with a larger batch alone, which is another training"
    peak, limit_gib = profile.figures.get("memory_peak_bytes"), profile.machine.get("memory_limit_gib")
    if peak is None or not limit_gib:
        return "whether memory is short is not known"
    if peak.value < FULL * limit_gib * 2**30:
        return "memory is not short: the job took {:.3g} of {:.3g} GiB".format(peak.value / 2**30, limit_gib)
    readings = next((s.values for s in profile.series if s.name == "pressure_memory" and s.values), ())
    if not readings or sorted(readings)[len(readings) // 2] < STALLS:
        return "the job fits into memory, and nothing waits for it"
    return [{}]


def prepare(job: Any, settings: dict[str, Any]) -> GradientCheckpointing:  # noqa: ARG001 - one signature for all
    """The switch; refused where there are no such blocks, or calling them twice would show."""
    roots = job.roots()
    if any(getattr(getattr(m, "config", None), "use_cache", False) is True for r in roots for m in r.modules()):
        job.refuse("the model keeps a cache of keys and values (config.use_cache)")
    blocks = [block for root in roots for block in _blocks(root)]
    if not blocks:
        job.refuse("the model has no list of like blocks")
    within = [module for block in blocks for module in block.modules()]
    norms = job.torch.nn.modules.batchnorm._NormBase
    if any(isinstance(module, norms) and module.track_running_stats for module in within):
        job.refuse("the blocks have BatchNorm, whose statistics would be updated twice a step")
    if any(module.__dict__.get(name) for module in within for name in HOOKS):
        job.refuse("the blocks have hooks, which would be called twice a step")
    return GradientCheckpointing(job, blocks)


class GradientCheckpointing:
    """Switches checkpoints around the blocks."""

    def __init__(self, job: Any, blocks: list[Any]) -> None:
        from importlib import import_module

        self.torch = job.torch
        self.checkpoint = import_module("torch.utils.checkpoint").checkpoint
        self.blocks = len(blocks)
        self.calls = job.calls(blocks, self._call)
        self.pure: dict[int, bool] = {}

    def on(self) -> None:
        """Between two steps."""
        self.calls.on()

    def off(self) -> None:
        """Between two steps."""
        self.calls.off()

    def facts(self) -> dict[str, Any]:
        """How many blocks there are, and how many were left alone because they change their buffers."""
        return {"blocks": self.blocks, "left_alone": sum(not pure for pure in self.pure.values())}

    def _call(self, module: Any, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if not (module.training and self.torch.is_grad_enabled()):
            return call(*args, **kwargs)
        key = id(module)
        if key not in self.pure:
            before = [(id(buffer), buffer._version) for buffer in module.buffers()]
            result = call(*args, **kwargs)
            self.pure[key] = before == [(id(buffer), buffer._version) for buffer in module.buffers()]
            return result
        if not self.pure[key]:
            return call(*args, **kwargs)
        return self.checkpoint(call, *args, use_reentrant=False, **kwargs)


def _blocks(module: Any) -> Iterator[Any]:
    """The outermost lists of modules of one class, with parameters."""
    children = list(module.children())
    kinds = {type(child) for child in children}
    listed = type(module).__name__ in ("ModuleList", "Sequential")
    deep = all(next(child.children(), None) is not None for child in children)
    if listed and deep and len(children) >= FEWEST and len(kinds) == 1:
        yield from (child for child in children if next(child.parameters(), None) is not None)
        return
    for child in children:
        yield from _blocks(child)
