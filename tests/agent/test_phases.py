"""The phase clock tiles time: whatever is entered, left or forgotten, each nanosecond belongs to one phase."""

from hypothesis import given
from hypothesis import strategies as st

from suffice.agent import phases
from suffice.agent.phases import PhaseClock

TRAINING = st.sampled_from((phases.WAIT, phases.COPY, phases.FORWARD, phases.BACKWARD, phases.OPTIMISER))
MARKS = st.one_of(
    st.tuples(st.just("enter"), TRAINING),
    st.tuples(st.just("leave")),
    st.tuples(st.just("settle")),
    st.tuples(st.just("rest"), st.booleans(), st.sampled_from((phases.OTHER, phases.COPY))),
)


class Time:
    """A clock that goes on when told."""

    def __init__(self) -> None:
        self.moment = 1_000

    def __call__(self) -> int:
        return self.moment

    def pass_ns(self, nanoseconds: int) -> None:
        self.moment += nanoseconds


def told(clock: PhaseClock) -> dict[str, int]:
    """The phases that hold any time."""
    return {name: ns for name, ns in zip(phases.NAMES, clock.totals, strict=True) if ns}


@given(st.lists(st.tuples(st.integers(0, 10**12), MARKS)))
def test_the_phases_tile_time(happenings: list[tuple[int, tuple[object, ...]]]) -> None:
    """After any marks in any order, left open or left twice, the phases sum up to the time that has passed."""
    now = Time()
    clock = PhaseClock(now)
    begun = now()
    for nanoseconds, (mark, *arguments) in happenings:
        now.pass_ns(nanoseconds)
        getattr(clock, str(mark))(*arguments)
        assert sum(clock.totals) == clock.since - begun
    clock.settle()
    assert sum(clock.totals) == now() - begun
    assert min(clock.totals) >= 0


def test_time_is_exclusive() -> None:
    """What is entered within a phase is not counted for the phase around it."""
    now = Time()
    clock = PhaseClock(now)
    now.pass_ns(1)
    clock.enter(phases.OPTIMISER)
    now.pass_ns(10)
    clock.enter(phases.BACKWARD)
    now.pass_ns(100)
    clock.leave()
    now.pass_ns(1_000)
    clock.leave()
    now.pass_ns(10_000)
    clock.settle()
    assert told(clock) == {"other": 10_001, "optimiser": 1_010, "backward": 100}


def test_an_evaluation_has_phases_of_its_own() -> None:
    """While the job evaluates, waiting and forward passes are the evaluation's, and so is all that lies between."""
    now = Time()
    clock = PhaseClock(now)
    clock.rest(True)
    for phase in (phases.WAIT, phases.FORWARD, phases.BACKWARD):
        clock.enter(phase)
        now.pass_ns(10)
        clock.leave()
        now.pass_ns(1)
    clock.rest(False)
    now.pass_ns(5)
    clock.settle()
    assert told(clock) == {"evaluation_wait": 10, "evaluation_forward": 10, "evaluation_other": 13, "other": 5}


def test_an_exit_that_was_never_marked_is_made_good() -> None:
    """An exception that kept exits from being marked costs the time until the next rest, and nothing after it."""
    now = Time()
    clock = PhaseClock(now)
    clock.enter(phases.FORWARD)
    clock.enter(phases.BACKWARD)
    now.pass_ns(7)
    clock.rest(False)
    now.pass_ns(3)
    clock.leave()
    now.pass_ns(2)
    clock.settle()
    assert told(clock) == {"backward": 7, "other": 5}


def test_the_copy_lasts_until_the_model_is_called() -> None:
    """After the delivery of a batch the time between marks is the copy's until the next rest."""
    now = Time()
    clock = PhaseClock(now)
    clock.rest(False, phases.COPY)
    now.pass_ns(4)
    clock.enter(phases.FORWARD)
    now.pass_ns(8)
    clock.leave()
    clock.rest(False)
    now.pass_ns(16)
    clock.settle()
    assert told(clock) == {"copy": 4, "forward": 8, "other": 16}


def test_the_tap_hears_each_change_of_phase() -> None:
    """A GPU's timer, which listens at the tap, is told of the phase that begins at each mark."""
    clock, heard = PhaseClock(Time()), list[int]()
    clock.tap = heard.append
    clock.enter(phases.FORWARD)
    clock.leave()
    clock.rest(True)
    clock.enter(phases.FORWARD)
    assert heard == [phases.FORWARD, phases.OTHER, phases.EVAL_OTHER, phases.EVAL_FORWARD]


def test_a_clock_goes_on_from_a_moment_of_the_past() -> None:
    """After steps were passed over, the time since the last of them is told, and nothing from before it."""
    now = Time()
    clock = PhaseClock(now)
    clock.enter(phases.BACKWARD)
    now.pass_ns(100)
    clock.resume(now() - 30)
    clock.enter(phases.WAIT)
    now.pass_ns(5)
    clock.settle()
    assert told(clock) == {"other": 30, "wait_for_data": 5}
