"""Functions that an item calls -> whether their results repeat, can be kept, and are worth it.

Three tests together, in processes of their own: the states of all generators before and after each call (a draw counts
even where the result happened not to change), the bits of a second reading in another order under other seeds, and the
digest of the data set's state. What none finds is looked for while the results are in use (`memo`).
"""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

from ..keeping.table import shape_of
from ..keeping.values import Draft, NotKeepable, bits, memory_of
from .calls import StandIn, key_of
from .dependencies import Dependencies, Walk, changed
from .generators import GLOBAL, Generators, found_among
from .tracing import read, some_indices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ..keeping.cache import AnyMemo

    Answer = dict[str, Any]

RECORDS = 400
READ_AGAIN = 4
GENERATORS = 16
DEPTH = 8


def probe(torch: Any, loader: Any, functions: Sequence[Any], known: Mapping[int, Any], plan: Answer) -> Answer:
    """Read items, some of them twice, and listen to the functions.

    `known`: objects by id -> (name, object). `plan`: `items` how many, `most` of how many, `reverse`, `seed`, and the
    job's `generators`. Returns for each function its calls by argument, the fingerprints of the items, and which state
    reading changed.
    """
    generators = Generators(torch, plan["generators"])
    names = {address: name for address, (name, _) in known.items()}
    objects = dict(known.values())
    probes = [_Probe(torch, generators, function, names) for function in functions]
    state = Dependencies(torch, functions, objects, quick=True)
    order = list(enumerate(some_indices(loader, plan["most"])[: plan["items"]]))
    order = order[::-1] if plan["reverse"] else order
    before = state.snapshot()
    for each in probes:
        each.stand_in.put_in()
    items = read_items(torch, loader.dataset, order, generators, plan["seed"])
    for each in probes:
        each.at_first = each.count
    read_items(torch, loader.dataset, order[:READ_AGAIN], generators, plan["seed"])
    for each in probes:
        each.stand_in.take_out()
    return {
        "functions": [each.told(len(order)) for each in probes],
        "items": items,
        "volatile": changed(before, state.snapshot()),
    }


def read_items(torch: Any, dataset: Any, order: Sequence[Any], generators: Generators, seed: int) -> dict[str, str]:
    """Fingerprints of items, each read under a seed of its own, and of the generators' states after each."""
    told = {}
    for place, index in order:
        generators.seed(seed + place)
        item = read(dataset, index)
        told[str(place)] = item_bits(torch, item) + item_bits(torch, generators.state()[:GLOBAL])
    return told


def read_whole(torch: Any, loader: Any, known: Mapping[int, Any], plan: Answer) -> Answer:
    """Read items and collate them: whether one draws, their fingerprints, what reading changed, the batch's shape.

    `row_bytes` is what an item takes in a batch, `tensors` how many a batch has.
    """
    generators = Generators(torch, plan["generators"])
    state = Dependencies(torch, [], dict(known.values()), quick=True)
    order = list(enumerate(some_indices(loader, plan["most"])))
    order = order[::-1] if plan["reverse"] else order
    changes = state.snapshot()
    items, told, moved = [], {}, ""
    begun = time.perf_counter()
    for place, index in order:
        generators.seed(plan["seed"] + place)
        before = generators.state()
        items.append(read(loader.dataset, index))
        moved = moved or generators.moved(before)
        told[str(place)] = item_bits(torch, items[-1])
    item_s = (time.perf_counter() - begun) / max(1, len(items))
    answer = {"moved": moved, "bits": told, "volatile": changed(changes, state.snapshot()), "item_s": item_s}
    answer.update(row_bytes=0, tensors=0)
    try:
        batch = items if loader.batch_sampler is None else loader.collate_fn(items)
        sizes = [leaf.numel() * leaf.element_size() for leaf in _leaves(batch) if isinstance(leaf, torch.Tensor)]
        answer.update(row_bytes=sum(sizes) / max(1, len(items)), tensors=len(sizes))
        return {**answer, "fault": "", "shape": shape_of(torch, batch)}
    except (NotKeepable, RuntimeError, TypeError) as fault:
        return {**answer, "fault": f"its samples make no batch that could be gathered: {fault}"[:200], "shape": None}


def read_through(torch: Any, loader: Any, memos: Sequence[AnyMemo], plan: Answer) -> dict[str, str]:
    """The same with the memos at work; what they keep lies in memory that all processes share."""
    generators = Generators(torch)
    order = list(enumerate(some_indices(loader, plan["most"])[: plan["items"]]))
    for memo in memos:
        memo.put_in()
    return read_items(torch, loader.dataset, order, generators, plan["seed"])


def found_generators(torch: Any, known: Mapping[int, Any]) -> list[Any]:
    """The generators of the job, as far as they can be found; to be called before a fork, for it touches everything."""
    found = found_among(torch, gc.get_objects())
    for _, thing in known.values():
        found += found_among(torch, vars(thing).values())
    return list({id(each): each for each in found}.values())[:GENERATORS]


def item_bits(torch: Any, item: Any) -> str:
    """A fingerprint of any item; of what can't be kept, by its attributes."""
    try:
        return bits(torch, item)
    except NotKeepable:
        walk = Walk(torch, quick=False)
        walk.feed(item, DEPTH)
        return walk.hash.hexdigest()


class _Probe:
    """Listens to one function."""

    def __init__(self, torch: Any, generators: Generators, function: Any, names: Mapping[int, str]) -> None:
        self.torch = torch
        self.generators = generators
        self.names = names
        self.stand_in = StandIn(function, self.call)
        self.calls: dict[str, list[str]] = {}
        self.memory: dict[str, set[Any]] = {}
        self.kept: list[Any] = []
        self.moved = self.unkeepable = ""
        self.own_memory = False
        self.seconds = 0.0
        self.bytes = self.count = self.at_first = 0
        self.owners: set[str] = set()

    def call(self, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call, and write down what is to be known of it."""
        key = key_of(args, kwargs, self.names)
        if key is None or self.count >= RECORDS:
            return original(*args, **kwargs)
        before = self.generators.state()
        begun = time.perf_counter()
        value = original(*args, **kwargs)
        self.seconds += time.perf_counter() - begun
        self.count += 1
        self.moved = self.moved or self.generators.moved(before)
        if args and id(args[0]) in self.names:
            self.owners.add(self.names[id(args[0])])
        self._look_at(key, value)
        return value

    def _look_at(self, key: str, value: Any) -> None:
        try:
            draft = Draft(self.torch, value)
            self.calls.setdefault(key, []).append(bits(self.torch, value))
        except NotKeepable as why:
            self.unkeepable = self.unkeepable or str(why)
            return
        self.bytes += len(draft.text) + draft.size
        self.kept.append(value)  # what is freed could be handed out again by the allocator
        places = {memory_of(each) for each in _leaves(value)} - {None}
        self.own_memory = self.own_memory or bool(places & self.memory.setdefault(key, set()))
        self.memory[key] |= places

    def told(self, items: int) -> Answer:
        """What was heard, in JSON; `again`: how often it was called for an item read again, over how often at first."""
        each = max(1, self.count)
        at_first = self.at_first / items
        again = (self.count - self.at_first) / min(READ_AGAIN, items)
        return {
            "again": again / at_first if at_first else 1.0,
            "calls": self.calls,
            "count": self.count,
            "moved": self.moved,
            "unkeepable": self.unkeepable,
            "own_memory": self.own_memory,
            "call_s": self.seconds / each,
            "bytes": self.bytes / each,
            "owners": sorted(self.owners),
        }


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in _leaves(each)]
    if isinstance(value, (list, tuple)):
        return [leaf for each in value for leaf in _leaves(each)]
    return [value]
