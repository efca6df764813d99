"""The generators of random numbers that a data set may draw from -> what state they are in, and the way back to it."""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


GLOBAL = 3  # of those in a state, so many are torch's, Python's and numpy's own


class Generators:
    """torch's, Python's and numpy's own generators, and `others` that were found in the job."""

    def __init__(self, torch: Any, others: Iterable[Any] = ()) -> None:
        self.torch = torch
        self.others = [each for each in others if _of(torch, each) is not None]

    def state(self) -> list[Any]:
        """The states of all of them: of torch, of Python, of numpy or None where it is not loaded, of the others."""
        numpy_random = sys.modules.get("numpy.random")
        return [
            self.torch.get_rng_state(),
            random.getstate(),
            None if numpy_random is None else numpy_random.get_state(),
            *(_of(self.torch, each) for each in self.others),
        ]

    def restore(self, state: list[Any]) -> None:
        """Put torch's, Python's and numpy's back."""
        self.torch.set_rng_state(state[0])
        random.setstate(state[1])
        if state[2] is not None:
            sys.modules["numpy.random"].set_state(state[2])

    def moved(self, before: list[Any]) -> str:
        """Whose state is no longer what it was, or nothing."""
        names = ("torch", "random", "numpy", *(type(each).__name__ for each in self.others))
        for name, old, new in zip(names, before, self.state()):
            # numpy may have been loaded since, and then has been seeded since.
            if old is not None and not _equal(self.torch, old, new):
                return name
        return ""

    def seed(self, seed: int) -> None:
        """Seed torch's, Python's and numpy's; only in a process of our own."""
        self.torch.default_generator.manual_seed(seed)
        random.seed(seed)
        if "numpy.random" in sys.modules:
            sys.modules["numpy.random"].seed(seed % 2**32)


def found_among(torch: Any, things: Iterable[Any]) -> list[Any]:
    """Those that random numbers are drawn from; each type is asked about once, for the things are many."""
    kinds: dict[type, bool] = {}
    found = []
    for thing in things:
        kind = type(thing)
        may_be = kinds.get(kind)
        if may_be is None:
            may_be = kinds[kind] = _of(torch, thing) is not None
        if may_be:
            found.append(thing)
    return found


def _of(torch: Any, thing: Any) -> Any:
    kinds = type(thing).__mro__  # `isinstance` would ask the thing for its class, which may be a property
    if torch.Generator in kinds:
        return thing.get_state() if thing.device.type == "cpu" else None
    if random.Random in kinds:
        try:
            return thing.getstate()
        except NotImplementedError:  # `SystemRandom` has none
            return None
    numpy_random: Any = sys.modules.get("numpy.random")
    if numpy_random is not None and numpy_random.Generator in kinds:
        return thing.bit_generator.state
    if numpy_random is not None and numpy_random.RandomState in kinds:
        return thing.get_state()
    return None


def _equal(torch: Any, old: Any, new: Any) -> bool:
    if isinstance(old, torch.Tensor):
        return bool(torch.equal(old, new))
    if isinstance(old, dict):
        return old.keys() == new.keys() and all(_equal(torch, old[key], new[key]) for key in old)
    if hasattr(old, "tobytes"):
        return bool(old.tobytes() == new.tobytes())
    if isinstance(old, tuple) and any(hasattr(each, "tobytes") for each in old):
        return all(_equal(torch, one, other) for one, other in zip(old, new))
    return bool(old == new)
