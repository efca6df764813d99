"""A live job obeys: it is compared step by step, started again at its end, and leaves the user's files alone."""

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.connection import wait
from pathlib import Path
from random import Random

import pytest

from suffice.errors import RigError
from suffice.prove.courses import run_course
from suffice.prove.equality import judge_exact
from suffice.prove.full import Metric, full_pairs
from suffice.prove.rig import Pairs, Rig
from suffice.prove.trial import NULL, Arm, Budget, run_trial
from suffice.prove.workshop import Workshop
from suffice.records import Change, Course, Outcome, Risk
from suffice.run.sandbox import choose
from suffice.run.stage import stage_agent
from tests.conftest import JOBS

CACHE = Change(id="sample-cache", settings={}, risk=Risk.EXACT, practice="")
FUSED = Change(id="fused-optimiser", settings={}, risk=Risk.NUMERIC, practice="")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder that a job starts in, with files of the user."""
    folder = tmp_path / "user"
    folder.mkdir()
    (folder / "log.txt").write_text("mine\n")
    return folder


@pytest.fixture
def workshop(tmp_path: Path, place: Path) -> Iterator[Workshop]:
    """The job with dear samples, three epochs long, in a sandbox."""
    work, scratch = tmp_path / "work", tmp_path / "scratch"
    work.mkdir()
    scratch.mkdir()
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    yield Workshop(
        command=(sys.executable, str(JOBS / "slow_samples.py"), "3"),
        environment={**os.environ, "OMP_NUM_THREADS": "1"},
        sandbox=choose(scratch, folder=place, stays_open=[work]),
        stage=stage_agent(tmp_path / "agent"),
        folder=work,
    )
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before


@pytest.fixture
def rig(workshop: Workshop, tmp_path: Path) -> Iterator[Rig]:
    """The live job."""
    spool = tmp_path / "spool"
    spool.mkdir()
    with closing(Rig(workshop, spool=spool)) as live:
        yield live


def test_the_null_candidate_makes_no_difference(rig: Rig) -> None:
    """A job that is compared with itself is not kept."""
    seen = Pairs()
    pairs = rig.pairs(None, clock="processor", block=1, warm_up=0, seen=seen)
    trial = run_trial(NULL, pairs, rng=Random(0), budget=Budget(pairs=20))
    assert trial.verdict.outcome is not Outcome.KEPT
    assert len(seen.wall) == len(seen.processor) == trial.verdict.pairs


def test_pairs_go_on_in_the_next_process(rig: Rig) -> None:
    """24 steps do not hold 20 pairs: the job comes to its end and is started again."""
    seen = Pairs()
    measure = rig.pairs(None, clock="wall", block=1, warm_up=0, seen=seen)
    for _ in range(20):
        assert measure(Arm.PLAIN) is not None
    assert rig.starts > 1
    assert len(seen.wall) == 20


@pytest.mark.slow
def test_a_cache_of_dear_samples_is_kept(rig: Rig) -> None:
    """The samples take most of the step: without making them anew it is several times as fast."""
    assert rig.prepare(CACHE) is None
    pairs = rig.pairs(CACHE, clock="wall", block=1, warm_up=0, seen=Pairs())
    trial = run_trial(CACHE.id, pairs, rng=Random(0), budget=Budget(pairs=60))
    assert trial.verdict.outcome is Outcome.KEPT
    assert trial.verdict.ratio is not None
    assert trial.verdict.ratio.value > 2
    rig.keep(CACHE)
    assert rig.facts()["sample-cache"]["given_up"] is None


def test_what_was_kept_is_there_in_the_next_process(rig: Rig) -> None:
    """The job comes to its end; its successor runs with the change."""
    assert rig.prepare(FUSED) is None
    rig.keep(FUSED)
    while rig.run(10) is not None:
        pass
    assert set(rig.facts()) == {"fused-optimiser"}
    assert rig.starts == 2


@pytest.mark.parametrize("name", ["no-such-change", "../../boot"])
def test_what_is_no_change_is_refused(rig: Rig, name: str) -> None:
    """A name from a plan is never more than a name."""
    reason = rig.prepare(Change(id=name, settings={}, risk=Risk.EXACT, practice=""))
    assert reason is not None
    assert "no" in reason
    assert rig.run(2) is not None, "the job goes on"


def test_a_job_that_trains_nothing(workshop: Workshop, tmp_path: Path) -> None:
    """The error says so, with what the job printed."""
    silent = Workshop(**{f: getattr(workshop, f) for f in workshop.__dataclass_fields__} | {"command": ("echo", "hm")})
    with pytest.raises(RigError, match=r"(?s)made no step.*hm"):
        Rig(silent, spool=tmp_path)


def test_a_job_that_suffice_has_left_ends(workshop: Workshop, tmp_path: Path) -> None:
    """Also where its last answer was never read, which the socket tells it by an error."""
    endless = (*workshop.command[:-1], "100000")
    named = {f: getattr(workshop, f) for f in workshop.__dataclass_fields__} | {"command": endless}
    with closing(Rig(Workshop(**named), spool=tmp_path)) as rig:
        assert rig.links is not None
        assert rig.process is not None
        (link,) = rig.links.links
        link.connection.sendall(b'{"do": "facts"}\n')
        assert wait([link.connection], 60)
        link.connection.close()
        rig.process.process.wait(60)


@pytest.mark.slow
def test_a_job_that_updates_its_weights_itself(workshop: Workshop, tmp_path: Path) -> None:
    """A step ends with its backward pass; the processes after the first need not find that out."""
    workshop.command = (sys.executable, str(JOBS / "update_by_hand.py"), "4")
    with closing(Rig(workshop, spool=tmp_path)) as live:
        assert workshop.by_hand
        measure = live.pairs(None, clock="wall", block=1, warm_up=0, seen=Pairs())
        assert all(measure(Arm.PLAIN) for _ in range(40)), "two processes are too few for as many pairs"
        assert "no fused step" in str(live.prepare(FUSED))
        assert live.starts > 1
    file = tmp_path / "work" / "reference.pt"
    baseline = run_course(workshop, (), steps=12, reference=("write", file))
    again = run_course(workshop, (), steps=12, reference=("compare", file))
    assert isinstance(baseline, Course)
    assert isinstance(again, Course)
    assert len(baseline.losses) == 12
    assert len(set(baseline.losses)) == 12, "it learns"
    assert judge_exact(baseline, baseline, again).met


@pytest.mark.slow
def test_courses_of_the_same_job_are_bitwise_equal_with_a_cache(workshop: Workshop, tmp_path: Path) -> None:
    """Losses, gradients and weights of a job with a random shift after the cached part."""
    file = tmp_path / "work" / "reference.pt"
    baseline = run_course(workshop, (), steps=12, reference=("write", file))
    again = run_course(workshop, (), steps=12, reference=("compare", file))
    cached = run_course(workshop, (CACHE,), steps=12, reference=("compare", file))
    assert isinstance(baseline, Course)
    assert isinstance(again, Course)
    assert isinstance(cached, Course), cached
    assert len(cached.losses) == 12
    assert judge_exact(baseline, again, cached).met


def test_a_course_with_an_impossible_change_tells_why(workshop: Workshop) -> None:
    """A plan from elsewhere may ask for what this job can't have."""
    gone = Change(id="no-such-change", settings={}, risk=Risk.EXACT, practice="")
    assert "no technique" in str(run_course(workshop, (gone,), steps=2))


@pytest.mark.slow
def test_whole_runs_share_their_seeds(workshop: Workshop) -> None:
    """Of an exact change the metric is the same in each pair, and another from seed to seed."""
    pairs = list(full_pairs(workshop, (CACHE,), Metric.parse(r"accuracy: ([0-9.]+)"), seeds=2))
    assert [pair.plain == pair.changed for pair in pairs] == [True, True]
    assert pairs[0].plain != pairs[1].plain
