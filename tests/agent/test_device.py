"""The GPU's own time by phase: events at the marks, read when they have passed, and nothing that waits."""

from suffice.agent import phases
from suffice.agent.device import MARKS_PER_STEP, STEPS_ON_THE_WAY, DeviceTimer
from suffice.measure.spool.reader import PHASES
from tests.agent.fake_cuda import FakeTorch

MARKS_OF_A_STEP = 7
FORWARD_MS, BACKWARD_MS, OPTIMISER_MS, BETWEEN_MS = 10, 20, 5, 1
TOLD = {"forward": FORWARD_MS, "backward": BACKWARD_MS, "optimiser": OPTIMISER_MS, "other": 3 * BETWEEN_MS}


class Job:
    """Steps of known length on the fake GPU's stream."""

    def __init__(self) -> None:
        self.torch = FakeTorch()
        self.cuda = self.torch.cuda
        self.timer = DeviceTimer(self.torch)
        self.index = 0

    def step(self, *, forwards: int = 1) -> None:
        for phase, milliseconds in [(phases.FORWARD, FORWARD_MS)] * forwards + [
            (phases.BACKWARD, BACKWARD_MS),
            (phases.OPTIMISER, OPTIMISER_MS),
        ]:
            self.timer.tap(phase)
            self.cuda.moment += milliseconds
            self.timer.tap(phases.OTHER)
            if phase != phases.OPTIMISER:
                self.cuda.moment += BETWEEN_MS
        self.timer.cut(phases.OTHER)
        self.cuda.moment += BETWEEN_MS
        self.timer.close(self.index)
        self.index += 1

    def told(self) -> dict[int, dict[str, float]]:
        """The milliseconds by phase of the steps that have arrived."""
        return {
            index: {name: ns / 1e6 for name, ns in zip(PHASES, totals, strict=True) if ns}
            for index, totals in self.timer.arrived()
        }

    def told_at_last(self) -> dict[int, dict[str, float]]:
        self.cuda.passed = self.cuda.moment
        return self.told()


def test_each_step_is_told_with_its_parts() -> None:
    """From the first complete step on, each is told with the stream's time by phase, from one cut to the next."""
    job = Job()
    for _ in range(5):
        job.step()
    assert job.told_at_last() == dict.fromkeys(range(1, 5), TOLD)


def test_nothing_is_read_before_it_has_passed() -> None:
    """Steps are told in order as the GPU gets through them, those that it has not reached are not."""
    job = Job()
    for _ in range(6):
        job.step()
    assert job.told() == {}
    each_ms = job.cuda.moment // 6
    job.cuda.passed = 3 * each_ms
    assert list(job.told()) == [1, 2]
    assert list(job.told()) == []
    assert list(job.told_at_last()) == [3, 4, 5]


def test_events_are_used_again() -> None:
    """However long the job, there are only as many events as the GPU lags behind."""
    job = Job()
    for _ in range(1_000):
        job.step()
        job.cuda.passed = job.cuda.moment - 100
        job.told()
    assert len(job.cuda.events) <= 6 * MARKS_OF_A_STEP


def test_events_are_bounded_where_the_gpu_never_arrives() -> None:
    """Where too many steps are on their way, further ones are left out, until there is room again."""
    job = Job()
    for _ in range(500):
        job.step()
    assert len(job.cuda.events) <= (STEPS_ON_THE_WAY + 2) * MARKS_OF_A_STEP
    assert list(job.told_at_last()) == list(range(1, STEPS_ON_THE_WAY + 1))
    for _ in range(4):
        job.step()
    told = job.told_at_last()
    assert list(told)[-2:] == [502, 503]
    assert all(parts == TOLD for parts in told.values())


def test_a_step_of_too_many_marks_is_left_out() -> None:
    """A step that calls its models very often is not told, those around it are."""
    job = Job()
    for index in range(6):
        job.step(forwards=MARKS_PER_STEP if index == 2 else 1)
    assert list(job.told_at_last()) == [1, 4, 5]


def test_nothing_is_recorded_in_a_graph_of_the_job() -> None:
    """While the job captures a CUDA graph no event is recorded, and the step is left out."""
    job = Job()
    for index in range(6):
        job.cuda.capturing = index == 2
        job.step()
    assert list(job.told_at_last()) == [1, 4, 5]


def test_a_step_on_two_devices_is_left_out() -> None:
    """Events of two devices can't be compared."""
    job = Job()
    for index in range(6):
        job.cuda.device = int(index == 2)
        job.step()
    assert list(job.told_at_last()) == [1, 4, 5]


def test_a_step_on_two_streams_is_left_out() -> None:
    """Where the stream changes within a step its events have no common order; later steps are told again."""
    job = Job()
    for index in range(6):
        job.cuda.stream = int(index >= 3)
        job.step()
    assert list(job.told_at_last()) == [1, 2, 4, 5]


def test_after_steps_were_passed_over_the_next_is_complete() -> None:
    """A restart at the end of a step makes the next one whole; within a step that one is left out."""
    job = Job()
    for whole in (True, False):
        job.timer.restart(phases.OTHER, whole=whole)
        job.step()
        job.step()
    assert job.told_at_last() == {0: {**TOLD, "other": 2 * BETWEEN_MS}, 1: TOLD, 3: TOLD}
