"""What was traced and probed of a data set -> the calls worth keeping the results of, or why there are none."""

from __future__ import annotations

import os
import sys
import sysconfig
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Answer = dict[str, Any]

HIT_S = 40e-6  # what finding a result takes
HIT_BYTES_PER_S = 1.5e9  # and what copying it does
GAIN = 3.0  # how many times longer a call must take than that
NEARLY_ALL = 0.85  # of a call's time; who takes so much and names the file is known better by its arguments
WORTH_IT = 0.1  # of an item's time
OWN_CACHE = 0.5  # of the calls at first; fewer for a sample that is read again, and the job keeps what it has read
NOT_TOUCHED = ("torch", "numpy", "suffice_agent", "suffice")


class Chosen:
    """A function whose results are to be kept: `share` of an item's time, `calls` for an item, `size` of a result.

    `files` are the places of arguments that name files, `owners` the objects whose method it is.
    """

    def __init__(self, function: Any, told: Answer) -> None:
        self.function = function
        self.share: float = told["share"]
        self.calls: float = told["calls"]
        self.size: float = told["size"]
        self.files: list[int] = list(told["files"])
        self.owners: list[str] = list(told["owners"])

    def told(self) -> Answer:
        """All but the function, in JSON."""
        return {name: value for name, value in vars(self).items() if name != "function"}


def may_be_touched(function: Any) -> bool:
    """Whether the function is the user's or of a library that makes samples: the rest of the job needs the others."""
    path = function.__code__.co_filename
    standard = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), os.path.dirname(os.__file__))
    packages = [each.rstrip("/") + "/" for each in sys.path if each.endswith(("site-packages", "dist-packages"))]
    if function.__module__.split(".")[0] in NOT_TOUCHED:
        return False
    return path.startswith(tuple(packages)) or not path.startswith(("<frozen", *(f"{each}/" for each in standard)))


def choose(trace: Answer, functions: Sequence[Any], one: Answer, other: Answer) -> tuple[list[Chosen], str]:
    """The chosen, and if there are none the reason.

    Args:
        trace: the answer of `tracing.trace`, each node's `function` replaced by its place in `functions`, or None.
        functions: what was probed.
        one: the answer of `probing.probe` for a reading.
        other: the same for another order, under other seeds.
    """
    nodes = trace["nodes"]
    faults = [
        _fault(one["functions"][place], other["functions"][place]) if place is not None else "is not ours to change"
        for place in (node["function"] for node in nodes)
    ]
    chosen: dict[int, Chosen] = {}
    for root in (place for place, node in enumerate(nodes) if node["parent"] < 0):
        for place in _outermost(root, nodes, faults):
            at = nodes[place]["function"]
            calls = nodes[place]["calls"] / trace["items"]
            if at in chosen:
                chosen[at].share += nodes[place]["share"]
                chosen[at].calls += calls
                chosen[at].files = [each for each in chosen[at].files if each in nodes[place]["files"]]
            else:
                heard = one["functions"][at]
                told = {"calls": calls, "size": heard["bytes"], "owners": heard["owners"]}
                chosen[at] = Chosen(functions[at], {**nodes[place], **told})
    share = sum(each.share for each in chosen.values())
    if share >= WORTH_IT:
        return list(chosen.values()), ""
    return [], _why_none(nodes, functions, faults, share)


def covered(trace: Answer, functions: Sequence[Any], before: Sequence[Chosen]) -> list[Chosen]:
    """The functions chosen for another data set, if nearly all of an item's time goes into them here as well."""
    earlier = {each.function: each for each in before if not each.owners}
    found: list[Chosen] = []
    for node in trace["nodes"]:
        function = None if node["function"] is None else functions[node["function"]]
        if node["plain"] and function in earlier and function not in [each.function for each in found]:
            known = earlier[function]
            told = {"calls": node["calls"] / trace["items"], "size": known.size, "owners": [], "files": known.files}
            found.append(Chosen(function, {**told, "share": node["share"]}))
    return found if sum(each.share for each in found) >= NEARLY_ALL else []


def doubtful(functions: Sequence[Any], one: Answer, other: Answer) -> list[Any]:
    """The functions that are no methods and drew or did not repeat: nobody's results of them may be kept."""
    found = []
    for function, first, second in zip(functions, one["functions"], other["functions"]):
        both = [key for key in first["calls"] if key in second["calls"]]
        differs = any(len({*first["calls"][key], *second["calls"][key]}) > 1 for key in both)
        if not first["owners"] and (first["moved"] or second["moved"] or differs):
            found.append(function)
    return found


def _fault(one: Answer, other: Answer) -> str:
    """Why a function's results can't be kept, or nothing."""
    both = [key for key in one["calls"] if key in other["calls"]]
    differing = sum(len({*one["calls"][key], *other["calls"][key]}) > 1 for key in both)
    hit_s = HIT_S + one["bytes"] / HIT_BYTES_PER_S
    moved, unkeepable = one["moved"] or other["moved"], one["unkeepable"] or other["unkeepable"]
    return _first(
        (moved, f"draws random numbers (from {moved})"),
        (unkeepable, f"returns what can't be kept: {unkeepable}"),
        (not both, "is called with other arguments each time"),
        (differing, f"returned something else when called again, in {differing} of {len(both)} cases"),
        (one["own_memory"] or other["own_memory"], "hands out memory that it goes on using"),
        (
            max(one["again"], other["again"]) < OWN_CACHE,
            "is called once for a sample: the job keeps its results by itself",
        ),
        (min(one["call_s"], other["call_s"]) < GAIN * hit_s, "takes hardly longer than to find and copy its result"),
    )


def _first(*cases: tuple[Any, str]) -> str:
    return next((text for case, text in cases if case), "")


def _outermost(place: int, nodes: Sequence[Answer], faults: Sequence[str]) -> list[int]:
    """The first on each way down that can be kept; of one that only passes a file's name on, what it passes it to."""
    below = [child for child, node in enumerate(nodes) if node["parent"] == place]
    if not nodes[place]["plain"] or faults[place]:
        return [each for child in below for each in _outermost(child, nodes, faults)]
    if not nodes[place]["files"]:
        inner = [each for child in below for each in _outermost(child, nodes, faults)]
        for each in inner:
            if nodes[each]["files"] and nodes[each]["share"] >= NEARLY_ALL * nodes[place]["share"]:
                return [each]
    return [place]


def _why_none(nodes: Sequence[Answer], functions: Sequence[Any], faults: Sequence[str], share: float) -> str:
    told: dict[str, str] = {}
    for place, node in enumerate(nodes):
        at = node["function"]
        if at is not None and node["plain"] and faults[place]:
            told.setdefault(functions[at].__qualname__, f"{functions[at].__qualname__} {faults[place]}")
    if told:
        return "; ".join(list(told.values())[:3])
    if share:
        return f"what repeats takes {share:.0%} of a sample's time, which is too little"
    return "what takes long is done in one piece with what can't be told apart by its arguments"
