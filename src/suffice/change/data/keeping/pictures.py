"""A function that opens a picture and the transforms that follow -> what the first of these make of each file, kept.

The transforms from the first random one on are called as ever, with the same picture that they would have got.
"""

from __future__ import annotations

import copy
import sys
import time
from typing import TYPE_CHECKING

from ..looking.calls import StandIn, StandIns, key_of
from .memo import Turns
from .store import MISSING
from .waiting import Story, waiting_kind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .memo import Key, Shelf

    Step = tuple[str, str]  # the name of a picture's method, and its arguments in one word


class Chain:
    """What follows the opening of a file: `steps` on the picture, then the first `prefix` transforms of `composed`.

    `call` is the function by which `composed` is called. Without transforms these are None, 0 and None. `opens_file`
    says that the opening returns no plain image, but one with a file behind it.
    """

    def __init__(self, steps: Sequence[Step], composed: Any, prefix: int, call: Any, *, opens_file: bool) -> None:
        self.steps = list(steps)
        self.opens_file = opens_file
        self.composed = composed
        self.prefix = prefix
        self.call = call
        self.listed = list(composed.transforms) if prefix else []

    def transforms(self) -> list[Any]:
        """Those of which the outcome is kept."""
        return self.listed[: self.prefix]


def step_of(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Step | None:
    """The step that a call is, or None where its arguments can't be told."""
    word = key_of(args, kwargs, {})
    return None if word is None else (name, word)


def part_of(chain: Chain, first: int, last: int | None) -> Any:
    """The transforms from `first` to `last` as one of the same kind."""
    part = copy.copy(chain.composed)
    part.transforms = chain.listed[first:last]
    return part


class PictureMemo(StandIns):
    """One opening function with the chain that follows it."""

    def __init__(self, shelf: Shelf, function: Any, key: Key, chain: Chain) -> None:
        self.shelf = shelf
        self.name = f"{function.__module__}.{function.__qualname__}"
        self.key = key
        self.chain = chain
        self.turns = Turns()
        self.kind = waiting_kind(sys.modules["PIL.Image"])
        self.opens_file = chain.opens_file
        self.stand_ins = [StandIn(function, self.opened)]
        if chain.prefix:
            self.name += f", {chain.prefix} of {len(chain.composed.transforms)} transforms"
            self.stand_ins.append(StandIn(chain.call, self.transformed))
            self.head, self.tail = (part_of(chain, *each) for each in ((0, chain.prefix), (chain.prefix, None)))

    def opened(self, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """In the place of the opening function: a picture that waits, opened only if the outcome is not kept."""
        shelf = self.shelf
        if not shelf.board.on or shelf.local.busy:
            return original(*args, **kwargs)
        try:
            key = self.key.of(args, kwargs)
            there = key is not None and shelf.store.find(key) is not None
        except Exception as error:
            shelf.failed(error)
            key = None
        if key is None:
            shelf.board.count("bypassed")
            return original(*args, **kwargs)
        story = Story(key, lambda: shelf.alone(original, *args, **kwargs), self)
        if not there and not isinstance(story.picture(), sys.modules["PIL.Image"].Image):
            return story.picture()
        return self.kind(story)

    def follows(self, story: Story, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether a call on the picture is the next step of the chain."""
        steps = self.chain.steps
        return story.steps < len(steps) and step_of(name, args, kwargs) == steps[story.steps]

    def touched(self, story: Story) -> Any:
        """Somebody looks at the picture: at the end of the chain it is the kept one, else the real one."""
        if story.steps < len(self.chain.steps) or self.chain.prefix:
            self.shelf.board.count("bypassed")
            return story.picture()
        return self._outcome(story, story.picture)

    def transformed(self, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """In the place of the call of the transforms: those behind the chain, with its outcome."""
        composed = self.chain.composed
        fits = len(args) == 2 and not kwargs and args[0] is composed and type(args[1]) is self.kind
        if not fits or args[1]._story.steps != len(self.chain.steps) or self.shelf.local.busy:
            return original(*args, **kwargs)
        if list(map(id, composed.transforms)) != list(map(id, self.chain.listed)):
            self.shelf.board.give_up("the transforms of a picture are others by now")
            return original(*args)
        story = args[1]._story
        return original(self.tail, self._outcome(story, lambda: original(self.head, story.picture())))

    def _outcome(self, story: Story, make: Any) -> Any:
        shelf = self.shelf
        begun = time.perf_counter_ns()
        try:
            value = MISSING if story.real is not None else shelf.store.get(story.key, shelf.reader)
        except Exception as error:
            shelf.failed(error)
            value = MISSING
        if value is MISSING:
            fresh = shelf.alone(make)
            shelf.keep(story.key, fresh, story.begun_ns)
            return fresh
        if self.turns.come():
            return shelf.checked(self.name, value, make)
        shelf.board.count_timed("hits", begun)
        return value
