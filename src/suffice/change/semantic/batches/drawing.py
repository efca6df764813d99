"""A loader's iterators, each asking for the indices of its next batch -> what a technique makes of them.

The sampler is asked as ever and all that it names is handed out once an epoch, in whichever batches. Batches are
followed until the training receives them, for workers ask for them ahead.
"""

from __future__ import annotations

import collections
import sys
import weakref
from typing import TYPE_CHECKING

from ...data.looking.calls import StandIn, StandIns, iterating

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Draw = Callable[["Drawn", Callable[[], Any]], "tuple[Any, int]"]


class Drawn:
    """One iteration: batches of indices that were asked for `ahead`, and the weight of each batch on its way."""

    def __init__(self, asked: Any, dataset: Any) -> None:
        self.asked = asked
        self.dataset = dataset
        self.ahead: list[Any] = []
        self.on_the_way: collections.deque[int] = collections.deque()


class Drawing(StandIns):
    """Has `draw(iteration, next_one)` return the indices of a batch and its weight, for loaders of training.

    `received(weight)` is told of each batch that the training gets. `block` and `warm_up` are those of an arm.
    """

    def __init__(self, job: Any, draw: Draw, received: Callable[[int], None]) -> None:
        self.job = job
        self.draw = draw
        self.received = received
        self.training: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self.iterations: weakref.WeakKeyDictionary[Any, Drawn] = weakref.WeakKeyDictionary()
        self.block, self.warm_up = 1, 0
        asks, gets = (iterating(job, name) for name in ("_next_index", "__next__"))
        self.stand_ins = [StandIn(asks, self._asks), StandIn(gets, self._gets)]

    def idle(self) -> bool:
        """Whether nothing is on its way or was asked for ahead."""
        return not any(each.on_the_way or each.ahead for each in self.iterations.values())

    def reads(self, loader: Any) -> None:
        """An iteration begins, or goes on: whether it is one of training."""
        trains = self.job.torch.is_grad_enabled() and any(root.training for root in self.job.roots())
        if trains and not unfit(loader):
            self.training[id(loader.batch_sampler)] = loader.batch_sampler
            if loader.num_workers:
                ahead = loader.num_workers * (loader.prefetch_factor or 2)
                self.block, self.warm_up = max(self.block, 4 * ahead), max(self.warm_up, ahead + 1)

    def _asks(self, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """In the place of `_next_index`."""
        iterator = args[0]
        if id(getattr(iterator, "_index_sampler", None)) not in self.training:
            return original(*args, **kwargs)
        iteration = self.iterations.get(iterator)
        if iteration is None or iteration.asked is not iterator._sampler_iter:  # an iterator is used once more
            iteration = Drawn(iterator._sampler_iter, iterator._dataset)
            self.iterations[iterator] = iteration
        indices, weight = self.draw(iteration, lambda: original(*args, **kwargs))
        iteration.on_the_way.append(weight)
        return indices

    def _gets(self, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """In the place of `__next__`."""
        batch = original(*args, **kwargs)
        iteration = self.iterations.get(args[0])
        if iteration is not None:
            self.received(iteration.on_the_way.popleft() if iteration.on_the_way else 1)
        return batch


def unfit(loader: Any) -> str:
    """Why another batch can't be made of this loader's samples, or nothing."""
    if isinstance(loader.dataset, sys.modules["torch.utils.data"].IterableDataset):
        return "an iterable data set has no samples by number"
    if loader.batch_sampler is None:
        return "it hands out samples one by one"
    if type(loader.batch_sampler).__name__ != "BatchSampler":
        return f"its batches are put together by a sampler of its own ({type(loader.batch_sampler).__name__})"
    return "" if getattr(loader, "in_order", True) else "it takes batches in whichever order they come"


def training_loaders(job: Any) -> list[Any]:
    """The loaders that there are; what is read in order is mostly for evaluation."""
    loaders = job.loaders()
    return [each for each in loaders if type(each.sampler).__name__ != "SequentialSampler"] or loaders
