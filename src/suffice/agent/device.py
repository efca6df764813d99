"""Changes of phase -> the GPU's own time by phase, from events on the job's stream; nothing ever waits for the GPU.

The events are read when they have passed, steps later. The time between two of them is the stream's: it holds the
kernels of the phase, and the time in which the GPU waited for the host or for data in it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from . import phases

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Mark = tuple[Any, int]  # an event, and the phase that begins with it

MARKS_PER_STEP = 48
STEPS_ON_THE_WAY = 64


class DeviceTimer:
    """`tap` is the clock's; `arrived` yields (step index, [nanoseconds by phase]) of each step that can be told."""

    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self.index = torch.cuda.current_device()  # events of two devices can't be compared
        self.spare: list[Any] = []
        self.on_the_way: deque[tuple[int, list[Mark]]] = deque()
        self.marks: list[Mark] = []
        self.restart(phases.OTHER, whole=False)

    def restart(self, phase: int, whole: bool) -> None:
        """Record from here on; `whole`: here a step begins, so the first one will be complete."""
        self._drop()
        self.recording = True
        self.partial = not whole
        if whole:
            self.tap(phase)

    def _drop(self) -> None:
        # The first mark may be the last of a step that is still on its way.
        self.spare.extend(event for event, _ in self.marks[1:])
        self.marks = []
        self.cut_at: int | None = None

    def tap(self, phase: int) -> None:
        """A phase begins: record an event on the current stream."""
        if not self.recording:
            return
        cuda = self.torch.cuda
        if (
            len(self.marks) >= MARKS_PER_STEP
            or cuda.is_current_stream_capturing()
            or cuda.current_device() != self.index
        ):
            self.recording = False
            self._drop()
            return
        event = self.spare.pop() if self.spare else cuda.Event(enable_timing=True)
        event.record()
        self.marks.append((event, phase))

    def cut(self, phase: int) -> None:
        """An optimiser's step has returned: what comes now may belong to the next step."""
        self.tap(phase)
        if self.recording:
            self.cut_at = len(self.marks) - 1

    def close(self, index: int) -> None:
        """The step ended at the latest cut."""
        cut = self.cut_at
        if not self.recording or cut is None or len(self.on_the_way) >= STEPS_ON_THE_WAY:
            self.restart(phases.OTHER, whole=False)
            return
        step, self.marks, self.cut_at = self.marks[: cut + 1], self.marks[cut:], None
        if self.partial:
            self.partial = False
        else:
            self.on_the_way.append((index, step))

    def arrived(self) -> Iterator[tuple[int, list[int]]]:
        while self.on_the_way and self.on_the_way[0][1][-1][0].query():
            index, marks = self.on_the_way.popleft()
            totals = [0] * phases.COUNT
            try:
                for (event, phase), (following, _) in zip(marks, marks[1:]):
                    totals[phase] += int(event.elapsed_time(following) * 1e6)
            except RuntimeError:  # the job changed its stream within the step: its events have no common order
                continue
            self.spare.extend(event for event, _ in marks[:-1])
            yield index, totals
