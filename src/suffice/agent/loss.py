"""The root of each `backward` -> the loss, read without making the job wait.

On a processor the number is there at once. On a GPU it is copied into pinned memory behind the job's own work on the
same stream, and read once an event says that the copy has been done.
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .spool import Spool

SLOTS = 256
SCALED_KEPT = 8


class Losses:
    """Reads the roots, and writes ("loss", [step, sum of the roots, their number]) once all of a step are there.

    What `read` returns is a number where it is known, or a ticket for one that is on its way: a negative integer.
    """

    def __init__(self, torch: Any, spool: Spool) -> None:
        self.torch = torch
        self.spool = spool
        self.scaled_roots: deque[tuple[Any, Any]] = deque(maxlen=SCALED_KEPT)
        self.ring: DeviceLosses | None = None
        self.due: deque[tuple[int, list[float]]] = deque()
        self.here: dict[float, float] = {}

    def scaled(self, plain: Any, scaled: Any) -> None:
        """A gradient scaler made `scaled` of `plain`: what will be the root is not the loss."""
        if type(plain) is self.torch.Tensor and plain.numel() == 1:
            # Weakly: holding the tensor would keep its graph in memory.
            self.scaled_roots.append((weakref.ref(scaled), plain.detach()))

    def read(self, roots: Any) -> list[float]:
        root = self._scalar(roots)
        if root is None:
            return []
        if root.device.type == "cpu":
            return [float(root.detach())]
        if root.device.type != "cuda" or root.device.index != self.torch.cuda.current_device():
            return []
        if self.ring is None:
            self.ring = DeviceLosses(self.torch)
        ticket = self.ring.put(root)
        return [] if ticket is None else [ticket]

    def _scalar(self, roots: Any) -> Any:
        """The one-element tensor that `backward` starts from, or None."""
        if isinstance(roots, (list, tuple)):
            roots = roots[0] if len(roots) == 1 else None
        if type(roots) is not self.torch.Tensor or roots.numel() != 1 or not roots.is_floating_point():
            return None
        return next((plain for scaled, plain in reversed(self.scaled_roots) if scaled() is roots), roots)

    def closed(self, index: int, parts: list[float]) -> None:
        if parts:
            self.due.append((index, parts))

    def collect(self) -> None:
        """Write what has arrived."""
        if self.ring is not None:
            self.here.update(self.ring.arrived())
        while self.due:
            index, parts = self.due[0]
            if any(type(p) is int and p not in self.here for p in parts):
                break
            values = [self.here.pop(p) if type(p) is int else p for p in parts]
            self.spool.row("loss", [index, sum(values), len(values)])
            self.due.popleft()


class DeviceLosses:
    """A ring of pinned numbers; where it is full, a loss is not told."""

    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self.tickets = 0
        self.numbers = torch.empty(SLOTS, dtype=torch.float32, device="cpu", pin_memory=True)
        self.free = deque(range(SLOTS))
        self.on_the_way: deque[tuple[int, int, Any]] = deque()
        self.spare_events: list[Any] = []

    def put(self, root: Any) -> int | None:
        """Begin to copy; returns a ticket, or None where the ring is full or a graph is being captured."""
        if not self.free or self.torch.cuda.is_current_stream_capturing():
            return None
        slot = self.free.popleft()
        self.numbers[slot : slot + 1].copy_(root.detach().reshape(1), non_blocking=True)
        event = self.spare_events.pop() if self.spare_events else self.torch.cuda.Event()
        event.record()
        self.tickets -= 1
        self.on_the_way.append((self.tickets, slot, event))
        return self.tickets

    def arrived(self) -> Iterator[tuple[int, float]]:
        """Yield (ticket, value) of each copy that has been done, in order."""
        while self.on_the_way and self.on_the_way[0][2].query():
            ticket, slot, event = self.on_the_way.popleft()
            self.spare_events.append(event)
            self.free.append(slot)
            yield ticket, float(self.numbers[slot])
