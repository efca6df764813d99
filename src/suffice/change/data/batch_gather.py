"""Make a batch by gathering rows of whole columns, where samples are the same every time: no Python for each sample.

Samples that a data set makes without chance are kept as they come, one column for each part of them; from then on a
batch is one gather a column, with the bits that reading and collating its samples one by one would give. A data set
of tensors is gathered from as it is.

Not for samples that are random, differ in shape, hold text, are put together by a function of the user's own, or take
more memory than may be taken; not for iterable data sets.
Source: PyTorch's default_collate, of which it is a short cut; "Efficient batched reading", docs of torch.utils.data.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from .feeding.need import NO_LOADER, wait_share
from .keeping.board import Board
from .keeping.filling import shared_out
from .keeping.gathered import Gathered
from .keeping.memo import Turns
from .keeping.table import Direct, Table
from .keeping.values import NotKeepable, bits
from .looking import apart
from .looking.calls import StandIn, fetch_of
from .looking.generators import Generators
from .looking.probing import found_generators, read_whole
from .looking.study import ITEMS, twice

if TYPE_CHECKING:
    from typing import Any

    from suffice.records import Profile

RISK = "exact"
CLOCK = "wall"
BLOCK = 1
WARM_UP = 0
PRACTICE = "PERF03-BP05: keep in a cache what is read again and again"

COUNTS = ("hits", "hit_ns", "misses", "miss_ns", "checked")
WAIT_MATTERS = 0.03
LOADERS = 4
CHUNK = 64  # items that are read ahead and collated at once


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """No settings, if samples are waited for; else why not."""
    share = wait_share(profile)
    if share is None:
        return NO_LOADER
    return [{}] if share >= WAIT_MATTERS else f"the loop waits for data {share:.1%} of its time"


class BatchGather:
    """The switch. `block` and `warm_up` tell how many steps an arm needs where workers fetch ahead."""

    def __init__(self, job: Any) -> None:
        self.job = job
        self.torch = job.torch
        self.board = Board(COUNTS)
        self.generators = Generators(job.torch)
        self.turns = Turns()
        self.gathered: dict[int, Gathered] = {}
        self.known: dict[int, Any] = {}
        self.block, self.warm_up = BLOCK, WARM_UP
        self.with_workers = self.is_on = False
        self.stand_in = StandIn(fetch_of(job), self.fetch)

    def take_in(self, loader: Any) -> str:
        """Study a loader's data set, if it is new; why its batches can't be gathered, or nothing."""
        if id(loader.dataset) in self.known or len(self.known) >= LOADERS:
            return ""
        self.known[id(loader.dataset)] = loader.dataset
        reason = self._unfit(loader)
        if reason:
            return reason
        try:
            gathered = Gathered(self.torch, loader, type(loader.dataset).__name__, direct_of(self.torch, loader))
            reason = "" if gathered.table is not None else self._study(loader, gathered)
        except (NotKeepable, apart.Failed) as fault:
            return str(fault)
        if not reason:
            self.gathered[id(loader.dataset)] = gathered
        return reason

    def _unfit(self, loader: Any) -> str:
        data = sys.modules["torch.utils.data"]
        if isinstance(loader.dataset, data.IterableDataset):
            return "an iterable data set has no samples by number"
        if loader.batch_sampler is None or loader.collate_fn is not data.default_collate:
            return "its batches are put together by a function of the job's own"
        try:
            return "" if len(loader.dataset) else "it is empty"
        except TypeError:
            return "it has no length"

    def _study(self, loader: Any, gathered: Gathered) -> str:
        known = {id(thing): (name, thing) for name, thing in gathered.objects.items()}

        found = found_generators(self.torch, known)

        def look(*, reverse: bool, seed: int) -> dict[str, Any]:
            self.stand_in.take_out()
            plan = {"most": ITEMS, "reverse": reverse, "seed": seed, "generators": found}
            return read_whole(self.torch, loader, known, plan)

        one, other = twice(self.torch, look)
        differing = [place for place, told in one["bits"].items() if other["bits"].get(place) != told]
        for case, reason in (
            (
                one["moved"] or other["moved"],
                f"its samples draw random numbers (from {one['moved'] or other['moved']})",
            ),
            (differing, f"its samples are not the same each time: {len(differing)} of {len(one['bits'])} differ"),
            (one["fault"] or other["fault"], one["fault"] or other["fault"]),
            (one["shape"] != other["shape"], "its samples are not all of one shape"),
        ):
            if case:
                return str(reason)
        try:
            gathered.table = Table(self.torch, len(loader.dataset), one["shape"], self.job.memory_bytes)
        except (ValueError, OSError) as why:
            return str(why)
        gathered.settle({*one["volatile"], *other["volatile"]})
        return ""

    def on(self) -> None:
        """From the next batch on, what is known is gathered."""
        self.is_on = True
        self.stand_in.put_in()
        self.board.switch(True)

    def off(self) -> None:
        """Every batch is put together from its samples."""
        self.is_on = False
        self.board.switch(False)
        if not self.with_workers:
            self.stand_in.take_out()

    def reads(self, loader: Any) -> None:
        """See that samples still rest on the same; workers that are about to start are to hear the switch."""
        self.take_in(loader)
        for gathered in self.gathered.values():
            different = gathered.changed()
            if different and self.board.reason is None:
                self.board.give_up(f"what samples are made from has changed: {', '.join(different[:3])}")
        if loader.num_workers:
            ahead = loader.num_workers * (loader.prefetch_factor or 2)
            self.with_workers = True
            self.block, self.warm_up = 4 * ahead, ahead + 1
            self.stand_in.put_in()

    def fetch(self, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """In the place of the fetcher of torch's loaders: a batch by its indices."""
        gathered = self.gathered.get(id(args[0].dataset)) if args and self.board.on else None
        if gathered is None or kwargs or not args[0].auto_collation or args[0].collate_fn is not gathered.collate:
            return original(*args, **kwargs)
        begun = time.perf_counter_ns()
        try:
            rows = self._rows(gathered, args[1])
            table = gathered.table
            batch = table.gather(rows) if table is not None and rows is not None and table.has(rows) else None
        except Exception as error:
            self.board.give_up(f"gathering failed: {type(error).__name__}: {error}")
            rows = batch = None
        if batch is None:
            return self._collated(gathered, rows, original(*args), begun)
        if self.turns.come():
            return self._checked(batch, original, args)
        self.board.count_timed("hits", begun)
        return batch

    def _rows(self, gathered: Gathered, indices: Any) -> Any:
        """The rows of these indices as a tensor, or None where they are no plain numbers, or may not be used."""
        shown = gathered.guarded()
        if shown:
            self.board.give_up(f"{shown} changed while it was read")
            return None
        if type(indices) is not list or min(indices) < 0:
            return None
        rows = self.torch.tensor(indices)
        return rows if rows.dtype is self.torch.int64 and rows.dim() == 1 else None

    def _collated(self, gathered: Gathered, rows: Any, batch: Any, begun: int) -> Any:
        """Keep what was put together one by one."""
        if gathered.table is not None and rows is not None and self.board.on:
            try:
                gathered.table.fill(rows, batch)
            except Exception as why:
                self.board.give_up(f"batches can't be gathered after all: {why}")
            self.board.count_timed("misses", begun)
        return batch

    def _checked(self, batch: Any, original: Any, args: tuple[Any, ...]) -> Any:
        """Put it together one by one, as if nobody had, and compare; that is what the job gets."""
        self.board.count("checked")
        before = self.generators.state()
        fresh = original(*args)
        try:
            if self.generators.moved(before) or bits(self.torch, fresh) != bits(self.torch, batch):
                self.board.give_up("a batch that was gathered differs from one that was put together")
        except Exception as error:
            self.board.give_up(f"a batch could not be checked: {type(error).__name__}: {error}")
        return fresh

    def rehearse(self, loader: Any, seconds: float) -> bool:
        """Read all samples, in processes of their own, within that time; whether all were read."""
        gathered = self.gathered.get(id(loader.dataset))
        if gathered is None or self.board.reason is not None:
            return False
        if isinstance(gathered.table, Direct):
            return True
        fetcher = sys.modules["torch.utils.data._utils.fetch"]._MapDatasetFetcher
        fetching = fetcher(loader.dataset, True, loader.collate_fn, False)

        def work(indices: Any, until: float) -> bool:
            self.stand_in.put_in()
            self.board.switch(True)
            waiting = list(indices)
            for place in range(0, len(waiting), CHUNK):
                if time.monotonic() > until:
                    return False
                fetching.fetch(waiting[place : place + CHUNK])
            return True

        try:
            return shared_out(self.job, loader, work, seconds)
        finally:
            self.board.switch(self.is_on)

    def facts(self) -> dict[str, Any]:
        """What was gathered, and what came of it."""
        told: dict[str, Any] = dict(self.board.totals())
        told.update(hit_s=told.pop("hit_ns") / 1e9, miss_s=told.pop("miss_ns") / 1e9)
        told["datasets"] = ", ".join(type(each.dataset).__name__ for each in self.gathered.values())
        told["bytes"] = sum(each.table.size for each in self.gathered.values() if each.table is not None)
        told["given_up"] = self.board.reason
        return told


def direct_of(torch: Any, loader: Any) -> Direct | None:
    """The columns of a data set of tensors, also of a subset of it; None of another.

    Raises:
        NotKeepable: if they can't be gathered from.
    """
    data = sys.modules["torch.utils.data"]
    dataset, numbers = loader.dataset, None
    while type(dataset) is data.Subset:
        inner = torch.as_tensor(dataset.indices)
        numbers = inner if numbers is None else inner[numbers]
        dataset = dataset.dataset
    return Direct(torch, dataset, numbers, loader.collate_fn) if type(dataset) is data.TensorDataset else None


def prepare(job: Any, settings: dict[str, Any]) -> BatchGather:  # noqa: ARG001 - there is nothing to set
    """Study the data sets of the loaders that there are; those that come later are studied when they are first read."""
    if "reduced-decode" in job.switches:
        job.refuse("its samples would be kept as decoding at reduced size makes them")
    switch = BatchGather(job)
    shuffled = [each for each in job.loaders() if type(each.sampler).__name__ != "SequentialSampler"]
    loaders = shuffled or job.loaders()  # what is read in order is mostly for evaluation
    reasons = [f"{type(each.dataset).__name__}: {reason}" for each in loaders if (reason := switch.take_in(each))]
    if loaders and not switch.gathered:
        job.refuse("; ".join(dict.fromkeys(reasons)))
    return switch
