"""Forward and backward pass of the roots recorded once as CUDA graphs, then replayed without a launch of each kernel.

It pays where the host can't launch kernels as fast as the GPU runs them. A call is recorded after some that were alike
(shapes, types, modes, places of the weights); what is not like it goes through the model as ever. What a call returns
is a copy, since each replay writes into the same memory. Buffers and random state are put back after the recording.

Not without a GPU, with several ranks, in a compiled model (`mode="reduce-overhead"` is the compiler's own way), with
hooks within the model, or arguments that are no tensors. Whatever the model does in Python is done once and never
again: a probability that a schedule changes, or a layer that is left out at random, stays as it was recorded. No short
comparison finds all of that, so it is `semantic`, and needs consent. On a GPU it has not been tried yet.

Practice: SUS05-BP04: use accelerators well, and only where they are needed
Source: torch.cuda.make_graphed_callables; PyTorch's notes on CUDA semantics, "CUDA Graphs".
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from suffice.records import Profile

RISK = "semantic"
CLOCK = "wall"
BLOCK = 8
WARM_UP = 5
PRACTICE = "SUS05-BP04: use accelerators well, and only where they are needed"

RECORDED_AFTER = 3
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """One setting for a job with one rank on a GPU that is not compiled."""
    rank = profile.ranks[0]
    if not rank.device.startswith("cuda"):
        return "there is no GPU"
    if (rank.facts.get("world_size") or 1) > 1:
        return "what several ranks exchange would not be recorded"
    if rank.facts.get("compiled"):
        return 'the job compiles already: the compiler records graphs itself with mode="reduce-overhead"'
    return [{}]


def prepare(job: Any, settings: dict[str, Any]) -> CudaGraphs:  # noqa: ARG001 - techniques share one signature
    """The switch; refused where there is no GPU, or a recording would leave something out."""
    roots = job.roots()
    parameters = [parameter for root in roots for parameter in root.parameters()]
    if not parameters or any(parameter.device.type != "cuda" for parameter in parameters):
        job.refuse("there is no GPU, or not all of the model is on it")
    if not hasattr(job.torch.cuda, "make_graphed_callables"):
        job.refuse("torch {} records no graphs".format(job.torch.__version__))
    if job.torch.distributed.is_available() and job.torch.distributed.is_initialized():
        job.refuse("what several ranks exchange would not be recorded")
    for root in roots:
        reason = obstacle(root)
        if reason:
            job.refuse(reason)
    return CudaGraphs(job, roots)


def obstacle(root: Any) -> str:
    """Why the model's calls can't be replayed; empty if nothing is known against it."""
    if any(getattr(module, name, None) for module in root.modules() for name in HOOKS):
        return "hooks within the model would not be called any more"
    if any("forward" in module.__dict__ for module in root.modules()):
        return "somebody has replaced the forward of a module"
    if any(buffer.requires_grad for buffer in root.buffers()):
        return "a buffer is trained"
    return ""


class CudaGraphs:
    """Switches the replay; `recorded` holds (what calls must be like, the replaying forward) by the module's id."""

    def __init__(self, job: Any, roots: list[Any]) -> None:
        self.job = job
        self.torch = job.torch
        self.switch = job.calls(roots, self._call, innermost=True)
        self.recorded: dict[int, tuple[Any, Callable[..., Any]]] = {}
        self.parts: dict[int, tuple[list[Any], list[Any]]] = {}
        self.latest: dict[int, tuple[Any, int]] = {}
        self.waiting: set[int] = set()
        self.own: dict[int, int] = {}
        self.replayed = self.passed = 0
        self.given_up: str | None = None

    def on(self) -> None:
        """Between two steps."""
        self.waiting.clear()
        self.switch.on()

    def off(self) -> None:
        """Between two steps."""
        self.switch.off()

    def facts(self) -> dict[str, Any]:
        """How many calls were replayed, how many went through the model as ever, and why no more are replayed."""
        return {
            "recorded": len(self.recorded),
            "replayed": self.replayed,
            "passed": self.passed,
            "given_up": self.given_up,
        }

    def _call(self, module: Any, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        replay = None if self.given_up else self._replay_of(module, args, kwargs)
        if replay is None:
            self.passed += 1
            return call(*args, **kwargs)
        self.replayed += 1
        self._keep_gradients(module)
        module.__dict__["forward"] = replay
        try:
            result = call(*args)
        finally:
            del module.__dict__["forward"]
        return self._copied(module, result)

    def _replay_of(self, module: Any, args: Any, kwargs: Any) -> Callable[..., Any] | None:
        """What replays this call, recorded now if enough calls were like it; None if it must go through the model."""
        tensors = all(isinstance(each, self.torch.Tensor) for each in args)
        if kwargs or not args or not tensors or not self.torch.is_grad_enabled() or id(module) in self.waiting:
            return None
        like = self._like(module, args)
        if id(module) not in self.recorded:
            before, count = self.latest.get(id(module), (None, 0))
            count = count + 1 if before == like else 1
            self.latest[id(module)] = like, count
            if count <= RECORDED_AFTER:
                return None
            self._record(module, args, like)
        known, replay = self.recorded.get(id(module), (None, None))
        return replay if known == like else None

    def _like(self, module: Any, args: Any) -> Any:
        """All that must be the same for a replay to do what the call would do."""
        if id(module) not in self.parts:
            self.parts[id(module)] = list(module.modules()), [*module.parameters(), *module.buffers()]
        modules, tensors = self.parts[id(module)]
        inputs = tuple((t.shape, t.dtype, t.device, t.stride(), t.requires_grad) for t in args)
        weights = tuple((t.data_ptr(), t.requires_grad) for t in tensors)
        return inputs, weights, tuple(each.training for each in modules), self._autocast()

    def _autocast(self) -> Any:
        return self.torch.get_autocast_gpu_dtype() if self.torch.is_autocast_enabled() else None

    def _record(self, module: Any, args: Any, like: Any) -> None:
        samples = tuple(each.detach().clone().requires_grad_(each.requires_grad) for each in args)
        try:
            with self._as_before(module), self._without_autocast_cache():
                self.torch.cuda.make_graphed_callables(module, samples, allow_unused_input=True)
                self.recorded[id(module)] = like, module.__dict__["forward"]
        except Exception as error:
            self.given_up = "it can't be recorded: {}".format(str(error).partition("\n")[0])

    @contextmanager
    def _as_before(self, module: Any) -> Iterator[None]:
        """Warming up and recording make passes that are no steps: what they change is put back."""
        buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
        state = self.torch.cuda.get_rng_state()
        try:
            yield
        finally:
            module.__dict__.pop("forward", None)
            self.torch.cuda.set_rng_state(state)
            with self.torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)

    @contextmanager
    def _without_autocast_cache(self) -> Iterator[None]:
        """The casts of the weights are part of what is recorded, where the job casts at all."""
        if self._autocast() is None:
            yield
            return
        with self.torch.autocast("cuda", dtype=self._autocast(), cache_enabled=False):
            yield

    def _keep_gradients(self, module: Any) -> None:
        """A gradient that is there is added to; where it lies in the graph's memory, the replay would overwrite it."""
        for parameter in module.parameters():
            gradient = parameter.grad
            if gradient is not None and self.own.get(id(parameter)) != gradient.data_ptr():
                parameter.grad = gradient.clone()
                self.own[id(parameter)] = parameter.grad.data_ptr()

    def _copied(self, module: Any, result: Any) -> Any:
        """In memory of its own; until its backward pass has begun, no other call of the module is replayed."""

        def copied(tensor: Any) -> Any:
            copy = tensor.clone()
            if copy.requires_grad:
                self.waiting.add(id(module))
                copy.register_hook(lambda _: self.waiting.discard(id(module)))
            return copy

        return self.job.each_tensor(copied, result)
