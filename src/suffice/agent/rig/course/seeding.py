"""A seed and an offset -> a job whose random numbers are the same in every course with the same two.

A job that sets no seed starts from ours. One that does keeps its own, moved on by the offset, so that several courses
of it are several draws. What draws from the machine's entropy instead (`random.seed()`) starts from ours as well.
"""

from __future__ import annotations

import functools
import itertools
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

STRIDE = 1_000_003  # seeds that a job derives from its own (one a rank, one an epoch) lie close together
NUMPY_SEEDS = 2**32


def seed(torch: Any, value: int, offset: int = 0) -> None:
    """Seed torch, `random` and numpy, and move on the seeds that the job will set; called when torch was loaded."""
    start = value + offset * STRIDE
    numpy = _numpy()
    torch.manual_seed(start)
    random.seed(start)
    if numpy is not None:
        numpy.random.seed(start % NUMPY_SEEDS)
    for owner, name in _seeders(torch, numpy):
        original = getattr(owner, name, None)
        if original is not None:
            limit = NUMPY_SEEDS if owner is getattr(numpy, "random", None) else None
            setattr(owner, name, _moved(original, start, offset * STRIDE, limit))


def _seeders(torch: Any, numpy: Any) -> list[tuple[Any, str]]:
    found = [(torch, "manual_seed"), (torch.random, "manual_seed"), (random, "seed")]
    found += [(torch.cuda, "manual_seed"), (torch.cuda, "manual_seed_all")]
    if numpy is not None:
        found += [(numpy.random, "seed"), (numpy.random, "default_rng")]
    return found


def _moved(original: Callable[..., Any], start: int, by: int, limit: int | None) -> Callable[..., Any]:
    """As the original, for a seed that is moved on; where none is given, for `start`, and then for the next."""
    unseeded = itertools.count(start)

    def move(given: Any) -> Any:
        if given is None:
            moved: Any = next(unseeded)
        elif isinstance(given, str):
            return given + "+{}".format(by) if by else given
        elif hasattr(given, "__index__"):
            moved = given.__index__() + by
        elif isinstance(given, (list, tuple)):
            return [*given, by] if by else given
        else:
            return given
        return moved % limit if limit else moved

    @functools.wraps(original)
    def seeded(*args: Any, **kwargs: Any) -> Any:
        if args:
            return original(move(args[0]), *args[1:], **kwargs)
        if "seed" in kwargs or "a" in kwargs:
            return original(**{k: move(v) if k in ("seed", "a") else v for k, v in kwargs.items()})
        return original(move(None), **kwargs)

    return seeded


def _numpy() -> Any:
    from importlib import import_module

    try:
        return import_module("numpy")
    except Exception:  # the job has none
        return None
