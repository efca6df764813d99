"""A loader and memos at work -> its items read ahead by processes of their own, which fill what all share."""

from __future__ import annotations

import functools
import itertools
import sys
import time
from typing import TYPE_CHECKING

from ..looking import apart
from ..looking.tracing import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from .cache import AnyMemo

PROCESSES = 16
MOST = 10_000_000
GRACE_S = 10.0


def fill(job: Any, loader: Any, memos: Sequence[AnyMemo], seconds: float) -> bool:
    """Read every item that the loader may ask for, within that time; whether all were read."""

    def work(indices: Iterable[Any], until: float) -> bool:
        for memo in memos:
            memo.put_in()
        for index in indices:
            if time.monotonic() > until:
                return False
            read(loader.dataset, index)
        return True

    return shared_out(job, loader, work, seconds)


def shared_out(job: Any, loader: Any, work: Callable[[Iterable[Any], float], bool], seconds: float) -> bool:
    """Have processes of their own do `work(indices, until)`, each for a part of all indices; whether all said yes."""
    count = max(1, min(job.processors, PROCESSES))
    until = time.monotonic() + seconds

    def part(place: int) -> bool:
        return work(itertools.islice(indices_of(loader), place, None, count), until)

    children = [apart.Apart(job.torch, functools.partial(part, i), seconds + GRACE_S) for i in range(count)]
    done = []
    for child in children:
        try:
            done.append(child.answer())
        except apart.Failed:
            done.append(False)
    return all(done)


def indices_of(loader: Any) -> Any:
    """All indices that the loader may ask for; for a process of our own, since some samplers draw."""
    samplers: Any = sys.modules["torch.utils.data"]
    usual = type(loader.sampler) in (samplers.RandomSampler, samplers.SequentialSampler)
    if loader.batch_sampler is not None and type(loader.batch_sampler) is samplers.BatchSampler and usual:
        return iter(range(len(loader.dataset)))
    asked = iter(loader._index_sampler)
    flat = asked if loader.batch_sampler is None else itertools.chain.from_iterable(asked)
    return itertools.islice(flat, MOST)
