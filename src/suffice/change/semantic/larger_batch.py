"""Train on several batches at once, with a learning rate to match: fewer and fuller steps for the same samples.

The sampler is asked for so many batches as make one; an epoch has the same samples in the same order. The learning rate
grows by as much for SGD, by the square root of it for Adam and its kin, while the optimiser steps: between steps the
job sees its own. Schedulers that are stepped with every step are stepped once for each batch within; those of epochs as
ever. Steps are compared by the time that the samples of one plain step take.

Not for jobs that count their steps (they would train on more samples; whole runs show it), that set the learning rate
by hand at each step, have schedulers that step in a way of their own, or sum their loss over samples; not where epochs
are a few steps long, memory is short, or the model holds a state for each place in the batch.
Source: "Accurate, Large Minibatch SGD", arXiv 1706.02677; "On the SDEs and Scaling Rules for Adaptive Gradient
Source: Algorithms", arXiv 2205.10287.
"""

from __future__ import annotations

import gc
import math
import sys
import weakref
from typing import TYPE_CHECKING

from ..data.looking.calls import StandIn, can_stand_in
from .batches.drawing import Drawing, training_loaders, unfit

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from suffice.records import Profile

    from .batches.drawing import Drawn

RISK = "semantic"
CLOCK = "wall"
BLOCK = 4
WARM_UP = 1
PRACTICE = "SUS05-BP04: use accelerators well, and only where they are needed"

LINEAR = ("SGD",)
SQUARE_ROOT = ("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Adagrad", "Lamb", "LAMB")
SMALL, TIMES, TIMES_OF_SMALL = 16, 2, 4
MEMORY_SHARE = 0.8
FEWEST_STEPS = 8  # of an epoch, with the larger batch
BY_HAND = 3  # changes of the learning rate with every step, in a row


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """How many batches make one, where memory allows; else why not."""
    rank = profile.ranks[0]
    batches = [each.batch_size for each in rank.loaders if each.role == "training" and each.batch_size]
    if (rank.facts.get("world_size") or 1) > 1:
        return "the ranks would have to agree on it"
    if not batches:
        return "no DataLoader feeds the training with batches"
    strange = [name for name in rank.facts.get("optimisers") or () if name not in (*LINEAR, *SQUARE_ROOT)]
    if strange:
        return f"for {', '.join(strange)} no rule is known by which the learning rate grows"
    peak = profile.figures.get("memory_peak_bytes")
    limit_gib = profile.machine.get("memory_limit_gib") or profile.machine.get("memory_gib")
    times = [TIMES_OF_SMALL, TIMES] if min(batches) <= SMALL else [TIMES]
    if peak is not None and limit_gib and rank.device == "cpu":
        times = [each for each in times if each * peak.value < MEMORY_SHARE * limit_gib * 2**30]
    return [{"times": each} for each in times] or "its memory would not hold a larger batch"


class LargerBatch:
    """The switch. `worth` counts the plain steps that the steps stand for."""

    def __init__(self, job: Any, times: int, optimisers: list[Any]) -> None:
        self.times = times
        self.is_on = False
        self.worth = 0
        self.latest = 1
        self.given_up: str | None = None
        self.drawing = Drawing(job, self._draw, self._received)
        self.rates: dict[int, tuple[Any, int]] = {}
        self.since: dict[int, tuple[int, int]] = {id(each): (0, 0) for each in optimisers}
        self.marks: weakref.WeakKeyDictionary[Any, tuple[int, int]] = weakref.WeakKeyDictionary()
        self.steppings = [
            job.stepping([each], {"lr": self._rate_of(type(each).__name__)}, lambda _: True) for each in optimisers
        ]
        for each in optimisers:
            each.register_step_post_hook(self._stepped)
        scheduling = sys.modules["torch.optim.lr_scheduler"]
        self.stand_in = StandIn(scheduling.LRScheduler.step, self._scheduled)

    @property
    def block(self) -> int:
        """Steps of an arm."""
        return self.drawing.block

    @property
    def warm_up(self) -> int:
        """Steps until the batches that were asked for ahead are trained on."""
        return self.drawing.warm_up

    def on(self) -> None:
        """From the next batch on."""
        self.is_on = True
        self.drawing.put_in()
        self.stand_in.put_in()
        for stepping in self.steppings:
            stepping.on()

    def off(self) -> None:
        """Batches are as large as the job makes them; what was asked for ahead is still trained on as it should be."""
        self.is_on = False
        if self.drawing.idle():
            self.drawing.take_out()
            self.latest = 1
            for stepping in self.steppings:
                stepping.off()

    def reads(self, loader: Any) -> None:
        """An iteration begins."""
        self.drawing.reads(loader)

    def _draw(self, _: Drawn, next_one: Callable[[], Any]) -> tuple[Any, int]:
        indices, parts = next_one(), 1
        if not self.is_on or self.given_up is not None or type(indices) is not list:
            return indices, parts
        indices = list(indices)
        while parts < self.times:
            try:
                indices += next_one()
            except StopIteration:
                break
            parts += 1
        return indices, parts

    def _received(self, parts: int) -> None:
        self.latest = parts
        self.worth += parts

    def _rate_of(self, kind: str) -> Callable[[dict[str, Any]], Any]:
        """The learning rate of a group for the batch that was received last."""

        def rate(group: dict[str, Any]) -> Any:
            self._watch(group)
            return group["lr"] * (self.latest if kind in LINEAR else math.sqrt(self.latest))

        return rate

    def _watch(self, group: dict[str, Any]) -> None:
        """A rate that changes with every step, and by no scheduler, follows a count of steps that we don't know."""
        if isinstance(group["lr"], float):
            before, changes = self.rates.get(id(group), (group["lr"], 0))
            changes = changes + 1 if before != group["lr"] else 0
            self.rates[id(group)] = group["lr"], changes
            if changes >= BY_HAND:
                self.given_up = "the job sets the learning rate by hand at each step, by a count of steps"

    def _stepped(self, optimiser: Any, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - torch passes them
        steps, parts = self.since[id(optimiser)]
        self.since[id(optimiser)] = steps + 1, parts + self.latest

    def _scheduled(self, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """In the place of a scheduler's `step`: one of steps makes as many as there are batches within."""
        scheduler = args[0]
        now = self.since.get(id(scheduler.optimizer), (0, 0))
        before = self.marks.get(scheduler, (0, 0))
        self.marks[scheduler] = now
        if now[0] - before[0] == 1 and len(args) == 1 and not kwargs:
            for _ in range(now[1] - before[1] - 1):
                original(scheduler)
        result = original(*args, **kwargs)
        for group in scheduler.optimizer.param_groups:
            if id(group) in self.rates:
                self.rates[id(group)] = group["lr"], 0
        return result

    def facts(self) -> dict[str, Any]:
        """What the steps stood for."""
        return {"times": self.times, "plain_steps": self.worth, "given_up": self.given_up}


def prepare(job: Any, settings: dict[str, Any]) -> LargerBatch:
    """The switch; refused where batches, rates or schedules could not be made to match."""
    times = int(settings.get("times", TIMES))
    if "sequence-bucketing" in job.switches:
        job.refuse("its batches are put together by length already")
    optimisers = job.optimisers()
    strange = [type(each).__name__ for each in optimisers if type(each).__name__ not in (*LINEAR, *SQUARE_ROOT)]
    if strange:
        job.refuse(f"for {', '.join(strange)} no rule is known by which the learning rate grows")
    _look_at_schedulers(job, optimisers)
    reasons = [f"{type(each.dataset).__name__}: {_unfit(each, times)}" for each in training_loaders(job)]
    if reasons and not any(reason.endswith(": ") for reason in reasons):
        job.refuse("; ".join(dict.fromkeys(reasons)))
    return LargerBatch(job, times, optimisers)


def _unfit(loader: Any, times: int) -> str:
    reason = unfit(loader)
    if reason:
        return reason
    steps = len(loader.batch_sampler) // times
    return f"an epoch would have {steps} steps, where {FEWEST_STEPS} are the fewest" if steps < FEWEST_STEPS else ""


def _look_at_schedulers(job: Any, optimisers: list[Any]) -> None:
    scheduling = sys.modules["torch.optim.lr_scheduler"]
    if not can_stand_in(scheduling.LRScheduler.step):
        job.refuse("this torch's schedulers step in another way")
    for thing in gc.get_objects():
        if not issubclass(type(thing), scheduling.LRScheduler) or type(thing).step is scheduling.LRScheduler.step:
            continue
        plateau = isinstance(thing, scheduling.ReduceLROnPlateau)  # is stepped by epochs, with their metric
        if not plateau and any(each is getattr(thing, "optimizer", None) for each in optimisers):
            job.refuse(f"{type(thing).__name__} steps in a way of its own, which can't be made to match")
