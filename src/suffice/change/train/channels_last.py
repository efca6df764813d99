"""Weights of convolutions with the channels innermost in memory, the order that the fastest kernels read.

The weights of each `Conv2d` and `ConvTranspose2d`, their gradients and what the optimiser keeps of them are laid out
anew; parameters stay the same objects with the same values. Activations follow by themselves; what a root returns is
laid out as before.

Not without such convolutions, in a compiled model (the compiler lays out as it likes), or with several ranks (their
buckets keep the old order). Code within the model that can't read the new order (`view` behind a convolution) ends the
change: that forward pass is made again without it. Dropout of images draws its mask in the order of memory, so another
one, but for courses that are compared.

Practice: SUS03-BP03: mend the parts of the program that take most of the time
Source: torch documentation, "Channels Last Memory Format"; measured on a processor: a small CNN 1.27 to 1.45 as fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from suffice.records import Profile

RISK = "numeric"
CLOCK = "processor"
BLOCK = 1
WARM_UP = 1
PRACTICE = "SUS03-BP03: mend the parts of the program that take most of the time"

PARALLEL = ("DistributedDataParallel", "FullyShardedDataParallel")
# How torch complains of a view that the new order has made impossible.
COMPLAINTS = ("view size is not compatible", "required rank 4 tensor to use channels_last")


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """One setting; whether the model has convolutions of images, the live job tells."""
    facts = profile.ranks[0].facts
    if facts.get("compiled"):
        return "the job is compiled: the compiler lays out the weights"
    if (facts.get("world_size") or 1) > 1:
        return "the buckets of several ranks keep the order that the weights had at first"
    return [{}]


def prepare(job: Any, settings: dict[str, Any]) -> ChannelsLast:  # noqa: ARG001 - techniques share one signature
    """The switch; refused where there is nothing to lay out, or somebody else does."""
    torch, roots = job.torch, job.roots()
    if any(type(root).__name__ in PARALLEL for root in roots):
        job.refuse("the buckets of several ranks keep the order that the weights had at first")
    if any(hasattr(module, "_orig_mod") for root in roots for module in root.modules()):
        job.refuse("the job is compiled: the compiler lays out the weights")
    kinds = (torch.nn.Conv2d, torch.nn.ConvTranspose2d)
    weights = [m.weight for root in roots for m in root.modules() if isinstance(m, kinds)]
    if not weights:
        job.refuse("the model has no convolution of images")
    movable = [w for w in {id(w): w for w in weights}.values() if w.dim() == 4 and w.is_contiguous()]
    if all(w.is_contiguous(memory_format=torch.channels_last) for w in movable):
        job.refuse("its convolutions are in this order already")
    return ChannelsLast(job, movable)


class ChannelsLast:
    """Switches the order; ends for good where the model can't read it."""

    def __init__(self, job: Any, weights: list[Any]) -> None:
        self.job = job
        self.torch = job.torch
        self.weights = weights
        self.calls = job.calls(job.roots(), self._call)
        self.tried: set[tuple[int, bool]] = set()
        self.fault: str | None = None

    def on(self) -> None:
        """Between two steps."""
        if self.fault is None:
            self._lay_out(self.torch.channels_last)
            self.calls.on()

    def off(self) -> None:
        """Between two steps."""
        self.calls.off()
        self._lay_out(self.torch.contiguous_format)

    def facts(self) -> dict[str, Any]:
        """How many weights are laid out anew, and what the model said against it."""
        return {"weights": len(self.weights), **({"fault": self.fault} if self.fault else {})}

    def _lay_out(self, order: Any) -> None:
        held = [optimiser.state for optimiser in self.job.optimisers()]
        with self.torch.no_grad():
            for weight in self.weights:
                kept = [each for state in held if weight in state for each in state[weight].values()]
                for tensor in (weight, weight.grad, *kept):
                    if isinstance(tensor, self.torch.Tensor) and tensor.shape == weight.shape:
                        tensor.data = self._in_order(tensor.data, order)

    def _in_order(self, tensor: Any, order: Any) -> Any:
        """A tensor with one channel, or of one pixel, lies in both orders at once; its strides tell which is meant."""
        _, channels, height, width = tensor.shape
        last = (channels * height * width, 1, width * channels, channels)
        first = (channels * height * width, height * width, width, 1)
        strides = last if order is self.torch.channels_last else first
        return tensor.contiguous(memory_format=order).as_strided(tensor.shape, strides)

    def _call(self, module: Any, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        manner = (id(module), module.training)
        before = None if manner in self.tried else _Before(self.torch, module)
        try:
            result = self.job.each_tensor(self._as_before, call(*args, **kwargs))
        except RuntimeError as error:
            if not any(complaint in str(error) for complaint in COMPLAINTS):
                raise
            self.fault = "the model can't read this order: {}".format(str(error).splitlines()[0])
        else:
            self.tried.add(manner)
            return result
        if before is not None:
            before.restore()
        # The wrapper stays until the next switch: it is being called.
        self._lay_out(self.torch.contiguous_format)
        return call(*args, **kwargs)

    def _as_before(self, tensor: Any) -> Any:
        return tensor.contiguous() if tensor.dim() == 4 else tensor


class _Before:
    """What a forward pass may change: buffers and the states of the random generators."""

    def __init__(self, torch: Any, module: Any) -> None:
        self.torch = torch
        self.buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
        self.on_host = torch.get_rng_state()
        self.on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None

    def restore(self) -> None:
        """Put it back, before the pass is made again."""
        with self.torch.no_grad():
            for buffer, value in self.buffers:
                buffer.copy_(value)
        self.torch.set_rng_state(self.on_host)
        if self.on_gpus is not None:
            self.torch.cuda.set_rng_state_all(self.on_gpus)
