"""The places in torch that are wrapped, each with its way back.

Every wrapper calls the original exactly once, with what it was given, and lets its exceptions through. Names that torch
keeps private are looked for first: one that is missing is reported, and the rest goes on without it.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .session import Session

    Hooked = Callable[..., Any]
    Make = Callable[[Hooked], Hooked]


class Patches:
    """What was replaced, and by what, so that it can be put back."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, str, Hooked, Hooked]] = []
        self.missing: list[str] = []

    def replace(self, owner: Any, name: str, make: Make) -> None:
        """Replace `owner.name` by `make(original)`."""
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


def around_next(session: Session) -> Make:
    """`_BaseDataLoaderIter.__next__`: where every batch of every loader comes from, with workers or without."""

    def make(original: Hooked) -> Hooked:
        def __next__(iterator: Any) -> Any:  # noqa: N807 - the name that it stands for
            token = session.fetch_begins(iterator)
            if token is None:
                return original(iterator)
            try:
                batch = original(iterator)
            except StopIteration:
                session.iteration_ends(token)
                raise
            except BaseException:
                session.fetch_fails(token)
                raise
            session.fetch_ends(token, batch)
            return batch

        return __next__

    return make


def around_iter(session: Session) -> Make:
    """`DataLoader.__iter__`: where workers are started, and where an iterator's loader is known."""

    def make(original: Hooked) -> Hooked:
        def __iter__(loader: Any) -> Any:  # noqa: N807 - the name that it stands for
            token = session.iteration_begins(loader)
            try:
                iterator = original(loader)
            finally:
                session.iterator_made(token)
            session.know(iterator, loader)
            return iterator

        return __iter__

    return make


def around_backward(session: Session, is_compiling: Callable[[], bool]) -> Make:
    """`torch.autograd.backward`, which `Tensor.backward` looks up at each call."""

    def make(original: Hooked) -> Hooked:
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            if is_compiling():
                return original(tensors, *args, **kwargs)
            token = session.backward_begins(tensors)
            try:
                return original(tensors, *args, **kwargs)
            finally:
                session.backward_ends(token)

        return backward

    return make


def around_scale(session: Session) -> Make:
    """`GradScaler.scale`: the loss before it is scaled."""

    def make(original: Hooked) -> Hooked:
        def scale(scaler: Any, outputs: Any) -> Any:
            scaled = original(scaler, outputs)
            session.scaled(outputs, scaled)
            return scaled

        return scale

    return make


def around_compile(session: Session) -> Make:
    """`torch.compile`, also called by `Module.compile`: from here on other modules may be the roots."""

    def make(original: Hooked) -> Hooked:
        def compile(*args: Any, **kwargs: Any) -> Any:  # noqa: A001 - the name that it stands for
            session.compile_called()
            return original(*args, **kwargs)

        return compile

    return make


def around_fetch(session: Session) -> Make:
    """`fetch` of the loader's fetchers, in whichever process it runs."""

    def make(original: Hooked) -> Hooked:
        def fetch(fetcher: Any, indices: Any) -> Any:
            token = session.worker_begins()
            try:
                return original(fetcher, indices)
            finally:
                session.worker_ends(token, indices)

        return fetch

    return make


def install(session: Session, torch: Any) -> tuple[Patches, list[Any]]:
    """Wrap what there is; returns the patches and the handles of the optimisers' hooks."""
    patches, handles = Patches(), []
    is_compiling = torch.compiler.is_compiling
    loading = torch.utils.data.dataloader
    fetching = torch.utils.data._utils.fetch
    patches.replace(loading._BaseDataLoaderIter, "__next__", around_next(session))
    patches.replace(loading.DataLoader, "__iter__", around_iter(session))
    patches.replace(fetching._MapDatasetFetcher, "fetch", around_fetch(session))
    patches.replace(fetching._IterableDatasetFetcher, "fetch", around_fetch(session))
    patches.replace(torch.autograd, "backward", around_backward(session, is_compiling))
    patches.replace(torch.amp.GradScaler, "scale", around_scale(session))
    patches.replace(torch, "compile", around_compile(session))

    def before_step(optimiser: Any, args: Any, kwargs: Any) -> None:  # noqa: ARG001 - torch passes them
        if not is_compiling():
            session.optimiser_begins(optimiser)

    def after_step(optimiser: Any, args: Any, kwargs: Any) -> None:  # noqa: ARG001 - torch passes them
        if not is_compiling():
            session.optimiser_ends(optimiser)

    optim = sys.modules["torch.optim.optimizer"]  # torch.optim deletes the name
    handles.append(optim.register_optimizer_step_pre_hook(before_step))
    handles.append(optim.register_optimizer_step_post_hook(after_step))
    return patches, handles
