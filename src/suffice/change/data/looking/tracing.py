"""A data set and some indices -> which functions are called for an item, with what arguments, and what each costs.

To be done in a process of its own (`apart`): reading items draws, counts and writes.
"""

from __future__ import annotations

import gc
import itertools
import os
import sys
import time
import types
from typing import TYPE_CHECKING

from .calls import can_stand_in, is_file, key_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Answer = dict[str, Any]

LEAST_SHARE = 0.03  # of an item's time; what takes less is not looked at
LEAST_CALL_S = 50e-6
LEAST_ITEMS = 8
DEPTH = 30
OPENED = 100
SYSTEM = ("/proc/", "/sys/", "/dev/", *(os.path.join(each, "") for each in (sys.prefix, sys.base_prefix)))
FROM_SAMPLER = 4096


def read(dataset: Any, index: Any) -> Any:
    """One item, as a loader's fetcher reads it."""
    several = getattr(dataset, "__getitems__", None)
    return several([index])[0] if callable(several) else dataset[index]


def some_indices(loader: Any, count: int) -> list[Any]:
    """Indices that the loader asks for, spread over what it asks for first; for a process of our own: it draws."""
    sampler = loader._index_sampler
    asked = itertools.islice(iter(sampler), FROM_SAMPLER)
    flat = (
        asked if loader.batch_sampler is None else itertools.islice(itertools.chain.from_iterable(asked), FROM_SAMPLER)
    )
    found = list(dict.fromkeys(flat))
    return [found[len(found) * i // count] for i in range(count)] if len(found) > count else found


class Tracer:
    """Listens to calls. A node is a function called from a certain other one; `known` are objects by id."""

    def __init__(self, known: Mapping[int, str]) -> None:
        self.known = known
        self.nodes: list[Answer] = []
        self.places: dict[tuple[int, types.CodeType], int] = {}
        self.stack: list[tuple[int, float]] = []

    def __call__(self, frame: Any, event: str, argument: Any) -> None:
        """What `sys.setprofile` is given."""
        if event == "call":
            self.stack.append((self._node(frame), time.perf_counter()))
        elif event == "return" and self.stack:
            node, begun = self.stack.pop()
            if node >= 0:
                told = self.nodes[node]
                told["now_s"] = (told["now_s"] or 0.0) + time.perf_counter() - begun
                if told["files"] and not told["picture"]:
                    told["picture"] = _is_picture(argument)

    def _node(self, frame: Any) -> int:
        parent = self.stack[-1][0] if self.stack else -1
        if len(self.stack) > DEPTH or (self.stack and parent < 0):
            return -1
        key = parent, frame.f_code
        place = self.places.get(key)
        if place is None:
            place = self.places[key] = len(self.nodes)
            told: Answer = {"parent": parent, "calls": 0, "now_s": None, "items_s": []}
            self.nodes.append({**told, "plain": True, "files": None, "named": set(), "picture": False})
        node = self.nodes[place]
        node["calls"] += 1
        if node["plain"]:
            self._look_at(frame, node)
        return place

    def item_ends(self) -> None:
        """What was called since the last one was called for one item."""
        self.stack.clear()
        for node in self.nodes:
            if node["now_s"] is not None:
                node["items_s"].append(node["now_s"])
                node["now_s"] = None

    def _look_at(self, frame: Any, node: Answer) -> None:
        code = frame.f_code
        count = code.co_argcount + code.co_kwonlyargcount
        count += bool(code.co_flags & 0x04) + bool(code.co_flags & 0x08)
        given = [frame.f_locals.get(name) for name in code.co_varnames[:count]]
        if code.co_flags & 0x08 and not given[-1]:
            given.pop()  # no arguments by name
        if key_of(tuple(given), {}, self.known) is None:
            node["plain"] = False
            return
        files = {place for place, each in enumerate(given[: code.co_argcount]) if is_file(each)}
        node["named"].update(os.path.abspath(os.fsdecode(given[place])) for place in files)
        node["files"] = files if node["files"] is None else node["files"] & files


def trace(loader: Any, known: Mapping[int, str], limit_s: float, most: int) -> Answer:
    """What is called for an item: how many were read, the seconds of an item, and the nodes that matter.

    `opened` are the files that were.

    A node tells its parent's place, its function (module, name, line), calls, share of the items' time, whether its
    arguments are plain, which of them name files, and which files; and whether it returns a PIL image.
    """
    dataset = loader.dataset
    indices = some_indices(loader, most)
    tracer = Tracer(known)
    begun = time.perf_counter()
    done = 0
    read(dataset, indices[0])  # imports, and what is read once
    opened = _listen_to_files()
    for index in indices:
        sys.setprofile(tracer)
        try:
            read(dataset, index)
        finally:
            sys.setprofile(None)
        tracer.item_ends()
        done += 1
        if done >= LEAST_ITEMS and time.perf_counter() - begun > limit_s:
            break
    for node in tracer.nodes:  # by the shortest: neighbours on the machine can only lengthen
        node["seconds"] = len(node["items_s"]) * min(node["items_s"], default=0.0)
    total = sum(node["seconds"] for node in tracer.nodes if node["parent"] < 0) or 1e-9
    files = sorted(path for path in opened if not path.startswith(SYSTEM))
    return {"items": done, "item_s": total / done, "nodes": _told(tracer, total), "opened": files[:OPENED]}


def _listen_to_files() -> set[str]:
    """A set that fills with the files that are opened; there is no way back, so only in a process of our own."""
    opened: set[str] = set()

    def heard(event: str, arguments: Any) -> None:
        if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
            opened.add(os.path.abspath(os.fsdecode(arguments[0])))

    sys.addaudithook(heard)
    return opened


def _told(tracer: Tracer, total: float) -> list[Answer]:
    codes = {place: code for (_, code), place in tracer.places.items()}
    matter = [
        place
        for place, node in enumerate(tracer.nodes)
        if node["seconds"] >= max(LEAST_SHARE * total, LEAST_CALL_S * node["calls"]) or node["picture"]
    ]
    functions = _functions({codes[place] for place in matter})
    places = {place: new for new, place in enumerate(matter)}
    told = []
    for place in matter:
        node = tracer.nodes[place]
        told.append(
            {
                "parent": places.get(node["parent"], -1),
                "calls": node["calls"],
                "share": node["seconds"] / total,
                "plain": node["plain"],
                "files": sorted(node["files"] or ()),
                "picture": node["picture"],
                "named": sorted(node["named"]),
                "function": None if codes[place] is read.__code__ else reference(functions.get(codes[place])),
            }
        )
    return told


def _is_picture(value: Any) -> bool:
    pictures = sys.modules.get("PIL.Image")
    return pictures is not None and issubclass(type(value), pictures.Image)


def _functions(codes: set[types.CodeType]) -> dict[types.CodeType, Any]:
    """The function of each code that is one function's only, and can be stood in for."""
    gc.collect()  # what nobody holds any more is no function
    sharing: dict[types.CodeType, list[Any]] = {code: [] for code in codes}
    for thing in gc.get_referrers(*codes) if codes else ():
        if can_stand_in(thing) and thing.__code__ in codes:
            sharing[thing.__code__].append(thing)
    return {code: those[0] for code, those in sharing.items() if len(those) == 1}


def reference(function: Any) -> Answer | None:
    """By what a function can be found again, by this process or another."""
    if function is None:
        return None
    line = function.__code__.co_firstlineno
    return {"module": function.__module__, "name": function.__qualname__, "line": line}


def find(told: Answer) -> Any:
    """The function that a reference tells of, or None."""
    thing: Any = sys.modules.get(str(told["module"]))
    for name in told["name"].split("."):
        thing = vars(thing).get(name) if hasattr(thing, "__dict__") else None
    thing = getattr(thing, "__func__", thing)
    if _reference_is(thing, told):
        return thing
    several = [each for each in gc.get_objects() if can_stand_in(each) and _reference_is(each, told)]
    return several[0] if len(several) == 1 else None


def _reference_is(thing: Any, wanted: Answer) -> bool:
    told = reference(thing) if isinstance(thing, types.FunctionType) else None
    return told is not None and told == wanted
