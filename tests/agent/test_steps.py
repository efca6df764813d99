"""Where a step ends, and that steps tile the loop, on a clock that is moved by hand."""

from pathlib import Path

import pytest

from suffice.agent import phases
from suffice.agent.spool import Spool
from suffice.agent.steps import (
    BY_BACKWARD,
    PASSED_OVER,
    PATIENCE,
    PATIENCE_WITH_OPTIMISER,
    STEADY,
    Steps,
)
from suffice.measure.spool.reader import PHASES, ProcessRecord, SpoolReader, StepRow

FORWARD_NS, BACKWARD_NS, OPTIMISER_NS, BETWEEN_NS = 100, 200, 30, 4
CRITIC, GENERATOR = 1, 2


class Loop:
    """The marks of a job whose parts take known times; `record` ends it and reads what was written."""

    def __init__(self, folder: Path) -> None:
        self.moment = 10_000
        self.folder = folder
        self.clock = phases.PhaseClock(lambda: self.moment)
        self.spool = Spool(str(folder), lambda: self.moment)
        self.steps = Steps(self.clock, self.spool, lambda: self.moment * 2)
        self.steps.begin()

    def part(self, phase: int, nanoseconds: int) -> None:
        self.clock.enter(phase)
        self.moment += nanoseconds
        self.clock.leave()
        self.moment += BETWEEN_NS

    def batch(self, samples: int = 8, tokens: int = 0) -> None:
        self.steps.batch_wanted()
        self.steps.count((samples, tokens, "cpu"))

    def learn(self, *, has_optimiser: bool = True) -> None:
        self.steps.forward_begins()
        self.part(phases.FORWARD, FORWARD_NS)
        self.part(phases.BACKWARD, BACKWARD_NS)
        self.steps.backward_ended(has_optimiser)

    def update(self, optimiser: int = CRITIC) -> None:
        self.steps.optimiser_begins(optimiser)
        self.clock.enter(phases.OPTIMISER)
        self.moment += OPTIMISER_NS
        self.clock.leave()
        self.steps.optimiser_ended(optimiser)
        self.moment += BETWEEN_NS

    def record(self) -> ProcessRecord:
        self.steps.finish()
        self.spool.close()
        (record,) = SpoolReader(self.folder).close()
        assert record.damaged_lines == 0
        assert record.tail_end_ns is not None
        assert record.begun_ns is not None
        told_ns = sum(sum(row.ns) for row in record.steps) + sum(record.tail_ns)
        assert told_ns == record.tail_end_ns - record.begun_ns, "the steps and the tail do not tile the loop"
        assert [row.end_ns for row in record.steps] == sorted({row.end_ns for row in record.steps})
        return record


def part(row: StepRow, name: str) -> int:
    return row.ns[PHASES.index(name)]


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    return Loop(tmp_path)


def test_a_step_is_told_with_its_parts(loop: Loop) -> None:
    """A step ends where the optimiser returned; what follows belongs to the next, and what comes last to the tail."""
    for _ in range(3):
        loop.batch(samples=8, tokens=32)
        loop.learn()
        loop.update()
    record = loop.record()
    assert [(row.last, row.count, row.samples, row.tokens, row.flags) for row in record.steps] == [
        (index, 1, 8, 32, 0) for index in range(3)
    ]
    for row in record.steps:
        assert (part(row, "forward"), part(row, "backward")) == (FORWARD_NS, BACKWARD_NS)
        assert part(row, "optimiser") == OPTIMISER_NS
        assert row.processor_ns == 2 * sum(row.ns)
    assert sum(record.tail_ns) == BETWEEN_NS


def test_accumulated_batches_are_one_step(loop: Loop) -> None:
    """Several batches with one optimiser step are one step of all their samples."""
    for _ in range(2):
        for _ in range(4):
            loop.batch(samples=3)
            loop.learn()
        loop.update()
    steps = loop.record().steps
    assert [row.samples for row in steps] == [12, 12]
    assert [part(row, "backward") for row in steps] == [4 * BACKWARD_NS] * 2


@pytest.mark.parametrize("has_loader", [True, False])
def test_two_optimisers_make_one_step(loop: Loop, has_loader: bool) -> None:  # noqa: FBT001 - pytest's way
    """The optimisers of one batch make one step, with a loader or without."""
    for _ in range(3):
        if has_loader:
            loop.batch()
        for optimiser in (CRITIC, GENERATOR):
            loop.learn()
            loop.update(optimiser)
    steps = loop.record().steps
    assert [(row.last, part(row, "optimiser")) for row in steps] == [(i, 2 * OPTIMISER_NS) for i in range(3)]


def test_one_optimiser_twice_a_batch(loop: Loop) -> None:
    """With a loader that is asked once, the same optimiser stepping twice makes two steps."""
    loop.batch()
    for _ in range(2):
        loop.learn()
        loop.update()
    assert len(loop.record().steps) == 2


def test_a_job_without_an_optimiser_ends_its_steps_with_backward(loop: Loop) -> None:
    """Once enough backward passes came without an optimiser's step, each ends a step; none of them is lost."""
    for _ in range(PATIENCE + 10):
        loop.batch()
        loop.learn(has_optimiser=False)
    steps = loop.record().steps
    assert sum(row.count for row in steps) == PATIENCE + 10
    assert all(row.flags & BY_BACKWARD for row in steps)
    assert steps[0].count == PATIENCE
    assert {row.count for row in steps[1:]} == {1}


def test_long_accumulation_is_not_taken_for_a_job_without_an_optimiser(loop: Loop) -> None:
    """Where there is an optimiser, many backward passes before its step are one step."""
    for _ in range(10 * PATIENCE):
        loop.batch(samples=1)
        loop.learn()
    assert 10 * PATIENCE < PATIENCE_WITH_OPTIMISER
    loop.update()
    (step,) = loop.record().steps
    assert (step.samples, step.flags) == (10 * PATIENCE, 0)


def test_the_end_of_a_step_is_sure_once_steps_were_alike(loop: Loop) -> None:
    """After some steps with as many optimiser steps each, the last of them is known when it returns."""
    sure = []
    for _ in range(STEADY + 4):
        loop.batch()
        for optimiser in (CRITIC, GENERATOR):
            loop.learn()
            loop.update(optimiser)
            sure.append(loop.steps.surely_ended())
    assert sure == [False] * 2 * (STEADY + 1) + [False, True] * 3
    loop.record()


def test_steps_that_were_passed_over_are_one_row(loop: Loop) -> None:
    """A stretch tells how many steps it holds and what they took, and the next step has its own index."""
    loop.batch()
    loop.learn()
    loop.update()
    loop.steps.batch_wanted()
    loop.moment += 5_000
    loop.steps.passed_over(10, loop.moment)
    loop.moment += 7
    loop.learn()
    loop.update()
    first, stretch, last = loop.record().steps
    assert (first.last, stretch.last, stretch.count, last.last) == (0, 10, 10, 11)
    assert stretch.flags == PASSED_OVER
    assert sum(stretch.ns) == part(stretch, "other") == 5_000 + BETWEEN_NS
    assert part(last, "forward") == FORWARD_NS


def test_an_iteration_without_a_step_was_an_evaluation(loop: Loop) -> None:
    """Time that was presumed to be training is booked over, and its samples are no step's."""
    loop.batch(samples=8)
    checkpoint = loop.steps.checkpoint()
    loop.part(phases.WAIT, 50)
    loop.part(phases.FORWARD, 60)
    loop.steps.count((100, 0, "cpu"))
    loop.steps.recast(checkpoint, phases.TO_EVALUATION)
    loop.learn()
    loop.update()
    (step,) = loop.record().steps
    assert (part(step, "evaluation_wait"), part(step, "evaluation_forward")) == (50, 60)
    assert (part(step, "wait_for_data"), part(step, "forward"), step.samples) == (0, FORWARD_NS, 8)


def test_an_evaluation_that_led_to_a_step_was_training(loop: Loop) -> None:
    """What was presumed to be an evaluation is booked back."""
    checkpoint = loop.steps.checkpoint()
    loop.clock.rest(True)
    loop.part(phases.WAIT, 50)
    loop.part(phases.FORWARD, 60)
    loop.steps.recast(checkpoint, phases.TO_TRAINING)
    loop.clock.rest(False)
    loop.update()
    (step,) = loop.record().steps
    assert (part(step, "wait_for_data"), part(step, "forward")) == (50, 60)
    assert part(step, "evaluation_other") == 0


def test_what_came_before_a_step_is_not_booked_over_after_it(loop: Loop) -> None:
    """A checkpoint from before an optimiser's step changes nothing any more."""
    checkpoint = loop.steps.checkpoint()
    loop.learn()
    loop.update()
    loop.steps.recast(checkpoint, phases.TO_EVALUATION)
    (step,) = loop.record().steps
    assert part(step, "forward") == FORWARD_NS


def test_a_process_without_a_loop_tells_none(tmp_path: Path) -> None:
    """Where no mark was ever made there is neither a loop nor a tail."""
    spool = Spool(str(tmp_path))
    Steps(phases.PhaseClock(), spool).finish()
    spool.message("end")
    spool.close()
    (record,) = SpoolReader(tmp_path).close()
    assert record.begun_ns is record.tail_end_ns is None
