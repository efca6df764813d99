"""A loader with those who may fetch for it: the process itself, workers as it has them, workers as are tried."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from ..looking.dependencies import Dependencies, changed
from ..looking.study import objects_of
from .pool import Pool
from .relay import Relay

if TYPE_CHECKING:
    from typing import Any

RELAY = -1  # in the place of a number of workers


class Served:
    """One loader. `risk` is what other workers do to its samples: "exact" or "stochastic".

    `relays`: it draws random numbers, and a worker that goes on with the process's own leaves them what they are.
    """

    def __init__(self, torch: Any, loader: Any) -> None:
        self.torch = torch
        self.loader = weakref.ref(loader)
        self.objects = objects_of(torch, loader.dataset, type(loader.dataset).__name__)
        self.state = Dependencies(torch, [], self.objects, quick=True)
        self.volatile: set[str] = set()
        self.first: dict[str, str] = {}
        self.pools: dict[tuple[int, int], Pool] = {}
        self.base_seed = 0
        self.iterator: Any = lambda: None
        self.risk = "exact"
        self.trains = self.relays = False

    def pool(self, workers: int, prefetch: int) -> Pool:
        """So many workers; they are started when they are first asked for."""
        found = self.pools.get((workers, prefetch))
        if found is None:
            found = Pool(self.torch, self.loader(), workers, prefetch, self.base_seed)
            self.pools[workers, prefetch] = found
        return found

    def relay(self, prefetch: int) -> Pool:
        """The worker that goes on with this process's random numbers; it is started when it is first asked for."""
        found = self.pools.get((RELAY, prefetch))
        if found is None:
            found = self.pools[RELAY, prefetch] = Relay(self.torch, self.loader(), prefetch, self.base_seed)
        return found

    def close(self) -> None:
        """End all workers."""
        for pool in self.pools.values():
            pool.close()
        self.pools = {}

    def begin(self, *, anew: bool) -> None:
        """Before an iteration: workers end whose data set is another by now, or who hold batches that nobody took."""
        iterator = self.iterator()
        if iterator is not None and not iterator._feed.ended:
            iterator._feed.leave()
        now = {name: told for name, told in self.state.snapshot().items() if name not in self.volatile}
        before, self.first = self.first, now
        if anew or changed(before, now) or any(pool.waiting for pool in self.pools.values()):
            self.close()

    def is_read(self) -> bool:
        """Whether an iteration that we feed has begun and has not ended."""
        iterator = self.iterator()
        return iterator is not None and not iterator._feed.ended
