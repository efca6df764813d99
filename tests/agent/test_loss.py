"""The loss of each step is the root of its backward passes, and reading it never makes the job wait."""

import gc
import weakref
from pathlib import Path

import pytest

from suffice.agent.loss import SLOTS, Losses
from suffice.agent.spool import Spool
from suffice.measure.spool.reader import SpoolReader
from tests.agent.fake_cuda import FakeTensor, FakeTorch


class Job:
    """Steps with given losses."""

    def __init__(self, folder: Path) -> None:
        self.torch = FakeTorch()
        self.cuda = self.torch.cuda
        self.folder = folder
        self.spool = Spool(str(folder))
        self.losses = Losses(self.torch, self.spool)
        self.index = 0

    def step(self, *roots: object) -> None:
        parts = [part for root in roots for part in self.losses.read(root)]
        self.cuda.moment += 1
        self.losses.closed(self.index, parts)
        self.index += 1
        self.losses.collect()

    def told(self) -> list[tuple[int, float]]:
        """The losses that were written until now."""
        self.spool.flush()
        return [loss for record in SpoolReader(self.folder).close() for loss in record.losses]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def test_on_a_processor_the_loss_is_there_at_once(job: Job) -> None:
    """Several backward passes of a step are summed up; a list with one root is that root."""
    job.step(FakeTensor(1.5, kind="cpu"))
    job.step(FakeTensor(1.0, kind="cpu"), [FakeTensor(0.25, kind="cpu")])
    assert job.told() == [(0, 1.5), (1, 1.25)]


def test_on_a_gpu_the_loss_is_told_when_it_has_arrived(job: Job) -> None:
    """Nothing is read before the GPU's copy is done, and losses are told in their order."""
    for index in range(6):
        job.step(FakeTensor(float(index)), FakeTensor(0.5))
    assert job.told() == []
    job.cuda.passed = 3
    job.losses.collect()
    assert job.told() == [(0, 0.5), (1, 1.5), (2, 2.5)]
    job.cuda.passed = 10
    job.losses.collect()
    assert job.told() == [(index, index + 0.5) for index in range(6)]


def test_what_is_on_its_way_is_bounded(job: Job) -> None:
    """Where the GPU lags far behind losses are left out, never waited for; then they are told again."""
    for index in range(2 * SLOTS):
        job.step(FakeTensor(float(index)))
    job.cuda.passed = job.cuda.moment
    job.losses.collect()
    job.step(FakeTensor(-1.0))
    job.cuda.passed = job.cuda.moment
    job.losses.collect()
    assert job.told() == [(index, float(index)) for index in range(SLOTS)] + [(2 * SLOTS, -1.0)]
    assert len(job.cuda.events) <= SLOTS


def test_events_and_memory_are_used_again(job: Job) -> None:
    """A long job whose GPU lags little needs a few events."""
    for index in range(3 * SLOTS):
        job.step(FakeTensor(float(index)))
        job.cuda.passed = job.cuda.moment - 3
    assert len(job.cuda.events) < 8
    assert not job.losses.here


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_a_scaled_loss_is_told_as_it_was(job: Job, kind: str) -> None:
    """The root that a gradient scaler made is told as the loss that it was made of."""
    plain, scaled = FakeTensor(0.75, kind=kind), FakeTensor(49152.0, kind=kind)
    job.losses.scaled(plain, scaled)
    job.step(scaled)
    job.cuda.passed = job.cuda.moment
    job.losses.collect()
    assert job.told() == [(0, 0.75)]


def test_a_scaled_loss_is_not_kept_alive(job: Job) -> None:
    """Holding the root would keep the graph of the whole step in memory."""
    scaled = FakeTensor(49152.0)
    job.losses.scaled(FakeTensor(0.75), scaled)
    job.step(scaled)
    gone = weakref.ref(scaled)
    del scaled
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    "roots",
    [
        FakeTensor(1.0, kind="cpu", count=3),
        FakeTensor(1.0, kind="cpu", floating=False),
        FakeTensor(1.0, kind="xpu"),
        [FakeTensor(1.0, kind="cpu"), FakeTensor(2.0, kind="cpu")],
        [],
        None,
        type("Mine", (FakeTensor,), {})(1.0, kind="cpu"),
    ],
    ids=["many", "integer", "elsewhere", "two", "none", "nothing", "subclass"],
)
def test_what_is_no_single_number_is_not_told(job: Job, roots: object) -> None:
    """Of other roots no loss is made up, and the losses of other steps are told."""
    job.step(roots)
    job.step(FakeTensor(1.0, kind="cpu"))
    assert job.told() == [(1, 1.0)]


def test_nothing_is_copied_in_a_graph_of_the_job(job: Job) -> None:
    """While the job captures a CUDA graph, or is on another device, nothing of ours is queued."""
    job.cuda.capturing = True
    job.step(FakeTensor(1.0))
    job.cuda.capturing = False
    job.cuda.device = 1
    job.step(FakeTensor(2.0))
    assert not job.cuda.events
