"""What neighbours on the machine do to a job is not taken for a fault of its own, and hides none."""

import math
import random
from dataclasses import replace

import pytest
from made_jobs import QUIET, STEPS, loads, moved, profile, quiet, rank, with_gauges, with_steps

from suffice.diagnose.ladder import diagnose
from suffice.diagnose.view import view_of
from suffice.records import Series, measured

WAITING = moved(QUIET, wait_for_data=0.096)


def ids(job):
    """The findings by name, the greatest bound first."""
    return [finding.id for finding in diagnose(job).findings]


def with_lengths(job, lengths, *, drift=None):
    """Forward and backward that last as long as the batch's sequences, and as neighbours let them."""
    slowed = drift or [1.0] * (2 * STEPS)
    (one,) = job.ranks
    step = measured(0.1, "s", low=0.05, high=0.3)
    job = replace(job, ranks=(replace(one, figures={**one.figures, "step_s": step}),))
    for place, name in enumerate(("forward_s", "backward_s")):
        values = [QUIET[name[:-2]] * lengths[i] * slowed[2 * i + place] for i in range(STEPS)]
        job = with_steps(job, name, values)
    return job


def drifting(period):
    """Neighbours that come and go: the same for what lies close in time."""
    return [1.5 + math.sin(2 * math.pi * i / period) for i in range(2 * STEPS)]


@pytest.mark.parametrize("pressure", [0.02, 1.0])
def test_lengths_are_found_however_busy_the_machine(pressure) -> None:
    """A long batch is long in forward and backward, and ends with its step, also beside neighbours."""
    draw = random.Random(0)
    lengths = [draw.choice([0.5, 1.0, 3.0]) for _ in range(STEPS)]
    job = with_gauges(with_lengths(quiet(), lengths), pressure_cpu=pressure, processors_used=3.8)
    assert "uneven-steps" in ids(job)


@pytest.mark.parametrize("period", [7, 40, 300])
def test_neighbours_that_come_and_go_are_no_lengths(period) -> None:
    """They slow a backward and the next step's forward alike."""
    assert "uneven-steps" not in ids(with_lengths(quiet(), [1.0] * STEPS, drift=drifting(period)))


def test_hiccups_in_every_part_are_no_gaps() -> None:
    """Neighbours that lengthen few steps lengthen forward and backward as well as the rest."""
    long = [20.0 if i % 15 == 0 else 1.0 for i in range(STEPS)]
    job = quiet(split=moved(QUIET, other=0.02))
    for name in ("forward_s", "backward_s", "other_s"):
        job = with_steps(job, name, [0.01 * each for each in long])
    assert "gaps" not in ids(job)
    assert "gaps" in ids(with_steps(with_steps(job, "forward_s", [0.01] * STEPS), "backward_s", [0.01] * STEPS))


def test_processors_that_neighbours_use_are_not_free() -> None:
    """Of four, the job uses one and others two: one is free; on a larger machine they have others to use."""
    job = profile(rank(split=WAITING, busy=1.0, loader=loads("compute", workers=0, fetch_s=0.003)), used=1.0)
    used = {**job.figures, "processors_used_by_others": measured(2.0, "processors")}
    assert view_of(replace(job, figures=used)).free_processors == pytest.approx(1.0)
    larger = replace(job, figures=used, machine={**job.machine, "processors": 16})
    assert view_of(larger).free_processors == pytest.approx(3.0)


def test_workers_as_many_as_processors_are_not_too_many() -> None:
    """Four workers on four processors that queue do so for neighbours: fewer of them would not help."""
    job = quiet(split=WAITING, loader=loads("compute", workers=4, fetch_s=0.02, on=0.3, queue=0.7))
    assert ids(job) == ["loader-compute"]


def test_samples_that_cost_next_to_nothing_are_not_handed_over() -> None:
    """Microseconds a sample cost as much again from a worker: gathering them comes first."""
    loader = loads("compute", workers=0, fetch_s=4e-5)
    first = diagnose(profile(rank(split=WAITING, busy=1.0, loader=loader), used=1.0)).findings[0]
    assert (first.id, first.cures) == ("loader-compute", ("sample-cache", "batch-gather", "loader-workers"))


def test_some_bytes_are_no_disk() -> None:
    """Two hundred bytes in 15 ms are not what a disk is slow about: the answer is waited for."""
    first = diagnose(quiet(split=WAITING, busy=1.9, loader=loads("I/O", fetch_s=0.015, on=0.1, read=200))).findings[0]
    assert first.cures[0] == "loader-workers"
    assert "MB/s" not in first.sentence


def test_memory_that_grows_before_the_loop_is_no_leak() -> None:
    """What is loaded for a long time before the first step counts for nothing."""
    job = with_gauges(quiet(), memory_gib=[2 + 0.05 * min(i, 40) for i in range(60)])
    steps = next(each for each in job.series if each.name == "step_s")
    begun_s = job.figures["duration_s"].value * 40 / 60
    late = Series(
        name="step_s",
        unit="s",
        at_s=tuple(begun_s + at_s / 4 for at_s in steps.at_s),
        values=steps.values,
        rank=0,
    )
    assert ids(replace(job, series=tuple(late if each is steps else each for each in job.series))) == []


def test_a_small_finding_hides_no_large_one() -> None:
    """A tenth that waits for data is told after the half that the optimiser takes."""
    split = moved(QUIET, wait_for_data=0.023, optimiser=0.1)
    assert ids(quiet(split=split, loader=loads("compute", workers=3))) == ["slow-optimiser", "loader-compute"]


def test_what_has_no_told_cause_does_not_end_the_climb() -> None:
    """Beside much work of the loop that no mark tells of, an optimiser that can be mended is found."""
    assert ids(quiet(split=moved(QUIET, other=0.09, optimiser=0.05))) == ["other-work", "slow-optimiser"]


def test_a_peak_that_was_measured_beside_neighbours_is_not_told() -> None:
    """A job that reaches ten times its machine's peak says that the peak is wrong."""
    assert "peak" in diagnose(quiet(share_of_peak=0.5)).sentence
    assert "peak" not in diagnose(quiet(share_of_peak=10.4)).sentence


def test_workers_that_take_the_processors_from_the_training() -> None:
    """The loop need not wait for data to be held up by too many workers: it may wait for a processor."""
    loader = loads("not limiting", workers=16, fetch_s=0.02, on=0.1, queue=0.9)
    first = diagnose(with_gauges(quiet(busy=0.25, loader=loader), pressure_cpu=0.9)).findings[0]
    assert (first.id, first.rung, first.cures) == ("crowded-workers", 2, ("loader-workers",))
    assert "without a processor for 73% of a step" in first.sentence


def test_workers_that_take_turns_are_not_too_many() -> None:
    """Whoever waits for a lock queues for a processor only now and then."""
    loader = loads("a lock", workers=16, on=0.1, queue=0.35)
    assert ids(quiet(split=WAITING, loader=loader)) == ["loader-lock"]
