"""An iteration over a loader -> the same batches in the same order, fetched by whoever has the turn at the moment.

Batches of indices are taken from the sampler once. Whoever has the turn is handed them ahead; when the turn changes,
what was handed out before is still taken first, so no batch is lost, doubled or early.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import sys
from typing import TYPE_CHECKING

from .pool import clone_of, has_died
from .relay import Missed

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .pool import Pool


class Feed:
    """The state of one iteration.

    `turn` returns the pool whose turn it is, or None for the process itself; `died` is told of a pool that has;
    `counts` counts the batches of "workers" and of the process "itself".
    """

    def __init__(self, turn: Callable[[], Pool | None], died: Callable[[str], None], counts: dict[str, int]) -> None:
        self.turn = turn
        self.died = died
        self.counts = counts
        self.ordered: collections.deque[tuple[Pool, Any]] = collections.deque()
        self.rescued: collections.deque[Any] = collections.deque()
        self.ended = False

    def next_batch(self, sample: Callable[[], Any], fetch: Callable[[Any], Any]) -> Any:
        """The next batch; `sample` asks the sampler for indices, `fetch` is how the process itself gets a batch.

        Raises:
            StopIteration: where the sampler has ended.
        """
        self._hand_out(sample)
        if self.rescued or not self.ordered:
            index = self.rescued.popleft() if self.rescued else self._index(sample)
            self.counts["itself"] += 1
            return fetch(index)
        pool, index = self.ordered.popleft()
        try:
            batch = pool.receive()
        except Missed as missed:
            return self._fetch_here(pool, index, fetch, missed.hopeless)
        except RuntimeError as error:
            if not has_died(error):
                raise
            return self._fetch_here(pool, index, fetch, f"workers ended: {error}")
        self.counts["workers"] += 1
        self._hand_out(sample)
        return batch

    def _hand_out(self, sample: Callable[[], Any]) -> None:
        pool = None if self.ended or self.rescued else self.turn()
        while pool is not None and pool.waiting < pool.window:
            try:
                index = self._index(sample)
            except StopIteration:
                return
            self.ordered.append((pool, index))
            pool.send(index)

    def _index(self, sample: Callable[[], Any]) -> Any:
        try:
            return sample()
        except StopIteration:
            self.ended = True
            raise

    def _fetch_here(self, pool: Pool, index: Any, fetch: Callable[[Any], Any], why: str) -> Any:
        """A batch that the workers did not make, or not rightly; `why` they will not either, if that is so."""
        self._rescue(pool, index)
        if why:
            self.died(why)
        self.counts["itself"] += 1
        return fetch(self.rescued.popleft())

    def _rescue(self, pool: Pool, index: Any) -> None:
        """What the workers were to fetch, and what others have ready behind it, is to be fetched here."""
        self.rescued.append(index)
        self.rescued.extend(each for _, each in self.ordered)
        for other, _ in self.ordered:
            if other is not pool:
                with contextlib.suppress(Exception):  # it is fetched once more, and may fail there
                    other.receive()
        self.ordered.clear()

    def leave(self) -> None:
        """Somebody reads the loader anew: who goes on with this iteration nevertheless, fetches by itself."""
        self.rescued.extend(index for _, index in self.ordered)
        self.ordered.clear()
        self.turn = lambda: None


def iterator_over(loader: Any, feeds: Callable[[], Feed]) -> Any:
    """An iterator of torch's own kind, as for a loader without workers, that is fed; `feeds` makes a feed of each."""
    iterator = _fed_kind(feeds)(clone_of(loader, workers=0, prefetch=None))
    iterator._feed = feeds()
    return iterator


def take_over(iterator: Any, feeds: Callable[[], Feed]) -> None:
    """Feed an iterator of torch's, for a loader without workers, from its next batch on."""
    iterator._feed = feeds()
    iterator.__class__ = _fed_kind(feeds)


def of_this_process(loader: Any) -> Any:
    """The iterator that reads this loader at the moment without workers and is not fed yet, or None."""
    loading = sys.modules["torch.utils.data.dataloader"]
    kind, sampler = loading._SingleProcessDataLoaderIter, loader._index_sampler
    found = [each for each in gc.get_objects() if type(each) is kind and each._index_sampler is sampler]
    try:
        going_on = [each for each in found if each._num_yielded < len(sampler)]
    except TypeError:  # nobody knows when it ends
        return None
    return going_on[0] if len(going_on) == 1 else None


def _fed_kind(feeds: Callable[[], Feed]) -> type:
    base = sys.modules["torch.utils.data.dataloader"]._SingleProcessDataLoaderIter

    def _next_data(iterator: Any) -> Any:
        def fetch(index: Any) -> Any:
            iterator._handed = index
            return base._next_data(iterator)

        return iterator._feed.next_batch(lambda: base._next_index(iterator), fetch)

    def _next_index(iterator: Any) -> Any:
        handed = iterator.__dict__.pop("_handed", None)
        return base._next_index(iterator) if handed is None else handed

    def _reset(iterator: Any, *args: Any, **kwargs: Any) -> None:
        base._reset(iterator, *args, **kwargs)
        iterator._feed = feeds()

    members = {"_next_data": _next_data, "_next_index": _next_index, "_reset": _reset, "__module__": base.__module__}
    return type(base.__name__, (base,), members)
