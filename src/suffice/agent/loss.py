"""The root of each `backward` -> the loss, read without making the job wait.

On a processor the number is there at once. On a GPU it is copied into pinned memory behind the job's own work on the
same stream, and read once an event says that the copy has been done.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

SLOTS = 256


def scalar(torch: Any, roots: Any) -> Any:
    """The one-element tensor that `backward` starts from, or None."""
    if isinstance(roots, (list, tuple)):
        roots = roots[0] if len(roots) == 1 else None
    if type(roots) is torch.Tensor and roots.numel() == 1 and roots.is_floating_point():
        return roots
    return None


class Scales:
    """What a gradient scaler multiplied: the scaled loss -> the loss itself, for the latest few."""

    def __init__(self) -> None:
        self.latest: deque[tuple[int, Any]] = deque(maxlen=4)

    def note(self, plain: Any, scaled: Any) -> None:
        # By identity alone: holding either tensor would keep its graph in memory.
        self.latest.append((id(scaled), plain.detach()))

    def unscaled(self, root: Any) -> Any:
        for key, plain in self.latest:
            if key == id(root):
                return plain
        return root


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
        self.tickets += 1
        self.on_the_way.append((self.tickets, slot, event))
        return self.tickets

    def arrived(self) -> Iterator[tuple[int, float]]:
        """Yield (ticket, value) of each copy that has been done, in order."""
        while self.on_the_way and self.on_the_way[0][2].query():
            ticket, slot, event = self.on_the_way.popleft()
            self.spare_events.append(event)
            self.free.append(slot)
            yield ticket, float(self.numbers[slot])
