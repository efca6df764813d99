"""A loader -> the calls of its data set whose results may be kept, found and tested in processes of their own."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING

from . import apart, probing, tracing
from .calls import can_stand_in
from .choice import WORTH_IT, Chosen, choose, covered, doubtful, may_be_touched
from .listening import common, is_composed, listen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from ..keeping.cache import AnyMemo

    Answer = dict[str, Any]
    Known = dict[int, Any]
    Look = Callable[[Any, Any, Sequence[Any], Known, Answer], Answer]

ITEMS = 12
TRACE_S = 0.4  # how long reading for the trace may take, once enough was read
LIMIT_S = 60.0  # of one process
OBJECTS = 64
DEPTH = 3
SEEDS = 1000, 777_000


class Study:
    """What was found out about one loader's data set; `reason` says why nothing is chosen, if so.

    `objects` are the data set and what it consists of, by the names under which they are reported; `opened` are files
    that were read and that no call names of what is kept.
    """

    def __init__(self, torch: Any, loader: Any, name: str) -> None:
        self.torch = torch
        self.loader = loader
        self.objects = objects_of(torch, loader.dataset, name)
        self.chosen: list[Chosen] = []
        self.pictures: Pictures | None = None
        self.doubtful: list[Any] = []
        self.reason = ""
        self.volatile: set[str] = set()
        self.item_s = 0.0
        self.items = 0
        self.reference: Answer = {}
        self.generators: list[Any] = []
        self.opened: list[str] = []

    def carry_out(self, live: Sequence[AnyMemo] = (), before: Sequence[Chosen] = ()) -> None:
        """Find what can be kept; `live` are memos at work, set aside where we look, `before` what was chosen elsewhere.

        Raises:
            apart.Failed: if the samples can't be read in a process of their own.
        """
        known = {id(thing): (name, thing) for name, thing in self.objects.items()}
        names = {address: name for address, (name, _) in known.items()}

        def traced() -> Answer:
            _set_aside(live)
            return tracing.trace(self.loader, names, TRACE_S, ITEMS)

        trace = apart.run(self.torch, traced, LIMIT_S)
        functions = _resolve(trace)
        self.item_s, self.items = trace["item_s"], trace["items"]
        self.chosen = covered(trace, functions, before)
        if not functions:
            self.reason = "what takes long is done in no function that could be told apart by its arguments"
        elif not self.chosen:
            self._probe(trace, functions, known, live)
            self._listen(trace, functions, known, live)
        kept = [each.function for each in self.chosen] + ([self.pictures.function] if self.pictures is not None else [])
        nodes = [node for node in trace["nodes"] if node["function"] is not None]
        named = {path for node in nodes if functions[node["function"]] in kept for path in node["named"]}
        self.opened = [path for path in trace["opened"] if path not in named]

    def _twice(self, look: Look, functions: Sequence[Any], known: Known, live: Sequence[AnyMemo]) -> list[Answer]:
        found = self.generators = self.generators or probing.found_generators(self.torch, known)

        def looked(*, reverse: bool, seed: int) -> Answer:
            _set_aside(live)
            plan = {"items": self.items, "most": ITEMS, "reverse": reverse, "seed": seed, "generators": found}
            return look(self.torch, self.loader, functions, known, plan)

        return twice(self.torch, looked)

    def _listen(self, trace: Answer, functions: Sequence[Any], known: Known, live: Sequence[AnyMemo]) -> None:
        """Where pictures are opened outside of what is kept: keep what the first transforms make of them."""
        nodes = trace["nodes"]
        place = opening(nodes)
        if place is None:
            return
        opener = functions[nodes[place]["function"]]
        around = {
            functions[nodes[each]["function"]] for each in above(nodes, place) if nodes[each]["function"] is not None
        }
        if any(each.function in around for each in self.chosen):
            return
        told = common(*self._twice(listen, [opener, *calls_of(self.objects.values())], known, live))
        if told is None:
            return
        told.update(share=min(1.0, told["seconds"] / self.item_s), files=nodes[place]["files"])
        if told["share"] >= WORTH_IT:
            within = {
                functions[node["function"]]
                for each, node in enumerate(nodes)
                if node["function"] is not None and place in above(nodes, each)
            }
            self.pictures = Pictures(opener, told)
            self.chosen = [each for each in self.chosen if each.function not in {opener, *within}]
            self.reason = ""

    def _probe(self, trace: Answer, functions: Sequence[Any], known: Known, live: Sequence[AnyMemo]) -> None:
        answers = self._twice(probing.probe, functions, known, live)
        self.volatile = {*answers[0]["volatile"], *answers[1]["volatile"]}
        self.reference = answers[0]["items"]
        self.doubtful = doubtful(functions, answers[0], answers[1])
        self.chosen, self.reason = choose(trace, functions, answers[0], answers[1])

    def told(self) -> Answer:
        """What was found out, in JSON."""
        return {
            "chosen": [{**each.told(), "function": tracing.reference(each.function)} for each in self.chosen],
            "pictures": None if self.pictures is None else self.pictures.told(),
            "doubtful": [tracing.reference(each) for each in self.doubtful],
            "volatile": sorted(self.volatile),
            "item_s": self.item_s,
            "opened": self.opened,
            "reason": self.reason,
        }

    def remember(self, told: Answer) -> bool:
        """Take over what an earlier process found out of the same; whether there is such, with all of its functions."""
        try:
            return self._remember(told)
        except (KeyError, TypeError, AttributeError):  # somebody else's text
            return False

    def _remember(self, told: Answer) -> bool:
        chosen = [(tracing.find(each["function"]), each) for each in told["chosen"]]
        doubtful = [tracing.find(each) for each in told["doubtful"]]
        if any(function is None for function, _ in chosen) or None in doubtful:
            return False
        if told["pictures"] is not None:
            opener = tracing.find(told["pictures"]["function"])
            composed = told["pictures"]["composed"]
            if opener is None or (composed and not is_composed(self.objects.get(composed))):
                return False
            self.pictures = Pictures(opener, told["pictures"])
        self.chosen, self.doubtful = [Chosen(function, each) for function, each in chosen], doubtful
        self.volatile, self.item_s, self.reason = set(told["volatile"]), told["item_s"], told["reason"]
        self.opened = list(told["opened"])
        return True

    def equal_through(self, memos: Sequence[AnyMemo]) -> str:
        """Read the items through the memos, once to fill them and once from them; why not equal to the plain ones."""
        plan = {"items": self.items, "most": ITEMS, "seed": SEEDS[0]}

        def differing(through: Sequence[AnyMemo]) -> int:
            read = functools.partial(probing.read_through, self.torch, self.loader, through, plan)
            told = apart.run(self.torch, read, LIMIT_S)
            return sum(told.get(place) != bits for place, bits in self.reference.items())

        differing(memos)
        differ = differing(memos)
        if not differ:
            return ""
        if differing(()):
            return "its samples differ from run to run under the same seeds, so that nothing can be proven of them"
        return f"{differ} of {len(self.reference)} samples came out differently with the results kept"


def twice(torch: Any, look: Callable[..., Answer]) -> list[Answer]:
    """Two readings apart, side by side: `look(reverse=…, seed=…)` in opposite orders and under different seeds.

    Raises:
        apart.Failed: if one came to no answer.
    """
    manners = [functools.partial(look, reverse=reverse, seed=seed) for reverse, seed in zip((False, True), SEEDS)]
    return apart.answers([apart.Apart(torch, manner, LIMIT_S) for manner in manners])


class Pictures:
    """What was found out about a function that opens pictures, and about what follows it: `told` by `common`."""

    def __init__(self, function: Any, told: Answer) -> None:
        self.function = function
        self.share: float = told["share"]
        self.calls: float = told["calls"]
        self.size: float = told["size"]
        self.found = told

    def told(self) -> Answer:
        """All of it, in JSON."""
        return {**self.found, "function": tracing.reference(self.function)}


def above(nodes: Sequence[Answer], place: int) -> list[int]:
    """The calls within which a call is made."""
    parent = nodes[place]["parent"]
    return [] if parent < 0 else [parent, *above(nodes, parent)]


def opening(nodes: Sequence[Answer]) -> int | None:
    """Where the outermost function is called that opens pictures by their names; of several, what takes longest."""
    opens = {
        place
        for place, each in enumerate(nodes)
        if each["picture"] and each["plain"] and each["files"] and each["function"] is not None
    }
    found = [place for place in opens if not opens.intersection(above(nodes, place))]
    return max(sorted(found), key=lambda place: float(nodes[place]["share"]), default=None)


def calls_of(objects: Iterable[Any]) -> list[Any]:
    """The functions by which the transforms among the objects are called."""
    kinds = {type(thing) for thing in objects if is_composed(thing)}
    calls = [getattr(kind, "forward" if hasattr(kind, "_call_impl") else "__call__", None) for kind in kinds]
    return [call for call in dict.fromkeys(calls) if can_stand_in(call) and may_be_touched(call)]


def objects_of(torch: Any, dataset: Any, name: str) -> dict[str, Any]:
    """The data set, and the objects with attributes that it consists of, named by the way that leads to them."""
    found: dict[str, Any] = {}
    seen: set[int] = set()
    waiting = [(name, dataset, 0)]
    while waiting and len(found) < OBJECTS:
        path, thing, depth = waiting.pop(0)
        if id(thing) in seen or not _consists_of_attributes(torch, thing):
            continue
        seen.add(id(thing))
        found[path] = thing
        for attribute, value in list(vars(thing).items()) if depth < DEPTH else ():
            waiting.append((f"{path}.{attribute}", value, depth + 1))
            if isinstance(value, (list, tuple)) and len(value) <= OBJECTS:
                waiting += [(f"{path}.{attribute}[{i}]", each, depth + 1) for i, each in enumerate(value)]
    return found


def _consists_of_attributes(torch: Any, thing: Any) -> bool:
    kind = type(thing)
    if isinstance(thing, (torch.Tensor, torch.Generator, type)) or not isinstance(
        getattr(thing, "__dict__", None), dict
    ):
        return False
    return kind.__module__ not in ("builtins", "types", "functools", "_thread", "random", "numpy")


def _resolve(trace: Answer) -> list[Any]:
    """The functions that the nodes name; each node's `function` becomes its place among them, or None."""
    functions: list[Any] = []
    for node in trace["nodes"]:
        function = None if node["function"] is None or not node["plain"] else tracing.find(node["function"])
        if function is None or not may_be_touched(function):
            node["function"] = None
            continue
        if function not in functions:
            functions.append(function)
        node["function"] = functions.index(function)
    return functions


def _set_aside(live: Sequence[AnyMemo]) -> None:
    sys.setprofile(None)
    for memo in live:
        memo.take_out()
