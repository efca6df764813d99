"""One worker that goes on with the process's own random numbers, so that what it draws is what would be drawn.

Process and worker hand the states of the generators to each other like a baton: each batch comes with the states that
it was begun and left with. If the process still has the first ones when it takes the batch, the batch is bit by bit the
one that it would have made, and it goes on from the second ones; if not, the batch is thrown away and made again.

A training that draws between two batches (dropout) mostly draws as many numbers each time. How many is found by looking
for the one state in the stream of the other; from then on the worker passes over as many.
"""

from __future__ import annotations

import contextlib
import random
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .pool import Pool

if TYPE_CHECKING:
    from typing import Any

    State = tuple[bytes, Any, Any]

WORD_AT, BLOCK = slice(8, 12), 624  # in a state of torch's: how much of its block of so many numbers is left
MOST_DRAWS = 8_000_000
MISSES, SHARE_OF_MISSES = 8, 0.1


class Missed(Exception):  # noqa: N818 - it is no error of anybody's
    """The batch was begun with other states than the process has. `hopeless` says why it will be so again, if so."""

    def __init__(self, hopeless: str) -> None:
        super().__init__(hopeless)
        self.hopeless = hopeless


@dataclass(frozen=True)
class Ticket:
    """What the worker is to fetch, from which state on; without one after so many draws that it passes over."""

    index: Any
    state: State | None
    skip: int


class Relay(Pool):
    """A pool of one worker that hands states on.

    A ticket names a state where nothing is under way; it is to be sent where its batch is wanted at once.
    """

    def __init__(self, torch: Any, loader: Any, prefetch: int, base_seed: int) -> None:
        self.torch = torch
        self.skip = 0
        self.left: State | None = None
        self.taken = self.missed = 0
        super().__init__(torch, loader, 1, max(2, prefetch), base_seed)

    def clone(self, loader: Any, workers: int, prefetch: int) -> Any:
        """The loader, whose indices are tickets."""
        made = super().clone(loader, workers, prefetch)
        made.__dict__["dataset"] = _Runner(self.torch, loader.dataset)
        made.__dict__["collate_fn"] = _Collating(loader.collate_fn)
        return made

    def send(self, index: Any) -> None:
        """Have a batch made."""
        super().send(Ticket(index, None if self.waiting else state_of(self.torch), self.skip))

    def receive(self) -> Any:
        """The batch that was sent first, if it was begun where the process is now.

        Raises:
            Missed: if it was not; all that was sent is thrown away.
        """
        batch, begun, left = super().receive()
        now = state_of(self.torch)
        if begun != now:
            raise self._missed(now)
        restore(self.torch, left)
        self.left = left
        self.taken += 1
        return batch

    def _missed(self, now: State) -> Missed:
        self.missed += 1
        while self.waiting:
            with contextlib.suppress(Exception):  # it is fetched once more, and may fail there
                super().receive()
        if self.missed > MISSES and self.missed > SHARE_OF_MISSES * (self.taken + self.missed):
            return Missed("the training draws another number of random numbers after each batch")
        if self.left is None:
            return Missed("")
        draws = draws_between(self.torch, self.left, now)
        if draws is None:
            return Missed("the training draws random numbers in a way that can't be foreseen")
        self.skip = draws
        return Missed("")


class _Runner:
    """A data set in the worker."""

    def __init__(self, torch: Any, dataset: Any) -> None:
        self.torch = torch
        self.dataset = dataset

    def __getitems__(self, ticket: Ticket) -> Any:
        begun = self._begin(ticket)
        whole = getattr(self.dataset, "__getitems__", None)
        return (whole(ticket.index) if whole else [self.dataset[each] for each in ticket.index]), begun

    def __getitem__(self, ticket: Ticket) -> Any:
        begun = self._begin(ticket)
        return self.dataset[ticket.index], begun

    def _begin(self, ticket: Ticket) -> State:
        if ticket.state is not None:
            restore(self.torch, ticket.state)
        elif ticket.skip:
            self.torch.empty(ticket.skip, dtype=self.torch.uint8).random_(0, 2)
        return state_of(self.torch)


class _Collating:
    """What makes a batch in the worker: with it go the states before and after."""

    def __init__(self, collate: Any) -> None:
        self.collate = collate

    def __call__(self, read: tuple[Any, State]) -> tuple[Any, State, State]:
        samples, begun = read
        batch = self.collate(samples)
        return batch, begun, state_of(sys.modules["torch"])


def state_of(torch: Any) -> State:
    """The states of torch's, Python's and numpy's generators, as what can be compared and sent."""
    numpy_random = sys.modules.get("numpy.random")
    kept = None
    if numpy_random is not None:
        name, keys, *rest = numpy_random.get_state()
        kept = (name, keys.tobytes(), *rest)
    return bytes(memoryview(torch.get_rng_state().numpy())), random.getstate(), kept


def restore(torch: Any, state: State) -> None:
    """Put the generators into these states."""
    own, pythons, numpys = state
    torch.set_rng_state(torch.frombuffer(bytearray(own), dtype=torch.uint8))
    random.setstate(pythons)
    if numpys is not None:
        numpy = sys.modules["numpy"]
        name, keys, *rest = numpys
        numpy.random.set_state((name, numpy.frombuffer(keys, dtype=numpy.uint32), *rest))


def draws_between(torch: Any, earlier: State, later: State) -> int | None:
    """How many numbers of 32 bits torch's generator gave from one state to the other; None if that is not all.

    The place in a block of numbers tells it but for whole blocks, so that only one state a block is compared.
    """
    if earlier[1:] != later[1:]:
        return None
    stream, wanted = torch.Generator(), later[0]
    stream.set_state(torch.frombuffer(bytearray(earlier[0]), dtype=torch.uint8))
    places = [int.from_bytes(each[WORD_AT], "little") for each in (earlier[0], wanted)]
    drawn = (places[0] - places[1]) % BLOCK
    torch.empty(drawn, dtype=torch.uint8).random_(0, 2, generator=stream)
    block = torch.empty(BLOCK, dtype=torch.uint8)
    while drawn <= MOST_DRAWS:
        if bytes(memoryview(stream.get_state().numpy())) == wanted:
            return drawn
        block.random_(0, 2, generator=stream)
        drawn += BLOCK
    return None
