"""A change of the process is tried by pairs of fresh processes: the too dear is not begun, the faster is kept."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from suffice.change.catalog import technique
from suffice.prove.gate import Gate
from suffice.prove.processes.trials import ProcessTrials
from suffice.prove.rig import Pairs, Rig
from suffice.prove.search import Search, Terms
from suffice.prove.trial import Arm
from suffice.prove.workshop import Workshop
from suffice.records import Change, Outcome, Trial
from suffice.run.sandbox import choose
from suffice.run.stage import stage_agent
from tests.conftest import JOBS
from tests.jobs.allocator import build_allocator

KEEPS_BLOCKS = technique("allocator").change({"library": "tcmalloc"})
PASSIVE = technique("wait-policy").change({"policy": "passive"})


@pytest.fixture
def trials(tmp_path: Path) -> Iterator[Callable[..., ProcessTrials]]:
    """Trials of a job that fills blocks of memory, with an allocator that keeps them in its environment."""
    work, scratch, user = tmp_path / "work", tmp_path / "scratch", tmp_path / "user"
    for folder in (work, scratch, user):
        folder.mkdir()
    build_allocator(tmp_path / "env", "libtcmalloc_minimal.so.4")
    with ExitStack() as stack:

        def make(*, seconds: float, steps: int = 4000, blocks: int = 1, **variables: str) -> ProcessTrials:
            added = {"OMP_NUM_THREADS": "1", "CONDA_PREFIX": str(tmp_path / "env"), **variables}
            workshop = Workshop(
                command=(sys.executable, str(JOBS / "blocks.py"), str(steps), str(blocks)),
                environment={**os.environ, **added},
                sandbox=choose(scratch, folder=user, stays_open=[work]),
                stage=stage_agent(tmp_path / "agent"),
                folder=work,
            )
            rig = stack.enter_context(closing(Rig(workshop, spool=None)))
            ran = rig.run(12)
            assert ran is not None
            step_s = sorted(ran["wall_s"])[6]
            search = Search(rig, Gate(workshop, steps=4), Terms(seconds=seconds), step_s=step_s)
            return ProcessTrials(search, workshop)

        yield make


def only(found: ProcessTrials, change: Change) -> Trial:
    """The trial of this change alone."""
    ((_, trial),) = found.each([change], {})
    return trial


@pytest.mark.slow
def test_a_pair_is_measured_in_two_processes_of_which_one_has_the_change(
    trials: Callable[..., ProcessTrials], tmp_path: Path
) -> None:
    """Each is started anew, one of them with the library, and both have ended when the pair is measured."""
    found = trials(seconds=100_000, steps=30)  # the script ends within the blocks, and is started again
    before = set((tmp_path / "work").glob("order-*"))
    seen = Pairs()
    pair = found._pairs(KEEPS_BLOCKS, "wall", seen)(Arm.PLAIN)
    assert pair == seen.wall[0]
    assert min(*pair, *seen.processor[0]) > 0
    printed = [(folder / "output.txt").read_text() for folder in set((tmp_path / "work").glob("order-*")) - before]
    assert {"libtcmalloc" in text for text in printed} == {True, False}
    assert not running(tmp_path / "user", besides=found.search.rig)


def running(folder: Path, *, besides: Rig) -> list[int]:
    """The processes that work in the folder, without that of a rig."""
    own = besides.process.process.pid if besides.process else 0
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink() == folder and int(entry.name) != own:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_what_the_time_does_not_hold_is_not_begun(trials: Callable[..., ProcessTrials]) -> None:
    """It is undecided, with what it would have taken, and the search's own process goes on."""
    found = trials(seconds=20)
    trial = only(found, KEEPS_BLOCKS)
    assert trial.verdict.outcome is Outcome.UNDECIDED
    assert "20 pairs of processes take about" in trial.verdict.reason
    assert "--time" in trial.verdict.reason
    assert found.search.rig.run(2) is not None


def test_what_the_user_has_set_is_refused_without_a_trial(trials: Callable[..., ProcessTrials]) -> None:
    """The user's own variable wins."""
    trial = only(trials(seconds=1000, OMP_WAIT_POLICY="active"), PASSIVE)
    assert trial.verdict.outcome is Outcome.REFUSED
    assert "you have set OMP_WAIT_POLICY=active" in trial.verdict.reason
    assert trial.spent_s == 0


def test_what_does_not_take_in_the_job_is_refused_with_its_reason(trials: Callable[..., ProcessTrials]) -> None:
    """The process was started with it, and has one thread only."""
    trial = only(trials(seconds=100_000), PASSIVE)
    assert trial.verdict.outcome is Outcome.REFUSED
    assert "one thread waits for no other" in trial.verdict.reason


@pytest.mark.slow
def test_an_allocator_that_spares_the_kernel_is_kept(trials: Callable[..., ProcessTrials]) -> None:
    """Nearly all of the step are faults of memory without it; 20 pairs at least, and the same numbers."""
    found = trials(seconds=3600, blocks=2)
    trial = only(found, KEEPS_BLOCKS)
    assert trial.verdict.outcome is Outcome.KEPT, trial.verdict
    assert trial.verdict.pairs >= 20
    assert trial.verdict.ratio is not None
    assert trial.verdict.ratio.value > 1.2
    assert "paired processes" in (trial.verdict.ratio.method or "")
    assert "equal" in trial.verdict.reason or "same" in trial.verdict.reason
    assert found.kept == [KEEPS_BLOCKS]
