"""Loaders and what happens between their batches -> which of them train, which evaluate, how long each kept waiting.

An iteration over a loader is presumed from the state of autograd and of the models, and booked over
(`steps.Steps.recast`) where it turns out otherwise: at its first `backward`, or at its end if there was none.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from . import phases

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .batch import Size
    from .phases import PhaseClock
    from .spool import Spool
    from .steps import Checkpoint, Steps

UNKNOWN, TRAINING, EVALUATION = "unknown", "training", "evaluation"
WRITTEN = ("number", "role", "fetches", "wait_ns", "first_wait_ns", "samples", "tokens")


class Loader:
    """One `DataLoader` of the job; times in nanoseconds. `role` is what it has been used for, training before all."""

    def __init__(self, number: int, owner: Any) -> None:
        self.number = number
        self.owner = _reference(owner)
        self.iterator: Callable[[], Any] | None = None
        self.role = UNKNOWN
        self.evaluates = False
        self.checkpoint: Checkpoint | None = None
        self.size: Size = (0, 0, None)
        self.fetches = self.wait_ns = self.first_wait_ns = self.samples = self.tokens = 0

    def watch(self, iterator: Any) -> None:
        """While that iterator lives, the iteration may go on."""
        self.iterator = _reference(iterator)

    def left(self) -> bool:
        """Whether the job has let go of the iterator: it broke out of the loop."""
        return self.iterator is not None and self.iterator() is None


class Loaders:
    """Knows each loader by itself or, where an iterator was made behind our back, by its data set.

    `current` is the one that was asked last; `asked` holds those that were asked for training since the last backward.
    """

    def __init__(self, clock: PhaseClock, steps: Steps, spool: Spool) -> None:
        self.clock = clock
        self.steps = steps
        self.spool = spool
        self.count = 0
        self.known: dict[int, Loader] = {}
        self.current: Loader | None = None
        self.asked: list[Loader] = []

    def of(self, owner: Any, description: Callable[[Any], dict[str, Any]]) -> Loader:
        """The loader of that owner; `description` is called once, for a new one."""
        loader = self.known.get(id(owner))
        if loader is None or (loader.owner is not None and loader.owner() is not owner):
            self.write()
            loader = self.known[id(owner)] = Loader(self.count, owner)
            self.count += 1
            self.spool.message("loader described", number=loader.number, **description(owner))
        return loader

    def iteration_begins(self, loader: Loader, looks_like_evaluation: bool) -> None:
        """`looks_like_evaluation`: autograd is off, or every model is in evaluation mode."""
        loader.evaluates = looks_like_evaluation or loader.role == EVALUATION
        loader.iterator = None
        self._turn(loader)
        loader.checkpoint = self.steps.checkpoint()

    def fetch_begins(self, loader: Loader) -> int:
        self._turn(loader)
        self.clock.enter(phases.WAIT)
        return self.clock.since

    def _turn(self, loader: Loader) -> None:
        self.current = loader
        self.clock.rest(loader.evaluates)
        if not loader.evaluates:
            if loader not in self.asked:
                self.asked.append(loader)
            self.steps.batch_wanted()

    def fetch_ends(self, loader: Loader, begun_ns: int, size: Size, phase: int) -> None:
        """`phase`: what the time until the model is called will be booked to."""
        self.clock.leave()
        waited_ns = self.clock.since - begun_ns
        if loader.fetches == 0:
            loader.first_wait_ns = waited_ns
        loader.fetches += 1
        loader.wait_ns += waited_ns
        loader.size = size
        loader.samples += size[0]
        loader.tokens += size[1]
        if not loader.evaluates:
            self.steps.count(size)
            if phase != phases.OTHER:
                self.clock.rest(False, phase)

    def iteration_ends(self, loader: Loader) -> None:
        self.clock.leave()
        if loader.checkpoint is not None:
            if not loader.evaluates:
                self.steps.recast(loader.checkpoint, phases.TO_EVALUATION)
            if loader.role == UNKNOWN:
                loader.role = EVALUATION
        loader.checkpoint = None
        self._forget(loader)
        self.clock.rest(False)

    def _forget(self, loader: Loader) -> None:
        if self.current is loader:
            self.current = None
        if loader in self.asked:
            self.asked.remove(loader)

    def evaluating(self) -> bool:
        """Whether an evaluation reads a loader at this moment."""
        loader = self.current
        return loader is not None and loader.evaluates and not loader.left()

    def evaluation_left(self) -> None:
        """The job trains again without having read its evaluation's loader to the end."""
        loader = self.current
        if loader is not None and loader.evaluates:
            loader.checkpoint = None
            self._forget(loader)

    def feeding(self) -> bool:
        """Whether the batches that the model trains on come from a loader."""
        return self.current is not None and not self.current.evaluates

    def backward_begins(self) -> None:
        """The loaders that were asked since the last backward train, whatever they were taken for."""
        loader = self.current
        if loader is not None and loader.evaluates and not loader.left() and loader.checkpoint is not None:
            self.steps.recast(loader.checkpoint, phases.TO_TRAINING)
            self.steps.count(loader.size)
            loader.evaluates = False
            self.asked.append(loader)
        for each in self.asked:
            each.role = TRAINING
            each.checkpoint = None
        del self.asked[:]
        if self.clock.evaluating:
            self.clock.rest(False)

    def write(self) -> None:
        """The state of each loader, later ones in place of earlier ones; those of the past are then forgotten."""
        for key, loader in list(self.known.items()):
            told = {name: getattr(loader, name) for name in WRITTEN}
            if loader.role == UNKNOWN and loader.evaluates:
                told["role"] = EVALUATION  # some frameworks never read a loader to its end
            self.spool.message("loader", **told)
            if loader.owner is not None and loader.owner() is None:
                del self.known[key]


def describe(loader: Any) -> dict[str, Any]:
    """What a reader of the report needs to recognise a `DataLoader` by."""
    return {
        "dataset": type(getattr(loader, "dataset", None)).__name__,
        "batch_size": getattr(loader, "batch_size", None),
        "workers": getattr(loader, "num_workers", 0),
        "prefetch_factor": getattr(loader, "prefetch_factor", None),
        "persistent_workers": bool(getattr(loader, "persistent_workers", False)),
        "pin_memory": bool(getattr(loader, "pin_memory", False)),
        "sampler": type(getattr(loader, "sampler", None)).__name__,
        "loader": type(loader).__name__,
    }


def describe_dataset(dataset: Any) -> dict[str, Any]:
    """The same for an iterator whose loader was never seen."""
    return {"dataset": type(dataset).__name__, "workers": 0, "loader": "unknown"}


def _reference(thing: Any) -> Callable[[], Any] | None:
    """A weak reference, or None to what can't be referred to weakly, such as a list: it is known by its id alone."""
    try:
        return weakref.ref(thing)
    except TypeError:
        return None
