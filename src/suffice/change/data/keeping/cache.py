"""Studies of data sets -> a store that fits them, and a memo for each function that was chosen."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import sys
from importlib import metadata
from typing import TYPE_CHECKING

from ..looking.calls import can_stand_in
from ..looking.dependencies import Dependencies, changed
from ..looking.study import calls_of
from .files import FILES_STAMPED, digest_of, file_stamps, first_stamps, knows_its_files
from .memo import Key, Memo, Owner
from .pictures import Chain, PictureMemo
from .store import SLOT_BYTES, TABLE_AT, Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, Union

    from ..looking.choice import Chosen
    from ..looking.study import Pictures, Study
    from .memo import Shelf

    AnyMemo = Union[Memo, PictureMemo]

FORMAT = 1  # of what is kept; raised when keys or values change their meaning
LIBRARIES = ("torch", "numpy", "pillow", "torchvision", "opencv-python", "opencv-python-headless", "simplejpeg")
MOST_SLOTS = 1 << 24
SLACK = 1.25  # samples differ in size, and few were looked at
SLACK_BYTES = 8 << 20
FILES_KEPT = 4
UNKNOWN_ITEMS = 100_000


@functools.lru_cache(maxsize=1)
def versions() -> str:
    """What else the same code could give other results with."""
    told = [f"{FORMAT} {sys.implementation.name} {'.'.join(map(str, sys.version_info[:3]))} {sys.byteorder}"]
    for name in LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            told.append(f"{name} {metadata.version(name)}")
    return ", ".join(told)


class Ground:
    """What the results of one study's functions rest on, as it was first."""

    def __init__(self, torch: Any, study: Study) -> None:
        self.torch = torch
        self.volatile = study.volatile
        self.functions = [each.function for each in kept_of(study)]
        self.objects = study.objects if any(each.owners for each in study.chosen) else {}
        if study.pictures is not None:
            chain = chain_of(study)
            self.functions += [each for each in chain.transforms() if can_stand_in(each)]
            self.objects = {**self.objects, **transforms_of(study.pictures.found["composed"], chain)}
        self.named = study.objects if not all(each.files for each in study.chosen) else {}
        self.first = self.now()

    def now(self) -> dict[str, str]:
        """A quick look at it."""
        state = Dependencies(self.torch, self.functions, self.objects, quick=True).snapshot()
        state.update(file_stamps(self.named))
        return {name: digest for name, digest in state.items() if name not in self.volatile}

    def changed(self) -> list[str]:
        """What of it is no longer as it was."""
        return changed(self.first, self.now())


def thorough(torch: Any, functions: Iterable[Any], objects: Mapping[str, Any], volatile: set[str]) -> tuple[str, bool]:
    """A digest of all that functions and objects rest on, and whether it holds in this process alone."""
    dependencies = Dependencies(torch, functions, objects, quick=False)
    state = {name: told for name, told in dependencies.snapshot().items() if name not in volatile}
    return digest_of(state), bool(dependencies.opaque)


class Layout:
    """What is to be memoised for some studies, and the `fingerprint` of what the keys mean.

    It is `private` if no other process may read the results, because what they rest on can't be recognised there.
    """

    def __init__(self, torch: Any, studies: Sequence[Study]) -> None:
        self.drafts: dict[Any, tuple[str, list[int], dict[int, Owner]]] = {}
        self.private = False
        doubtful = [function for study in studies for function in study.doubtful]
        for study in studies:
            self.private |= bool(kept_of(study)) and not knows_its_files(study)
            for each in study.chosen:
                if each.function not in doubtful:
                    self._add(torch, study, each)
        self.openings: dict[Any, tuple[str, list[int], Chain]] = {}
        for study in studies:
            if study.pictures is not None and study.pictures.function not in self.drafts:
                self._add_pictures(torch, study, study.pictures)
        told = [[prefix, sorted(o.name for o in owners.values())] for prefix, _, owners in self.drafts.values()]
        told += [[prefix] for prefix, _, _ in self.openings.values()]
        # Of data that were made anew nothing is found again, so it should not fill the store. The first study alone: a
        # data set that joins later shares the store.
        told += [[first_stamps(from_root(study))] for study in studies[:1]]
        self.fingerprint = digest_of(versions(), told, os.urandom(8).hex() if self.private else "")

    def _add(self, torch: Any, study: Study, each: Chosen) -> None:
        prefix, private = thorough(torch, [each.function], {}, study.volatile)
        if not each.files:
            prefix = digest_of(prefix, file_stamps(study.objects, FILES_STAMPED))
        known, files, owners = self.drafts.get(each.function, (prefix, each.files, {}))
        self.private |= private
        if each.owners:
            state, private = thorough(torch, [], from_root(study), study.volatile)
            self.private |= private
            for path in each.owners:
                volatile = [name[len(path) + 1 :] for name in study.volatile if name.startswith(path + ".")]
                thing = study.objects[path]
                owners[id(thing)] = Owner(thing, digest_of(state, path.partition(".")[2]), path, volatile)
        self.drafts[each.function] = known, [place for place in files if place in each.files], owners

    def _add_pictures(self, torch: Any, study: Study, pictures: Pictures) -> None:
        """Of one function that opens pictures, one way to go on is kept; others go their own way."""
        chain = chain_of(study)
        transforms = transforms_of("", chain)
        functions = [pictures.function, *(each for each in chain.transforms() if can_stand_in(each))]
        if len(transforms) < chain.prefix:
            self.private = True  # one of them has nothing by which it could be recognised
        state, private = thorough(torch, functions, transforms, study.volatile)
        self.private |= private
        told = digest_of(state, chain.steps, chain.prefix)
        self.openings.setdefault(pictures.function, (told, pictures.found["files"], chain))

    def memos(self, shelf: Shelf) -> list[AnyMemo]:
        """The memos, with nothing put in yet."""
        made: list[AnyMemo] = []
        for function, draft in self.drafts.items():
            made.append(Memo(shelf, function, Key(shelf.board, function, *draft)))
        for function, (prefix, files, chain) in self.openings.items():
            made.append(PictureMemo(shelf, function, Key(shelf.board, function, prefix, files, {}), chain))
        return made


def transforms_of(name: str, chain: Chain) -> dict[str, Any]:
    """The transforms whose outcome is kept, as far as they have attributes."""
    every = enumerate(chain.transforms())
    return {f"{name}[{i}]": each for i, each in every if isinstance(getattr(each, "__dict__", None), dict)}


def chain_of(study: Study) -> Chain:
    """What follows the opening of a picture, as the study found it."""
    told = study.pictures.found if study.pictures is not None else {}
    composed = study.objects[told["composed"]] if told["composed"] else None
    (call,) = calls_of([composed]) if composed is not None else (None,)
    steps = [(name, word) for name, word in told["steps"]]
    return Chain(steps, composed, told["prefix"], call, opens_file=told["opens_file"])


def kept_of(study: Study) -> list[Any]:
    """All that is to be kept for a study: each tells calls and size, for an item, and share of its time."""
    return [*study.chosen, *([study.pictures] if study.pictures is not None else [])]


def from_root(study: Study) -> dict[str, Any]:
    """The study's objects, named as in every process: without what the data set is called in reports."""
    return {path.partition(".")[2]: thing for path, thing in study.objects.items()}


def open_store(job: Any, studies: Sequence[Study], layout: Layout, *, in_file: bool) -> Store:
    """A store with room for all results of the chosen, as far as there is room for it.

    Raises:
        OSError: if the file can't be made.
        ValueError: if there is no room.
    """
    entries, size = 0.0, 0.0
    for study in studies:
        count = _items(study.loader)
        entries += sum(each.calls * count for each in kept_of(study))
        size += sum(each.calls * count * (each.size + 2 * SLOT_BYTES) for each in kept_of(study))
    slots = 1024
    while slots < min(MOST_SLOTS, 2.2 * entries):
        slots *= 2
    capacity = int(TABLE_AT + slots * SLOT_BYTES + SLACK * size + SLACK_BYTES)
    most = job.scratch_bytes if in_file else job.memory_bytes
    path = os.path.join(job.scratch, f"samples-{layout.fingerprint}.suffice") if in_file else None
    if path is not None:
        clear_away(job.scratch, path)
    store = Store(path, layout.fingerprint.encode(), slots, min(capacity, most))
    if path is not None and layout.private:
        for each in (path, path + ".lock"):  # it goes with the last process that has it open
            with contextlib.suppress(FileNotFoundError):  # another rank's hand was quicker
                os.unlink(each)
    return store


def _items(loader: Any) -> int:
    try:
        return len(loader.dataset)
    except TypeError:
        try:
            return len(loader.sampler)
        except TypeError:
            return UNKNOWN_ITEMS


def clear_away(folder: str, but: str) -> None:
    """Remove the oldest stores that nobody uses, so that only some are left."""
    names = [name for name in os.listdir(folder) if name.startswith("samples-") and name.endswith(".suffice")]
    paths = sorted((os.path.join(folder, name) for name in names), key=_changed_at, reverse=True)
    for path in [each for each in paths if each != but][FILES_KEPT - 1 :]:
        with contextlib.suppress(OSError):
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # who uses it holds a shared one
                os.unlink(path)
                os.unlink(path + ".lock")
            finally:
                os.close(file)


def _changed_at(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0
