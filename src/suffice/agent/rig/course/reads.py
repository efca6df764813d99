"""What loaders draw and deliver -> the order of the samples, step by step, and what a sample looked like each time.

A loader's order is drawn in the process that trains, ahead of time where there are workers, and its batches come in the
same order: so each iterator has a queue of indices. After the last step the samples of the first batch are read twice
more through the live loader, as its next two passes would: what should be random must differ, and only that.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING

from .fingerprints import fingerprint, row_fingerprints

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ...hooks import Patches

    Indices = list[Any]

SAMPLES = 64
PASSES_AFTER = 2


class Drawing:
    """What is known of one iterator: the loader, the number of its pass, and the indices that are on their way."""

    def __init__(self) -> None:
        self.loader: Any = None
        self.number = 0
        self.on_the_way: deque[Indices] = deque()


class Reads:
    """The order of what was read since the last `take`, and `seen`: index -> fingerprints of the sample's reads."""

    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self.drawings: weakref.WeakKeyDictionary[Any, Drawing] = weakref.WeakKeyDictionary()
        self.passes: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self.delivered: list[tuple[int, str]] = []
        self.seen: dict[str, list[str]] = {}
        self.first: tuple[Any, Indices] | None = None
        self.probing = False

    def install(self, patches: Patches) -> None:
        """Listen to the order that iterators draw; the rest is heard through the agent's own hooks."""
        loading = sys.modules.get("torch.utils.data.dataloader")
        kind = getattr(loading, "_BaseDataLoaderIter", None)
        patches.replace(kind, "_next_index", self._around_next_index)
        patches.replace(kind, "_reset", self._around_reset)

    def iteration_begins(self, loader: Any) -> Any:
        """A loader's next pass begins."""
        self.passes[loader] = self.passes.get(loader, -1) + 1
        return loader

    def iterator_made(self, loader: Any, iterator: Any) -> None:
        """It will be read through this iterator, which may have been used before."""
        if loader is not None and iterator is not None and hasattr(iterator, "_next_index"):
            drawing = self._of(iterator)
            drawing.loader = weakref.ref(loader)
            drawing.number = self.passes[loader]

    def fetch_begins(self, iterator: Any) -> Any:
        """A batch is asked for: the iterator, or None where nobody wants to know."""
        return None if self.probing or not self.torch.is_grad_enabled() else iterator

    def fetch_ends(self, iterator: Any, batch: Any) -> None:
        """The batch is there."""
        drawing = self._of(iterator)
        if not drawing.on_the_way:
            return
        indices = drawing.on_the_way.popleft()
        if all(index is None for index in indices):
            return  # an iterable data set knows no indices
        told = "{}:{}".format(drawing.number, fingerprint(self.torch, indices))
        self.delivered.append((threading.get_ident(), told))
        loader = drawing.loader() if drawing.loader is not None else None
        if self.first is None and loader is not None:
            self.first = weakref.ref(loader), indices
        self._note_samples(indices, batch)

    def take(self) -> str:
        """The order of the samples that this thread was given since the last time; empty where it is not known."""
        mine = threading.get_ident()
        told = [each for ident, each in self.delivered if ident == mine]
        self.delivered = []
        if len(told) < 2:
            return told[0] if told else ""
        return "{}:{}".format(told[-1].partition(":")[0], fingerprint(self.torch, told))

    def read_again(self) -> str | None:
        """Read the samples of the first batch twice more; the reason why not, if so."""
        loader = self.first[0]() if self.first is not None else None
        if loader is None or self.first is None:
            return "no loader was seen whose samples could be read again"
        indices = self.first[1]
        auto = getattr(loader, "batch_sampler", None) is not None
        name, order = ("batch_sampler", [indices]) if auto else ("sampler", indices)
        before, iterator = loader.__dict__[name], loader.__dict__.get("_iterator")
        self.probing = True
        try:
            # A loader refuses to be given another sampler, and workers that stay hold on to the first.
            loader.__dict__[name], loader.__dict__["_iterator"] = order, None
            for _ in range(PASSES_AFTER):
                self._note_samples(indices, next(iter(loader)))
        except Exception as error:
            return "the samples of the first batch could not be read again: {!r}".format(error)
        finally:
            loader.__dict__[name], loader.__dict__["_iterator"] = before, iterator
            self.probing = False
        return None

    def _note_samples(self, indices: Indices, batch: Any) -> None:
        """Keep the fingerprints of the samples that were seen first."""
        if len(self.seen) >= SAMPLES and not any(repr(index) in self.seen for index in indices):
            return
        if len(indices) == 1:
            prints = [fingerprint(self.torch, batch)]
        else:
            prints = row_fingerprints(self.torch, batch, len(indices), len(indices)) or []
        for index, told in zip(indices, prints):
            if repr(index) in self.seen or len(self.seen) < SAMPLES:
                self.seen.setdefault(repr(index), []).append(told)

    def _of(self, iterator: Any) -> Drawing:
        drawing = self.drawings.get(iterator)
        if drawing is None:
            drawing = self.drawings[iterator] = Drawing()
        return drawing

    def _around_next_index(self, original: Any) -> Any:
        def _next_index(iterator: Any) -> Any:
            drawn = original(iterator)
            if not self.probing:
                self._of(iterator).on_the_way.append(list(_indices(drawn)))
            return drawn

        return _next_index

    def _around_reset(self, original: Any) -> Any:
        def _reset(iterator: Any, *args: Any, **kwargs: Any) -> Any:
            self._of(iterator).on_the_way.clear()
            return original(iterator, *args, **kwargs)

        return _reset


def _indices(drawn: Any) -> Iterator[Any]:
    """The indices of a batch, each as a number where it is one: a sampler may draw tensors."""
    for index in drawn if isinstance(drawn, (list, tuple)) else [drawn]:
        yield index.item() if hasattr(index, "item") else index
