"""Real jobs with a planted fault, measured and diagnosed: some for a moment, all of them among the slow tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from diagnosis import expected, judged, measured
from planted_jobs import JOBS

from suffice.diagnose.ladder import diagnose

BY_NAME = {job.name: job for job in JOBS}
QUICK = ("unfused optimiser",)
SHORT_S, LONG_S = 3, 10


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One home for all, so that the machine's peak is measured once."""
    return tmp_path_factory.mktemp("home")


def check(name, seconds, home):
    """Run the job and compare its diagnosis with what was planted."""
    job = BY_NAME[name]
    profile, others = measured(job, seconds, home)
    found = diagnose(profile)
    right, named = judged(found, *expected(job, others))
    assert right, (named, found.rung, found.sentence, f"neighbours used {others:.2f} processors")


@pytest.mark.alone
@pytest.mark.parametrize("name", QUICK)
def test_a_fault_is_found_within_seconds(name, home) -> None:
    """Three seconds of training are enough for a fault that weighs heavily."""
    check(name, SHORT_S, home)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in BY_NAME if name not in QUICK])
def test_every_planted_fault_is_found(name, home) -> None:
    """Each job of the bench stands on its rung with its first cure; a job without a fault is offered none."""
    check(name, LONG_S, home)


def test_there_are_enough_of_them() -> None:
    """Two dozen faults, and several jobs without one; each of a name and with one kind of answer."""
    faulty = [job for job in JOBS if job.cures or job.advice]
    assert len(faulty) >= 24
    assert len(JOBS) - len(faulty) >= 5
    assert len(BY_NAME) == len(JOBS)
    assert not [job.name for job in JOBS if job.cures and job.advice]
