"""Workers of torch's own loader, without its loop: batches of indices go in when we say so, and come out in order."""

from __future__ import annotations

import collections
import copy
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

NEEDED = ("_try_put_index", "_next_data", "_shutdown_workers", "_next_index")
DIED = ("exited unexpectedly", "is killed by signal", "timed out")


class Handed:
    """A sampler that hands on what it was given, and is at its end whenever it has none, only to go on later."""

    def __init__(self) -> None:
        self.indices: collections.deque[Any] = collections.deque()

    def __iter__(self) -> Handed:
        return self

    def __next__(self) -> Any:
        if not self.indices:
            raise StopIteration
        return self.indices.popleft()

    def __len__(self) -> int:
        return len(self.indices)


class Pool:
    """`workers` that each have `prefetch` batches ahead, for a loader's data set.

    They are seeded as those of a loader whose iteration drew `base_seed`; making them draws nothing.
    """

    def __init__(self, torch: Any, loader: Any, workers: int, prefetch: int, base_seed: int) -> None:
        self.handed = Handed()
        self.window = workers * prefetch
        self.waiting = 0
        clone = self.clone(loader, workers, prefetch)
        clone.__dict__["sampler" if loader.batch_sampler is None else "batch_sampler"] = self.handed
        loading = sys.modules["torch.utils.data.dataloader"]
        seeded = {"_base_seed": property(lambda _: base_seed, lambda _, __: None)}
        kind = type("_MultiProcessingDataLoaderIter", (loading._MultiProcessingDataLoaderIter,), seeded)
        drawn_from = Undrawn(torch, loader)
        drawn_from.save()
        try:
            self.iterator = kind(clone)
        finally:
            drawn_from.restore()
        # Torch raises from its signal handler when a worker that it knows dies, wherever the job is at that moment.
        # Unknown to it, a dead worker is noticed when its batch is waited for.
        if getattr(self.iterator, "_worker_pids_set", False):
            torch.utils.data._utils.signal_handling._remove_worker_pids(id(self.iterator))
            self.iterator._worker_pids_set = False

    def clone(self, loader: Any, workers: int, prefetch: int) -> Any:
        """The loader whose workers are made."""
        return clone_of(loader, workers=workers, prefetch=prefetch)

    def send(self, index: Any) -> None:
        """Have a batch made, `window` at most at a time."""
        self.handed.indices.append(index)
        self.iterator._try_put_index()
        self.waiting += 1

    def receive(self) -> Any:
        """The batch that was sent first of those that wait; what went wrong with it is raised."""
        self.waiting -= 1
        return self.iterator._next_data()

    def close(self) -> None:
        """End the workers."""
        self.iterator._shutdown_workers()


class Undrawn:
    """The state of the generator that a loader draws from."""

    def __init__(self, torch: Any, loader: Any) -> None:
        self.torch = torch
        self.generator = getattr(loader, "generator", None)
        self.state: Any = None

    def save(self) -> None:
        """Note it."""
        self.state = self.torch.get_rng_state() if self.generator is None else self.generator.get_state()

    def restore(self) -> None:
        """Make it what was noted, as if nothing had been drawn since."""
        if self.generator is None:
            self.torch.set_rng_state(self.state)
        else:
            self.generator.set_state(self.state)


def clone_of(loader: Any, *, workers: int, prefetch: int | None) -> Any:
    """A loader like this one with other workers; what it reads from is the same."""
    clone = copy.copy(loader)
    clone.__dict__.pop("_get_iterator", None)
    clone.__dict__.update(num_workers=workers, prefetch_factor=prefetch, persistent_workers=bool(workers))
    clone.__dict__["_iterator"] = None
    if not workers:
        clone.__dict__["timeout"] = 0
    return clone


def has_died(error: BaseException) -> bool:
    """Whether workers are gone, rather than a sample having failed."""
    return isinstance(error, RuntimeError) and any(text in str(error) for text in DIED)
