"""A GPU by hand: a queue that is filled at `moment` and worked off until `passed`, both in milliseconds.

Whatever would make the job wait, or read what has not arrived, is an error.
"""

import weakref
from types import SimpleNamespace


class FakeEvent:
    """An event that knows when it was recorded, and on which stream."""

    def __init__(self, cuda: "FakeCuda") -> None:
        self.cuda = cuda
        self.at = self.stream = -1

    def record(self) -> None:
        if self.cuda.capturing:
            raise RuntimeError("an event of ours would become a part of the job's graph")
        self.at, self.stream = self.cuda.moment, self.cuda.stream

    def query(self) -> bool:
        return 0 <= self.at <= self.cuda.passed

    def elapsed_time(self, later: "FakeEvent") -> float:
        assert self.query()
        assert later.query(), "read before it has passed"
        if self.stream != later.stream:
            raise RuntimeError("events of two streams")
        return float(later.at - self.at)

    def synchronize(self) -> None:
        raise AssertionError("the job was made to wait")


class FakeCuda:
    """As much of `torch.cuda` as the agent uses, and what it must not use."""

    def __init__(self) -> None:
        self.moment = 1
        self.passed = self.device = self.stream = 0
        self.capturing = False
        self.events: weakref.WeakSet[FakeEvent] = weakref.WeakSet()

    def Event(self, enable_timing: bool = False) -> FakeEvent:  # noqa: ARG002, FBT001, FBT002, N802 - as torch's
        event = FakeEvent(self)
        self.events.add(event)
        return event

    def current_device(self) -> int:
        return self.device

    def is_current_stream_capturing(self) -> bool:
        return self.capturing

    def synchronize(self) -> None:
        raise AssertionError("the job was made to wait")


class FakeTensor:
    """A tensor of `count` elements, the first of which is `value`."""

    def __init__(self, value: float, *, kind: str = "cuda", count: int = 1, floating: bool = True) -> None:
        self.value, self.count, self.floating = value, count, floating
        self.device = SimpleNamespace(type=kind, index=0 if kind == "cuda" else None)

    def numel(self) -> int:
        return self.count

    def is_floating_point(self) -> bool:
        return self.floating

    def detach(self) -> "FakeTensor":
        return FakeTensor(self.value, kind=self.device.type, count=self.count)

    def reshape(self, count: int) -> "FakeTensor":
        assert count == self.count
        return self

    def __float__(self) -> float:
        assert self.device.type == "cpu", "the job was made to wait"
        return self.value


class PinnedNumbers:
    """Memory of the host into which the GPU copies when it gets there."""

    def __init__(self, cuda: FakeCuda, count: int) -> None:
        self.cuda = cuda
        self.copies: list[tuple[int, float] | None] = [None] * count

    def __getitem__(self, place: int | slice) -> object:
        if isinstance(place, slice):
            return SimpleNamespace(copy_=lambda tensor, non_blocking: self._copy(place.start, tensor, non_blocking))
        copy = self.copies[place]
        assert copy is not None
        assert copy[0] <= self.cuda.passed, "read before it has arrived"
        return copy[1]

    def _copy(self, slot: int, tensor: FakeTensor, non_blocking: bool) -> None:  # noqa: FBT001 - torch's name
        assert non_blocking, "the job was made to wait"
        held = self.copies[slot]
        assert held is None or held[0] <= self.cuda.passed, "written over before it was read"
        self.copies[slot] = self.cuda.moment, tensor.value


class FakeTorch:
    """As much of torch as `device` and `loss` use."""

    Tensor = FakeTensor
    float32 = "float32"

    def __init__(self) -> None:
        self.cuda = FakeCuda()

    def empty(self, count: int, *, dtype: str, device: str, pin_memory: bool) -> PinnedNumbers:
        assert (dtype, device, pin_memory) == ("float32", "cpu", True)
        return PinnedNumbers(self.cuda, count)
