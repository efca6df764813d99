"""The places in torch that are wrapped, each with its way back.

Every wrapper calls the original exactly once, with what it was given, and lets its exceptions through. What torch keeps
private is looked for first: what is missing is reported, and the rest goes on without it.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Hooked = Callable[..., Any]
    Make = Callable[[Hooked], Hooked]
    Heard = Callable[..., Hooked]


class Patches:
    """What was replaced, and by what, so that it can be put back."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, str, Hooked, Hooked]] = []
        self.handles: list[Any] = []
        self.missing: list[str] = []

    def replace(self, owner: Any, name: str, make: Make) -> None:
        """Replace `owner.name` by `make(original)`, if there is such a name."""
        original = getattr(owner, name, None)
        if original is None:
            self.missing.append("{}.{}".format(getattr(owner, "__name__", owner), name))
            return
        wrapper = functools.wraps(original)(make(original))
        setattr(owner, name, wrapper)
        self.done.append((owner, name, original, wrapper))

    def undo(self) -> None:
        """Put back what is still ours; somebody's later wrapper around ours stays, and ours then only passes on."""
        for owner, name, original, wrapper in reversed(self.done):
            if getattr(owner, name, None) is wrapper:
                setattr(owner, name, original)
        self.done = []
        for handle in self.handles:
            handle.remove()
        self.handles = []


def around_next(heard: Heard) -> Make:
    """`_BaseDataLoaderIter.__next__`: where every batch of every loader comes from, with workers or without."""
    begins, ends = heard("fetch_begins"), heard("fetch_ends")
    exhausted, fails = heard("iteration_ends"), heard("fetch_fails")

    def make(original: Hooked) -> Hooked:
        def __next__(iterator: Any) -> Any:  # noqa: N807 - the name that it stands for
            token = begins(iterator)
            if token is None:
                return original(iterator)
            try:
                batch = original(iterator)
            except StopIteration:
                exhausted(token)
                raise
            except BaseException:
                fails(token)
                raise
            ends(token, batch)
            return batch

        return __next__

    return make


def around_iter(heard: Heard) -> Make:
    """`DataLoader.__iter__`: where workers are started, and where an iterator's loader is known."""
    begins, made = heard("iteration_begins"), heard("iterator_made")

    def make(original: Hooked) -> Hooked:
        def __iter__(loader: Any) -> Any:  # noqa: N807 - the name that it stands for
            token = begins(loader)
            iterator = None
            try:
                iterator = original(loader)
            finally:
                made(token, iterator)
            return iterator

        return __iter__

    return make


def around_backward(heard: Heard, is_compiling: Callable[[], bool]) -> Make:
    """`torch.autograd.backward`, which `Tensor.backward` looks up at each call."""
    begins, ends = heard("backward_begins"), heard("backward_ends")

    def make(original: Hooked) -> Hooked:
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            if is_compiling():
                return original(tensors, *args, **kwargs)
            token = begins(tensors)
            if token is None:
                return original(tensors, *args, **kwargs)
            try:
                return original(tensors, *args, **kwargs)
            finally:
                ends(token)

        return backward

    return make


def around_scale(heard: Heard) -> Make:
    """`GradScaler.scale`: the loss before it is scaled."""
    scaled_to = heard("scaled")

    def make(original: Hooked) -> Hooked:
        def scale(scaler: Any, outputs: Any) -> Any:
            scaled = original(scaler, outputs)
            scaled_to(outputs, scaled)
            return scaled

        return scale

    return make


def around_compile(heard: Heard) -> Make:
    """`torch.compile`, also called by `Module.compile`: from here on other modules may be the roots."""
    called = heard("compile_called")

    def make(original: Hooked) -> Hooked:
        def compile(*args: Any, **kwargs: Any) -> Any:  # noqa: A001 - the name that it stands for
            called()
            return original(*args, **kwargs)

        return compile

    return make


def around_fetch(heard: Heard) -> Make:
    """`fetch` of the loader's fetchers, in whichever process and thread it runs."""
    begins, ends = heard("worker_begins", True), heard("worker_ends", True)

    def make(original: Hooked) -> Hooked:
        def fetch(fetcher: Any, indices: Any) -> Any:
            token = begins()
            if token is None:
                return original(fetcher, indices)
            try:
                return original(fetcher, indices)
            finally:
                ends(token, indices)

        return fetch

    return make


def install(heard: Heard, torch: Any, patches: Patches) -> None:
    """Wrap what there is, and keep the way back in `patches`."""
    is_compiling = compiling_test(torch)
    loading = sys.modules.get("torch.utils.data.dataloader")
    fetching = sys.modules.get("torch.utils.data._utils.fetch")
    scaler = getattr(torch.amp, "GradScaler", None) or getattr(torch.cuda.amp, "GradScaler", None)
    patches.replace(getattr(loading, "_BaseDataLoaderIter", None), "__next__", around_next(heard))
    patches.replace(getattr(loading, "DataLoader", None), "__iter__", around_iter(heard))
    patches.replace(getattr(fetching, "_MapDatasetFetcher", None), "fetch", around_fetch(heard))
    patches.replace(getattr(fetching, "_IterableDatasetFetcher", None), "fetch", around_fetch(heard))
    patches.replace(torch.autograd, "backward", around_backward(heard, is_compiling))
    patches.replace(scaler, "scale", around_scale(heard))
    patches.replace(torch, "compile", around_compile(heard))
    _hook_optimisers(heard, is_compiling, patches)


def _hook_optimisers(heard: Heard, is_compiling: Callable[[], bool], patches: Patches) -> None:
    begins, ends = heard("optimiser_begins"), heard("optimiser_ends")
    around = _around_closure(heard)

    def before_step(optimiser: Any, args: Any, kwargs: Any) -> Any:
        if is_compiling():
            return None
        begins(optimiser)
        # The first argument is the optimiser itself, the next may be a closure.
        if len(args) > 1 and callable(args[1]):
            return (args[0], around(args[1]), *args[2:]), kwargs
        if callable(kwargs.get("closure")):
            return args, {**kwargs, "closure": around(kwargs["closure"])}
        return None

    def after_step(optimiser: Any, args: Any, kwargs: Any) -> None:  # noqa: ARG001 - torch passes them
        if not is_compiling():
            ends(optimiser)

    optim = sys.modules.get("torch.optim.optimizer")  # the package deletes the name of this module
    for name, hook in (("pre", before_step), ("post", after_step)):
        register = getattr(optim, "register_optimizer_step_{}_hook".format(name), None)
        if register is None:
            patches.missing.append("torch.optim.optimizer.register_optimizer_step_{}_hook".format(name))
        else:
            patches.handles.append(register(hook))


def _around_closure(heard: Heard) -> Callable[[Hooked], Hooked]:
    begins, ends = heard("closure_begins"), heard("closure_ends")

    def around(closure: Hooked) -> Hooked:
        @functools.wraps(closure, updated=())
        def called() -> Any:
            begins()
            try:
                return closure()
            finally:
                ends()

        return called

    return around


def compiling_test(torch: Any) -> Callable[[], bool]:
    """`torch.compiler.is_compiling`, by which `torch.compile` passes over our marks; it came with torch 2.1."""
    return getattr(getattr(torch, "compiler", None), "is_compiling", None) or (lambda: False)
