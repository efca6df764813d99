"""Decode JPEG files at a half, a quarter or an eighth of their size, where the job shrinks them right after.

libjpeg can leave out the fine detail while it decodes, which is several times as fast; the picture is then resized to
the size that the job asked for. Pixels differ by a few levels, so it is another training. Only samples of training are
decoded so: what the job evaluates on is decoded in full, and the metric stays the same measure.

Not for pictures that are no JPEG, are shrunk to less than half their size or to the nearest pixel, or are opened by
other libraries than Pillow; not for iterable data sets, nor where samples are kept after they were made once.
Source: Pillow's docs of `Image.draft`; measured: 1920x1080 to 256 3.3 times as fast, mean difference 1 of 255 levels.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from .feeding.limits import start_method
from .feeding.need import why_not
from .keeping.board import Board
from .looking import apart
from .looking.calls import StandIn, StandIns, can_stand_in, fetch_of
from .looking.shrinking import MODES, Picture, picture_of, shrunk, wait, waiting_kind
from .looking.tracing import read, some_indices

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from suffice.records import Profile

    from .looking.shrinking import Box

RISK = "semantic"
CLOCK = "wall"
BLOCK = 1
WARM_UP = 0
PRACTICE = "HPC, ladder: where preparing data limits, prepare it once, before training, or do less of it"

COUNTS = ("pictures", "reduced", "full")
ITEMS, LIMIT_S = 8, 60.0
KEEPERS = ("sample-cache", "batch-gather")


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """No settings, if samples are waited for or take much of the processors; else why not."""
    return why_not(profile) or [{}]


class ReducedDecode(StandIns):
    """The switch. `block` and `warm_up` tell how many steps an arm needs where workers fetch ahead."""

    def __init__(self, job: Any, images: Any) -> None:
        self.job = job
        self.board = Board(COUNTS)
        self.counted: dict[str, int] = {}
        self.local = threading.local()
        self.training: dict[int, bool] = {}
        self.with_workers = False
        self.block, self.warm_up = BLOCK, WARM_UP
        self.kind: Any = waiting_kind(images, lambda: self.board.count("full"))
        self.stand_ins = [StandIn(fetch_of(job), self.fetch)]
        for name in ("convert", "copy", "crop", "resize"):
            function = getattr(images.Image, name)
            if not can_stand_in(function):
                job.refuse(f"this Pillow's `{name}` can't be listened to")
            self.stand_ins.append(StandIn(function, getattr(self, name)))

    def on(self) -> None:
        """From the next sample on, what can be is decoded at reduced size."""
        self.put_in()
        self.board.switch(True)

    def off(self) -> None:
        """Every picture is decoded in full."""
        self.board.switch(False)
        if not self.with_workers:
            self.take_out()

    def reads(self, loader: Any) -> None:
        """See whether an iteration is one of training; workers that are about to start are to hear the switch."""
        trains = self.job.torch.is_grad_enabled() and any(root.training for root in self.job.roots())
        self.training[id(loader.dataset)] = trains
        if loader.num_workers:
            ahead = loader.num_workers * (loader.prefetch_factor or 2)
            self.with_workers = True
            self.block, self.warm_up = 4 * ahead, ahead + 1
            self.put_in()

    def fetch(self, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """In the place of the fetcher of torch's loaders: what is decoded within, for training, may be small."""
        before = getattr(self.local, "active", False)
        self.local.active = bool(args) and self.training.get(id(args[0].dataset), False)
        try:
            return original(*args, **kwargs)
        finally:
            self.local.active = before

    def study(self, loader: Any) -> str:
        """Read a few samples in a process of their own; why none is decoded smaller, or nothing."""

        def look() -> dict[str, int]:
            self.put_in()
            self.board.switch(True)
            self.local.active = True
            before = self.board.totals()
            for index in some_indices(loader, ITEMS):
                read(loader.dataset, index)
            return {name: count - before[name] for name, count in self.board.totals().items()}

        try:
            found = apart.run(self.job.torch, look, LIMIT_S)
        except apart.Failed as failed:
            return str(failed)
        finally:
            self.board.switch(False)
            self.counted = self.board.totals()
        if not found["pictures"]:
            return "of its first samples none is a JPEG file that Pillow opens and converts, crops or resizes at once"
        return "" if found["reduced"] else "it shrinks none of its pictures to half their size or less on both sides"

    def convert(self, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """In the place of `Image.convert`: it waits on, in another mode."""
        mode = args[1] if len(args) == 2 else kwargs.get("mode")

        def other(file: Picture, now: str, cut: Box) -> Any | None:
            once = now in (mode, file.mode)  # what was grey for a while stays so
            return wait(self.kind, file, mode, cut) if once and mode in MODES and len(args) + len(kwargs) == 2 else None

        return self._waits(args, other) or original(*args, **kwargs)

    def copy(self, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """In the place of `Image.copy`: both wait."""
        return self._waits(args, lambda file, mode, cut: wait(self.kind, file, mode, cut)) or original(*args, **kwargs)

    def crop(self, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """In the place of `Image.crop`: a part of it waits."""
        box = args[1] if len(args) == 2 and not kwargs else kwargs.get("box")

        def part(file: Picture, mode: str, cut: Box) -> Any | None:
            if box is None:
                return wait(self.kind, file, mode, cut)
            left, top, right, bottom = map(round, box)
            if not (0 <= left < right <= cut[2] - cut[0] and 0 <= top < bottom <= cut[3] - cut[1]):
                return None
            return wait(self.kind, file, mode, (cut[0] + left, cut[1] + top, cut[0] + right, cut[1] + bottom))

        return self._waits(args, part) or original(*args, **kwargs)

    def resize(self, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """In the place of `Image.resize`: made of a smaller decoding, where that is large enough."""
        named = ("size", "resample", "box", "reducing_gap")
        given = {**dict(zip(named, args[1:])), **kwargs}

        def small(file: Picture, mode: str, cut: Box) -> Any | None:
            made = shrunk(file, mode, cut, tuple(given.get(name) for name in named))
            if made is not None:
                self.board.count("reduced")
            return made

        return self._waits(args, small) or original(*args, **kwargs)

    def _waits(self, args: tuple[Any, ...], make: Callable[[Picture, str, Box], Any | None]) -> Any | None:
        """What is made of a picture that is not decoded yet; None where it is, or is to be decoded in full."""
        image: Any = args[0]
        if type(image) is self.kind:
            return make(image._file, image.mode, image._cut)
        file = picture_of(image) if self.board.on and getattr(self.local, "active", False) else None
        if file is None:
            return None
        self.board.count("pictures")
        return make(file, image.mode, (0, 0, *image.size))

    def facts(self) -> dict[str, Any]:
        """How many pictures were JPEG files, decoded smaller, and in full after all."""
        return {name: count - self.counted.get(name, 0) for name, count in self.board.totals().items()}


def prepare(job: Any, settings: dict[str, Any]) -> ReducedDecode:  # noqa: ARG001 - techniques share one signature
    """Look at a few samples of the loaders that there are."""
    kept = [each for each in KEEPERS if each in job.switches]
    if kept:
        job.refuse(f"{kept[0]} keeps the samples already, so that none is decoded a second time")
    images = sys.modules.get("PIL.Image")
    if images is None:
        job.refuse("the job does not open pictures by Pillow")
    switch = ReducedDecode(job, images)
    shuffled = [each for each in job.loaders() if type(each.sampler).__name__ != "SequentialSampler"]
    loaders = shuffled or job.loaders()
    reasons = [f"{type(each.dataset).__name__}: {_unfit(each) or switch.study(each)}" for each in loaders]
    if loaders and not any(reason.endswith(": ") for reason in reasons):
        job.refuse("; ".join(dict.fromkeys(reasons)))
    return switch


def _unfit(loader: Any) -> str:
    """Why the loader's samples can't be decoded otherwise from here, or nothing."""
    if isinstance(loader.dataset, sys.modules["torch.utils.data"].IterableDataset):
        return "samples of an iterable data set can't be looked at beforehand"
    if loader.num_workers and start_method(loader) != "fork":
        return f"its workers are started by {start_method(loader)}, and only forked ones hear of it"
    if getattr(loader, "_iterator", None) is not None:
        return "its workers live on from epoch to epoch, and were started before"
    return ""
