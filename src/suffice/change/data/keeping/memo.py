"""A function whose results repeat -> the same results from a store; now and then one is worked out again and compared.

A call is known by what the function is, by its arguments, and by size and time of the files that these name. Whatever
goes wrong with the store, the caller gets what the function returns.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import threading
import time
import weakref
from typing import TYPE_CHECKING

from ..looking.calls import StandIn, key_of, stamp_of
from ..looking.dependencies import original_of
from .store import MISSING
from .values import Draft, NotKeepable, Reader, bits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from ..looking.generators import Generators
    from .board import Board
    from .store import Store

    Place = tuple[int, int]

COUNTS = ("hits", "hit_ns", "misses", "miss_ns", "filled", "checked", "bypassed")
CHECK_EVERY = 200
SHORT = frozenset((str, int, pathlib.PosixPath))
RECENT = 200_000
SCALARS = (int, float, bool, str, type(None))


class Local(threading.local):
    """What a thread is doing: `busy` with working a result out, which what it calls is a part of."""

    busy = False


class Shelf:
    """What the memos of one change share: the store, the board, the generators of the job."""

    def __init__(self, torch: Any, store: Store, board: Board, generators: Generators) -> None:
        self.torch = torch
        self.store = store
        self.board = board
        self.generators = generators
        self.reader = Reader(torch)
        self.local = Local()

    def alone(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What the work returns; what it calls is kept as a part of this, and not once more for itself."""
        self.local.busy = True
        try:
            return work(*args, **kwargs)
        finally:
            self.local.busy = False

    def keep(self, key: bytes, value: Any, begun_ns: int) -> None:
        """Put a value into the store that took from then till now to work out."""
        try:
            if not self.store.full and self.store.put(key, Draft(self.torch, value)):
                self.board.count("filled")
        except NotKeepable:
            pass
        except Exception as error:
            self.failed(error)
        self.board.count_timed("misses", begun_ns)

    def checked(self, name: str, kept: Any, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Work it out again, as if nobody had, and compare; what is worked out is what the job gets."""
        self.board.count("checked")
        before = self.generators.state()
        fresh = self.alone(work, *args, **kwargs)
        try:
            moved = self.generators.moved(before)
            if moved:
                self.board.give_up(f"{name} draws from {moved} after all")
            elif bits(self.torch, fresh) != bits(self.torch, kept):
                self.board.give_up(f"{name} returned something else than before for the same arguments")
        except Exception as error:
            self.board.give_up(f"{name} could not be checked: {type(error).__name__}: {error}")
        return fresh

    def failed(self, error: Exception) -> None:
        """Something of ours went wrong: the job goes on without us."""
        self.board.give_up(f"the cache failed: {type(error).__name__}: {error}")


class Owner:
    """An object that has memoised methods: `name` tells its state, `volatile` are attributes that reading changes."""

    def __init__(self, thing: Any, name: str, shown: str, volatile: Iterable[str]) -> None:
        try:
            self.thing: Callable[[], Any] = weakref.ref(thing)
        except TypeError:
            self.thing = lambda: thing
        self.name = name
        self.shown = shown
        self.volatile = frozenset(volatile)
        self.first = self.plain(thing)

    def plain(self, thing: Any) -> list[Any]:
        """The plain attributes, which are cheap enough to be looked at in every call."""
        return [
            (name, value)
            for name, value in thing.__dict__.items()
            if type(value) in SCALARS and name not in self.volatile
        ]


class Key:
    """A call of a function -> what its result is kept under.

    `prefix` names what the function depends on, `files` are the places of arguments that name files, `owners` the
    objects whose method it may be, by their ids; none for a function that is no method.
    """

    def __init__(
        self, board: Board, function: Any, prefix: str, files: Sequence[int], owners: Mapping[int, Owner]
    ) -> None:
        names = original_of(function).__code__.co_varnames
        self.board = board
        self.prefix = prefix
        self.files = tuple(files)
        self.names = names
        self.owners = dict(owners)
        self.known = {address: owner.name for address, owner in owners.items()}

    def of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes | None:
        """16 bytes, or None where the call can't be told from others, or may not be answered from the store."""
        if self.owners and not self.guarded(args[0] if args else None):
            return None
        told = key_of(args, kwargs, self.known)
        if told is None:
            return None
        for place in self.files:
            stamp = stamp_of(args[place] if place < len(args) else kwargs.get(self.names[place]))
            if not stamp:
                return None
            told += "\0" + stamp
        return hashlib.blake2b((self.prefix + told).encode(errors="surrogatepass"), digest_size=16).digest()

    def guarded(self, self_object: Any) -> bool:
        """Whether the object is one that we know, with its plain attributes as they were when we first met it."""
        owner = self.owners.get(id(self_object))
        if owner is None or owner.thing() is not self_object:
            return False
        plain = owner.plain(self_object)
        if plain != owner.first:
            names = sorted({name for name, _ in set(plain) ^ set(owner.first)})
            self.board.give_up(f"{owner.shown} changed while it was read: {', '.join(names)}")
            return False
        return True


class Recent:
    """Calls of one plain argument, which were answered before -> where the answer lies, if the file is as it was.

    A few microseconds: most of what finding an answer takes is making up its key.
    """

    def __init__(self, key: Key) -> None:
        self.key = key
        self.places: dict[Any, tuple[Any, Place]] = {}
        self.has_file = bool(key.files)
        # The argument that names the file has to be the only one, and whole.
        self.serves = key.files in ((), (1 if key.owners else 0,))

    def short(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The call in short, or None where it can't be told so shortly, or may not be answered."""
        if kwargs or not self.serves:
            return None
        if not self.key.owners:
            return args[0] if len(args) == 1 and type(args[0]) in SHORT else None
        if len(args) != 2 or type(args[1]) not in SHORT or not self.key.guarded(args[0]):
            return None
        return id(args[0]), args[1]

    def place(self, short: Any) -> Place | None:
        """Where the answer to that call lies, if it is known."""
        found = self.places.get(short)
        if found is None or (self.has_file and (found[0] is None or self._stamp(short) != found[0])):
            return None
        return found[1]

    def remember(self, short: Any, place: Place) -> None:
        """The answer to that call lies there."""
        if len(self.places) < RECENT and (not self.has_file or os.path.isabs(self._path(short))):
            self.places[short] = (self._stamp(short) if self.has_file else None), place

    def _path(self, short: Any) -> Any:
        return short[1] if self.key.owners else short

    def _stamp(self, short: Any) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path(short))
        except (OSError, ValueError):
            return None
        return found.st_mtime_ns, found.st_size


class Turns:
    """When the next hit is to be checked: one in 200, or fewer where that would take more than 0.5 % of the time.

    A check costs what was saved, which may be a hundred hits. The samples that are checked are never the same ones in
    every epoch.
    """

    def __init__(self) -> None:
        self.left = CHECK_EVERY // 2
        self.state = os.getpid()
        self.checking_since_ns = self.not_before_ns = 0

    def come(self) -> bool:
        """Whether it is this one."""
        if self.checking_since_ns:  # the one before was: what came of it is done by now
            now_ns = time.perf_counter_ns()
            self.not_before_ns = now_ns + CHECK_EVERY * (now_ns - self.checking_since_ns)
            self.checking_since_ns = 0
        self.left -= 1
        if self.left > 0 or time.perf_counter_ns() < self.not_before_ns:
            return False
        self.state = (self.state * 1103515245 + 12345) % 2**31
        self.left = 1 + CHECK_EVERY // 2 + self.state // 65536 % CHECK_EVERY
        self.checking_since_ns = time.perf_counter_ns()
        return True


class Memo:
    """One function, and what its results are kept under."""

    def __init__(self, shelf: Shelf, function: Any, key: Key) -> None:
        self.shelf = shelf
        self.name = f"{function.__module__}.{function.__qualname__}"
        self.key = key
        self.recent = Recent(key)
        self.turns = Turns()
        self.stand_in = StandIn(function, self.call)

    def put_in(self) -> None:
        """From now on calls of the function are ours."""
        self.stand_in.put_in()

    def take_out(self) -> None:
        """The function is as it was written."""
        self.stand_in.take_out()

    def call(self, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What `original` returns for these arguments, from the store where it is there."""
        shelf = self.shelf
        if not shelf.board.on or shelf.local.busy:
            return original(*args, **kwargs)
        begun = time.perf_counter_ns()
        key, value = self._looked_up(args, kwargs)
        if value is MISSING:
            if key is None:
                shelf.board.count("bypassed")
                return original(*args, **kwargs)
            fresh = shelf.alone(original, *args, **kwargs)
            shelf.keep(key, fresh, begun)
            self._remember(key, args, kwargs)
            return fresh
        if self.turns.come():
            return shelf.checked(self.name, value, original, *args, **kwargs)
        shelf.board.count_timed("hits", begun)
        return value

    def _remember(self, key: bytes, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Where the answer lies that was just kept, if the call is still what it was before it was worked out."""
        try:
            short = self.recent.short(args, kwargs)
            place = None if short is None or self.key.of(args, kwargs) != key else self.shelf.store.find(key)
            if place is not None:
                self.recent.remember(short, place)
        except Exception as error:
            self.shelf.failed(error)

    def _looked_up(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bytes | None, Any]:
        """The call's key, if it was needed and can be told; and its value or `MISSING`."""
        store = self.shelf.store
        try:
            short = self.recent.short(args, kwargs)
            place = None if short is None else self.recent.place(short)
            if place is not None:
                return None, store.read(place, self.shelf.reader)
            key = self.key.of(args, kwargs)
            place = None if key is None else store.find(key)
            if place is None:
                return key, MISSING
            if short is not None:
                self.recent.remember(short, place)
            return key, store.read(place, self.shelf.reader)
        except Exception as error:
            self.shelf.failed(error)
            return None, MISSING
