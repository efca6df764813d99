"""A loader and functions that open pictures -> what follows the opening, how far it repeats, and what it takes.

To be done in a process of its own (`apart`).
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from ..keeping.pictures import step_of
from ..keeping.values import Draft, NotKeepable, bits
from ..keeping.waiting import OPERATIONS, Story, become, waiting_kind
from .calls import StandIn, key_of
from .generators import Generators
from .tracing import read, some_indices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Optional

    Answer = dict[str, Any]
    Stage = tuple[list[str], Optional[str], int, float]


def is_composed(thing: Any) -> bool:
    """Whether the thing is a list of transforms that are called one after the other."""
    return isinstance(getattr(thing, "transforms", None), list) and callable(thing)


def listen(torch: Any, loader: Any, functions: Sequence[Any], known: Mapping[int, Any], plan: Answer) -> Answer:
    """Read items, and follow the pictures that the first function opens; the others call transforms.

    Returns for each opening the stages of its picture, in JSON: after the opening, after each call on it, after each
    transform up to the first random one. A stage has a label, a fingerprint (None where it can't be kept), a size, and
    the seconds until then.
    """
    generators = Generators(torch, plan["generators"])
    listener = _Listener(torch, generators, {address: name for address, (name, _) in known.items()})
    listener.begin(functions)
    order = list(enumerate(some_indices(loader, plan["most"])[: plan["items"]]))
    for place, index in order[::-1] if plan["reverse"] else order:
        generators.seed(plan["seed"] + place)
        read(loader.dataset, index)
    return {"openings": listener.heard, "opens_file": listener.opens_file, "items": len(order)}


class _Listener:
    """The course of pictures that are followed for the first time."""

    def __init__(self, torch: Any, generators: Generators, names: Mapping[int, str]) -> None:
        self.torch = torch
        self.generators = generators
        self.names = names
        self.pictures: Any = sys.modules["PIL.Image"]
        self.kind = waiting_kind(self.pictures)
        self.opens_file = False
        self.heard: dict[str, list[Stage]] = {}
        self.open: set[str] = set()

    def begin(self, functions: Sequence[Any]) -> None:
        """Stand in for the first, which opens, and the others, which transform."""
        for place, function in enumerate(functions):
            StandIn(function, self.transformed if place else self.opened).put_in()

    def opened(self, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The picture, to be followed."""
        key = key_of(args, kwargs, self.names)
        before = self.generators.state()
        begun = time.perf_counter()
        value = original(*args, **kwargs)
        taken_s = time.perf_counter() - begun
        if key is None or not isinstance(value, self.pictures.Image) or self.generators.moved(before):
            return value
        self.opens_file = self.opens_file or type(value) is not self.pictures.Image
        self.heard[key] = []
        self.open.add(key)
        self._stage(key, ["opened"], value, taken_s)
        story = Story(key, lambda: value, self)
        story.picture()
        return self.kind(story)

    def follows(self, story: Story, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Every step is followed whose arguments can be told."""
        step = step_of(name, args, kwargs)
        if step is None or not self._goes_on(story):
            return False
        begun = time.perf_counter()
        value = getattr(story.picture(), name)(*args, **kwargs)
        self._stage(story.key, list(step), value, time.perf_counter() - begun)
        return True

    def _goes_on(self, story: Story) -> bool:
        """Whether it is the picture that was made last, and nobody has looked at it."""
        return story.key in self.open and len(self.heard[story.key]) == story.steps + 1

    def touched(self, story: Story) -> Any:
        """The course ends here."""
        self.open.discard(story.key)
        return story.picture()

    def _stage(self, key: str, label: list[str], value: Any, seconds: float) -> None:
        try:
            draft = Draft(self.torch, value)
            fingerprint, size = bits(self.torch, value), len(draft.text) + draft.size
        except NotKeepable:
            fingerprint, size = None, 0
        before_s = self.heard[key][-1][3] if self.heard[key] else 0.0
        self.heard[key].append((label, fingerprint, size, before_s + seconds))

    def transformed(self, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The transforms one by one, as long as they do not draw; then all of them, as the job would."""
        fits = len(args) == 2 and not kwargs and id(args[0]) in self.names and is_composed(args[0])
        story = vars_of(args[1]) if fits and type(args[1]) is self.kind else None
        if story is None or not self._goes_on(story):
            return original(*args, **kwargs)
        self._follow_transforms(story, args[0])
        self.open.discard(story.key)
        return original(args[0], become(args[1]))

    def _follow_transforms(self, story: Story, composed: Any) -> None:
        value = story.picture().copy()
        for place, transform in enumerate(composed.transforms):
            before = self.generators.state()
            begun = time.perf_counter()
            value = transform(value)
            seconds = time.perf_counter() - begun
            if self.generators.moved(before):
                return
            self._stage(story.key, [self.names[id(composed)], str(place)], value, seconds)


def vars_of(waiting: Any) -> Story:
    """The story of a picture that waits."""
    return object.__getattribute__(waiting, "_story")  # type: ignore[no-any-return]


def common(one: Answer, other: Answer) -> Answer | None:
    """What both readings have in common in all their openings: the chain to be kept, or None.

    Returns `steps`, `composed` (or "") with `prefix`, of the outcome `size` and `seconds`, and `calls` for an item.
    """
    both = [(stages, other["openings"][key]) for key, stages in one["openings"].items() if key in other["openings"]]
    courses = [stages for pair in both for stages in pair]
    best = 0
    for place in range(min((len(stages) for stages in courses), default=0)):
        labels = [list(stages[place][0]) for stages in courses]
        if any(label != labels[0] for label in labels) or any(a[place][1] != b[place][1] for a, b in both):
            break
        if all(stages[place][1] is not None for stages in courses):
            best = place
    if not best:
        return None  # the opening alone is a function like others
    labels = [list(stage[0]) for stage in courses[0][1 : best + 1]]
    steps = [label for label in labels if label[0] in OPERATIONS]
    calls = len(one["openings"]) / one["items"]
    return {
        "steps": steps,
        "composed": labels[-1][0] if len(labels) > len(steps) else "",
        "prefix": len(labels) - len(steps),
        "size": sum(stages[best][2] for stages in courses) / len(courses),
        "seconds": calls * min(stages[best][3] for stages in courses),
        "calls": calls,
        "opens_file": one["opens_file"],
    }
