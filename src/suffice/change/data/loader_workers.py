"""Let processes beside the training fetch the batches, or more of them, or fewer, without a change to the loader.

The sampler is asked for indices as ever, so the order of samples stays. A data set that draws no random number gives
the same samples in whichever process: that is exact. One that draws gives other draws of the same distribution,
because each worker has generators of its own: that is stochastic, and is refused unless the settings say that other
draws may be made. A single worker can go on with the process's own random numbers, and is exact as well. Whoever
fetches can be changed between two batches; what was begun before is taken first.

Not where no processor is free, unless samples are waited for from storage or the network; not for iterable data sets,
for samples that draw from a generator of the data set's own, of which each worker would have a copy, nor where the
workers' limits (shared memory, open files, pickling, daemons) forbid them.
Source: PyTorch's docs of torch.utils.data, "Multi-process data loading"; pytorch/pytorch#13246, #5040, #51836.
"""

from __future__ import annotations

import math
import sys
import weakref
from typing import TYPE_CHECKING

from .feeding.feeder import Feed, iterator_over, of_this_process, take_over
from .feeding.limits import obstacle, of_shared_memory, start_method
from .feeding.need import NO_LOADER, wait_share
from .feeding.pool import NEEDED, Undrawn
from .feeding.served import Served
from .looking import apart
from .looking.calls import StandIn, can_stand_in
from .looking.probing import found_generators, read_whole
from .looking.study import ITEMS, LIMIT_S, SEEDS, twice

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from suffice.records import Loader, Profile

    from .feeding.pool import Pool

RISK = "exact"
CLOCK = "wall"
BLOCK = 16
WARM_UP = 6
PRACTICE = "HPC, ladder: use more loader processes before larger hardware"

WAIT_MATTERS = 0.05
QUEUE_MATTERS = 0.3
PREFETCH = 2
LOADERS = 4
SAME, OTHERS = "the same", "others"
MOST_FOR_IO = 4  # workers a processor, where they mostly wait
USUAL_SAMPLERS = frozenset(
    ("RandomSampler", "SequentialSampler", "SubsetRandomSampler", "WeightedRandomSampler", "DistributedSampler")
)
SEEDED_IN_WORKERS = ("torch", "random", "numpy")


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """Numbers of workers, the likeliest first, if batches are waited for; else why not."""
    share = wait_share(profile)
    if share is None:
        return NO_LOADER
    rank = profile.ranks[0]
    loader = max((each for each in rank.loaders if each.role == "training"), key=lambda each: _value(each, "wait_s"))
    processors = int(profile.machine.get("processors_allowed") or 1)
    queued = _value(loader, "fetch_queueing_s") / max(1e-9, _value(loader, "fetch_s"))
    if loader.workers > processors and queued > QUEUE_MATTERS:
        return _settings([processors, max(1, processors - 1)], loader.workers)
    rate = rank.figures.get("samples_per_s")
    unqueued_s = max(0.0, _value(loader, "fetch_s") - _value(loader, "fetch_queueing_s"))
    keep_up = math.ceil(rate.value / max(1 - share, 0.05) * unqueued_s) if rate is not None else processors
    waits = loader.limited_by in ("I/O", "both")
    for case, reason in (
        (share < WAIT_MATTERS, f"the loop waits for data {share:.1%} of its time"),
        (loader.limited_by == "a lock", "its workers wait for each other already"),
        (processors < 2 and not waits, "samples are computed, and there is one processor"),
    ):
        if case:
            return reason
    if waits:
        return _settings([min(max(keep_up, 2), MOST_FOR_IO * processors), 2 * processors], loader.workers)
    return _settings([min(max(keep_up, 1), processors), processors - 1, processors], loader.workers)


def risk_of(settings: Mapping[str, Any]) -> str:
    """Workers that may draw other random numbers leave the distribution alone, and not the numbers."""
    return "stochastic" if settings.get("draws") == OTHERS else RISK


def _settings(counts: list[int], now: int) -> list[dict[str, Any]] | str:
    wanted = [count for count in dict.fromkeys(counts) if count not in (0, now)]
    if not wanted:
        return f"{now} workers are as many as there is room for"
    each = {"prefetch_factor": PREFETCH, "persistent": True}
    return [{"workers": count, **each, "draws": draws} for draws in (SAME, OTHERS) for count in wanted]


def _value(loader: Loader, name: str) -> float:
    figure = loader.figures.get(name)
    return 0.0 if figure is None else float(figure.value)


class LoaderWorkers:
    """The switch: while it is on, workers have the turn."""

    def __init__(self, job: Any, settings: dict[str, Any]) -> None:
        self.job = job
        self.torch = job.torch
        self.workers = int(settings.get("workers", 1))
        self.prefetch = int(settings.get("prefetch_factor") or PREFETCH)
        self.persistent = bool(settings.get("persistent", True))
        self.others_allowed = settings.get("draws") == OTHERS
        self.is_on = False
        self.given_up: str | None = None
        self.served: dict[int, Served] = {}
        self.refused: dict[int, str] = {}
        self.counts = {"itself": 0, "workers": 0}
        self.block, self.warm_up = BLOCK, WARM_UP
        self.asked: dict[int, bool] = {}
        self.stand_in = StandIn(_get_iterator_of(job), self.get_iterator)

    def take_in(self, loader: Any) -> str:
        """Look at a loader that is new; why workers can't fetch for it, or nothing."""
        key = id(loader)
        if key in self.served and self.served[key].loader() is loader:
            return ""
        if key in self.refused:
            return self.refused[key]
        reason = _lacking() or obstacle(self.torch, loader, self.workers, self.prefetch)
        served = None
        if not reason:
            served = Served(self.torch, loader)
            try:
                reason = self._study(loader, served)
            except apart.Failed as failed:
                reason = str(failed)
        if reason or served is None:
            self.refused[key] = reason
        else:
            self.served[key] = served
            ahead = max(self.workers * self.prefetch, loader.num_workers * (loader.prefetch_factor or PREFETCH))
            self.warm_up, self.block = max(self.warm_up, ahead + 2), max(self.block, 2 * ahead)
        return reason

    def _study(self, loader: Any, served: Served) -> str:
        """Whether the samples are the same in whichever process, and whether the batches fit."""
        known = {id(thing): (name, thing) for name, thing in served.objects.items()}

        found = found_generators(self.torch, known)

        def look(*, reverse: bool, seed: int) -> dict[str, Any]:
            plan = {"most": ITEMS, "reverse": reverse, "seed": seed, "generators": found}
            return read_whole(self.torch, loader, known, plan)

        one, other = twice(self.torch, look)
        served.volatile = {*one["volatile"], *other["volatile"]}
        moved = one["moved"] or other["moved"]
        differing = sum(other["bits"].get(place) != told for place, told in one["bits"].items())
        if moved and moved not in SEEDED_IN_WORKERS:
            return f"its samples draw from a generator of its own ({moved}), of which each worker would have a copy"
        if moved == "numpy" and not _seeds_numpy():
            return "its samples draw from numpy, which this torch does not seed in its workers: all would draw alike"
        if differing and not moved:
            return f"its samples depend on more than their index: {differing} of {len(one['bits'])} were others again"
        if moved and not self.others_allowed and not _no_relay(loader, self.workers):
            again = apart.run(self.torch, lambda: look(reverse=True, seed=SEEDS[0]), LIMIT_S)
            served.relays = again["bits"] == one["bits"]
        if (moved and not served.relays) or not _samples_usually(loader):
            served.risk = "stochastic"
        if self.others_allowed != (served.risk == "stochastic"):
            return _why_not(moved, others=self.others_allowed) + _no_relay(loader, self.workers)
        batch = getattr(loader.batch_sampler, "batch_size", None) or loader.batch_size or 1
        return of_shared_memory(self.workers, self.prefetch, batch * max(one["row_bytes"], other["row_bytes"]))

    def on(self) -> None:
        """Workers have the turn."""
        self.is_on = True

    def off(self) -> None:
        """Whoever the loader was made with has the turn."""
        self.is_on = False

    def reads(self, loader: Any) -> None:
        """Have the iteration that is about to begin fed by us, if it is one of training, and one that goes on as well.

        An iteration with workers that goes on is left alone: they have begun batches by themselves.
        """
        if self.given_up is not None or not self.torch.is_grad_enabled() or self.take_in(loader):
            return
        served = self.served[id(loader)]
        served.trains = True
        going_on = None if loader.num_workers else of_this_process(loader)
        if going_on is not None and not served.is_read():
            served.base_seed = going_on._base_seed
            take_over(going_on, lambda: self._feed(served))
            served.iterator = weakref.ref(going_on)
        kept = getattr(loader, "_iterator", None)
        if kept is not None and hasattr(kept, "_feed"):
            return  # torch resets it, and gets a new feed
        loader._iterator = None
        self.asked[id(loader)] = kept is not None
        self.stand_in.put_in()

    def get_iterator(self, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """In the place of `DataLoader._get_iterator`: ours, where `reads` has asked for it."""
        loader = args[0]
        undrawn = self.asked.pop(id(loader), None)
        if not self.asked:
            self.stand_in.take_out()
        served = self.served.get(id(loader))
        if undrawn is None or served is None or self.given_up is not None:
            return original(*args, **kwargs)
        state = Undrawn(self.torch, loader)
        state.save()
        try:
            iterator = iterator_over(loader, lambda: self._feed(served))
        except Exception as error:
            state.restore()
            self.given_up = f"it could not be fed: {type(error).__name__}: {error}"
            return original(*args, **kwargs)
        if undrawn:  # torch would have gone on with the iterator that it had
            state.restore()
        served.base_seed = iterator._base_seed
        served.iterator = weakref.ref(iterator)
        return iterator

    def _feed(self, served: Served) -> Feed:
        served.begin(anew=not self.persistent)
        return Feed(lambda: self._turn(served), lambda why: self._died(served, why), self.counts)

    def _turn(self, served: Served) -> Pool | None:
        """Whose turn it is; who has not begun yet begins now."""
        loader = served.loader()
        if loader is None or self.given_up is not None:
            return None
        try:
            if self.is_on and served.relays:
                return served.relay(self.prefetch)
            if self.is_on:
                return served.pool(self.workers, self.prefetch) if self.workers else None
            ahead = loader.prefetch_factor or PREFETCH
            return served.pool(loader.num_workers, ahead) if loader.num_workers else None
        except Exception as error:
            self.given_up = f"workers could not be started: {type(error).__name__}: {error}"
            return None

    def _died(self, served: Served, why: str) -> None:
        self.given_up = why
        served.close()

    def facts(self) -> dict[str, Any]:
        """What the workers did, and whether they left the numbers alone: `risk`."""
        risks = {each.risk for each in self.served.values() if each.trains} or {e.risk for e in self.served.values()}
        return {
            "risk": "stochastic" if "stochastic" in risks or not risks else "exact",
            "workers": self.workers,
            "prefetch_factor": self.prefetch,
            "persistent": self.persistent,
            "batches_of_workers": self.counts["workers"],
            "batches_of_itself": self.counts["itself"],
            "refused": "; ".join(dict.fromkeys(self.refused.values())) or None,
            "given_up": self.given_up,
        }


def prepare(job: Any, settings: dict[str, Any]) -> LoaderWorkers:
    """Look at the loaders that there are; those that come later are looked at when they are first read."""
    switch = LoaderWorkers(job, settings)
    if job.processors < 2 and switch.workers:
        job.refuse("there is one processor, which the training needs")
    shuffled = [each for each in job.loaders() if type(each.sampler).__name__ != "SequentialSampler"]
    loaders = shuffled or job.loaders()
    reasons = [f"{type(each.dataset).__name__}: {switch.take_in(each)}" for each in loaders[:LOADERS]]
    if loaders and not switch.served:
        job.refuse("; ".join(dict.fromkeys(reasons)))
    return switch


def _get_iterator_of(job: Any) -> Any:
    function = getattr(sys.modules["torch.utils.data"].DataLoader, "_get_iterator", None)
    return (
        function if can_stand_in(function) else job.refuse("this torch makes the iterators of a loader in another way")
    )


def _no_relay(loader: Any, workers: int) -> str:
    """Why a worker can't go on with this process's random numbers; empty if it can."""
    if workers != 1:
        return "; one worker could go on with the same ones"
    if loader.num_workers:
        return "; those that it has draw their own"
    return "" if start_method(loader) == "fork" else "; only a forked one could go on with the same ones"


def _why_not(moved: str, *, others: bool) -> str:
    if others:
        return "its samples draw no random number, so that workers are exact: that is tried by itself"
    if moved:
        return f"its samples draw random numbers (from {moved}), and workers would draw others"
    return "its sampler may draw while the training does, and would draw ahead of it for workers"


def _lacking() -> str:
    kind = getattr(sys.modules.get("torch.utils.data.dataloader"), "_MultiProcessingDataLoaderIter", None)
    missing = [name for name in NEEDED if not hasattr(kind, name)]
    return f"this torch starts workers in another way: it has no {missing[0]}" if missing else ""


def _seeds_numpy() -> bool:
    return hasattr(sys.modules.get("torch.utils.data._utils.worker"), "_generate_state")


def _samples_usually(loader: Any) -> bool:
    """Whether the sampler draws at the start of an iteration alone, if it draws."""
    batches = type(loader.batch_sampler).__name__ in ("BatchSampler", "NoneType")
    return batches and type(loader.sampler).__name__ in USUAL_SAMPLERS
