"""Keep what a data set works out again and again: decoded, resized or parsed samples, up to where chance comes in.

The functions that an item calls are looked through from the outside in: one whose results repeat, that draws no random
number, and that is known by its arguments is memoised, the item itself before what it consists of. Transforms after it
stay random and draw from the same streams, so the losses are bitwise those of the uncached job at the same number of
workers. Results lie in a mapped file, which forked workers share and a later process of the same job finds again.

Not for samples that are random from the start, change from epoch to epoch, or are cheaper to make than to copy; not for
iterable data sets, nor for workers that are not forked.
Source: "Analyzing and Mitigating Data Stalls in DNN Training", arXiv 2007.06775.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING

from .feeding.limits import start_method
from .feeding.need import why_not
from .keeping.board import Board
from .keeping.cache import Ground, Layout, from_root, kept_of, open_store, thorough, versions
from .keeping.files import digest_of
from .keeping.filling import fill
from .keeping.memo import COUNTS, Shelf
from .looking import apart
from .looking.generators import Generators
from .looking.study import Study

if TYPE_CHECKING:
    from typing import Any

    from suffice.records import Profile

    from .keeping.cache import AnyMemo

RISK = "exact"
CLOCK = "wall"
BLOCK = 1
WARM_UP = 0
PRACTICE = "PERF03-BP05: keep in a cache what is read again and again"

LOADERS = 4  # as many data sets are looked at


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """One setting, if samples are waited for or take much of the processors; else why not."""
    return why_not(profile) or [{"store": "file"}]


class SampleCache:
    """The switch. `block` and `warm_up` tell how many steps an arm needs where workers fetch ahead."""

    def __init__(self, job: Any, settings: dict[str, Any]) -> None:
        self.job = job
        self.in_file = settings.get("store", "file") != "memory"
        self.board = Board(COUNTS)
        self.studies: list[Study] = []
        self.grounds: list[Ground] = []
        self.memos: list[AnyMemo] = []
        self.shelf: Shelf | None = None
        self.known: dict[int, str] = {}
        self.counted: dict[str, int] = {}
        self.reasons: list[str] = []
        self.found_entries = 0
        self.with_workers = False
        self.is_on = False
        self.block, self.warm_up = BLOCK, WARM_UP

    def take_in(self, loaders: list[Any]) -> str:
        """Study the data sets of loaders that were not studied yet; the reason if nothing is cached in the end."""
        for loader in loaders:
            if id(loader.dataset) in self.known or len(self.known) >= LOADERS:
                continue
            self.known[id(loader.dataset)] = type(loader.dataset).__name__
            reason = unfit(loader) or self._study(loader)
            if reason:
                self.reasons.append(f"{type(loader.dataset).__name__}: {reason}")
        if any(kept_of(study) for study in self.studies):
            reason = self._set_up()
            self.reasons += [reason] if reason else []
        return "" if self.memos else "; ".join(dict.fromkeys(self.reasons)) or "there is no loader to speed up"

    def keeps_for(self, loader: Any) -> bool:
        """Whether anything of this loader's samples is kept."""
        return any(study.loader.dataset is loader.dataset and kept_of(study) for study in self.studies)

    def _study(self, loader: Any) -> str:
        study = Study(self.job.torch, loader, type(loader.dataset).__name__)
        note = _note_of(self.job, study)
        try:
            if note is None or not study.remember(_read(note)):
                study.carry_out(self.memos, [chosen for other in self.studies for chosen in other.chosen])
                _write(note, study.told())
        except apart.Failed as failed:
            return str(failed)
        self.studies.append(study)
        return study.reason

    def _set_up(self) -> str:
        """Make store and memos for all that was chosen, and see that the items come out the same; else why not."""
        layout = Layout(self.job.torch, self.studies)
        try:
            store = open_store(self.job, self.studies, layout, in_file=self.in_file)
        except (OSError, ValueError) as error:
            return f"no room for the cache: {error}"
        self.turn_back()
        torch = self.job.torch
        self.found_entries = store.entries
        self.shelf = Shelf(torch, store, self.board, Generators(torch))
        memos = layout.memos(self.shelf)
        self.board.switch(True)
        try:
            for study in self.studies:
                reason = study.equal_through(memos) if kept_of(study) and study.reference else ""
                if reason:
                    return f"{self.known[id(study.loader.dataset)]}: {reason}"
        except apart.Failed as failed:
            return str(failed)
        finally:
            self.board.switch(self.is_on)
            self.counted = self.board.totals()
        self.memos = memos
        self.grounds = [Ground(torch, study) for study in self.studies if kept_of(study)]
        if self.is_on:
            self.on()
        return ""

    def on(self) -> None:
        """From the next item on, what is kept is served and what is not yet is kept."""
        self.is_on = True
        for memo in self.memos:
            memo.put_in()
        self.board.switch(True)

    def off(self) -> None:
        """Every item is worked out again."""
        self.is_on = False
        self.board.switch(False)
        if not self.with_workers:
            self.turn_back()

    def turn_back(self) -> None:
        """Give every function its own code back."""
        for memo in self.memos:
            memo.take_out()

    def reads(self, loader: Any) -> None:
        """See that what the results rest on is as it was; workers that are about to start are to hear the switch."""
        if id(loader.dataset) not in self.known:
            self.take_in([loader])
        for ground in self.grounds:
            different = ground.changed()
            if different and self.board.reason is None:
                self.board.give_up(f"what samples are made from has changed: {', '.join(different[:3])}")
        if loader.num_workers:
            ahead = loader.num_workers * (loader.prefetch_factor or 2)
            self.with_workers = True
            self.block, self.warm_up = 4 * ahead, ahead + 1
            for memo in self.memos:
                memo.put_in()

    def rehearse(self, loader: Any, seconds: float) -> bool:
        """Fill the cache in processes of their own, within that time; whether all that there is room for is in."""
        if self.shelf is None or not self.memos or self.board.reason is not None:
            return False
        self.board.switch(True)
        try:
            whole = fill(self.job, loader, self.memos, seconds)
        finally:
            self.board.switch(self.is_on)
        return whole or self.shelf.store.full

    def facts(self) -> dict[str, Any]:
        """What was cached, and what came of it."""
        totals = self.board.totals()
        told: dict[str, Any] = {name: totals[name] - self.counted.get(name, 0) for name in COUNTS}
        told.update(hit_s=told.pop("hit_ns") / 1e9, miss_s=told.pop("miss_ns") / 1e9)
        told["functions"] = ", ".join(memo.name for memo in self.memos)
        told["item_s"] = max((study.item_s for study in self.studies), default=0.0)
        told["share"] = max((sum(each.share for each in kept_of(study)) for study in self.studies), default=0.0)
        told["given_up"] = self.board.reason
        if self.shelf is not None:
            store = self.shelf.store
            told.update(entries=store.entries, entries_found=self.found_entries, bytes=store.filled_bytes)
            told.update(capacity_bytes=store.capacity, full=store.full, store="file" if store.path else "memory")
        return told


def prepare(job: Any, settings: dict[str, Any]) -> SampleCache:
    """Study the data sets of the loaders that there are; those that come later are studied when they are first read."""
    if "reduced-decode" in job.switches:
        job.refuse("its samples would be kept as decoding at reduced size makes them")
    switch = SampleCache(job, settings)
    loaders = sorted(job.loaders(), key=lambda each: type(each.sampler).__name__ == "SequentialSampler")
    reason = switch.take_in(loaders)
    if loaders and reason:
        job.refuse(reason)
    shuffled = [each for each in loaders if type(each.sampler).__name__ != "SequentialSampler"]
    if shuffled and not any(switch.keeps_for(each) for each in shuffled):  # the others are mostly for evaluation
        switch.turn_back()
        job.refuse("; ".join(dict.fromkeys(switch.reasons)))
    return switch


def unfit(loader: Any) -> str:
    """Why nothing of this loader's can be cached from here, or nothing."""
    data = sys.modules["torch.utils.data"]
    if isinstance(loader.dataset, data.IterableDataset):
        return "an iterable data set hands out samples that are known by no index"
    if loader.num_workers and start_method(loader) != "fork":
        return f"its workers are started by {start_method(loader)}, and only forked ones share the cache"
    try:
        return "" if len(loader) else "it is empty"
    except TypeError:
        return "it has no length"


def _note_of(job: Any, study: Study) -> str | None:
    """Where an earlier process of the same job wrote what it found out; None where the same can't be recognised."""
    state, private = thorough(job.torch, [], from_root(study), set())
    name = digest_of(versions(), type(study.loader.dataset).__qualname__, state, study.loader.batch_size is None)
    return None if private else os.path.join(job.scratch, f"study-{name}.json")


def _read(note: str) -> dict[str, Any]:
    try:
        with open(note) as file:
            return dict(json.load(file))
    except (OSError, ValueError):
        return {}


def _write(note: str | None, told: dict[str, Any]) -> None:
    if note is not None:
        with contextlib.suppress(OSError):
            draft = f"{note}.{os.getpid()}"
            with open(draft, "w") as file:
                json.dump(told, file)
            os.rename(draft, note)
