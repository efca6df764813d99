"""A live job of two ranks: both obey the same orders at the same steps, change together, and end together."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from suffice.errors import RigError
from suffice.prove.courses import run_course
from suffice.prove.gate import Gate
from suffice.prove.rig import Pairs, Rig
from suffice.prove.trial import Arm
from suffice.prove.workshop import Workshop
from suffice.records import Change, Risk
from suffice.run.sandbox import choose
from suffice.run.stage import stage_agent
from tests.conftest import JOBS

pytestmark = pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch has no gloo")

LAUNCHED = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
VIEW = Change(id="bucket-view", settings={}, risk=Risk.NUMERIC, practice="")
FUSED = Change(id="fused-optimiser", settings={}, risk=Risk.NUMERIC, practice="")
SPARED = Change(id="no-sync", settings={}, risk=Risk.NUMERIC, practice="")
THREADS = Change(id="intra-op-threads", settings={"threads": 2}, risk=Risk.NUMERIC, practice="")
NARROW = f"""
import os, runpy
if os.environ["RANK"] == "1":
    os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])
runpy.run_path({str(JOBS / "ddp_wide.py")!r}, run_name="__main__")
"""
UNLIKE = f"""
import os, runpy
import torch.nn.parallel as parallel
if os.environ["RANK"] == "1":
    plain = parallel.DistributedDataParallel
    class DistributedDataParallel(plain):
        def __init__(self, module):
            super().__init__(module, gradient_as_bucket_view=True)
    parallel.DistributedDataParallel = DistributedDataParallel
runpy.run_path({str(JOBS / "ddp_wide.py")!r}, run_name="__main__")
"""

Open = Callable[..., Rig]


@pytest.fixture
def open_rig(tmp_path: Path) -> Iterator[Open]:
    """A live job of this command; ended with the test."""
    for name in ("user", "work", "scratch", "spool"):
        (tmp_path / name).mkdir()
    opened: list[Rig] = []

    def open_it(*command: object, changes: Sequence[Change] = (), **variables: str) -> Rig:
        workshop = Workshop(
            command=tuple(map(str, command)),
            environment={**os.environ, "OMP_NUM_THREADS": "1", **variables},
            sandbox=choose(tmp_path / "scratch", folder=tmp_path / "user", stays_open=[tmp_path / "work"]),
            stage=stage_agent(tmp_path / "agent"),
            folder=tmp_path / "work",
        )
        opened.append(Rig(workshop, spool=tmp_path / "spool", changes=changes))
        return opened[-1]

    yield open_it
    for rig in opened:
        rig.close()


@pytest.mark.slow
def test_both_ranks_have_a_change_or_none(open_rig: Open, tmp_path: Path) -> None:
    """What one rank refuses is taken out on the other; what both accept is compared, by the clock on the wall."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one processor leaves no rank with fewer")
    script = tmp_path / "narrow.py"
    script.write_text(NARROW)
    rig = open_rig(*LAUNCHED, script)
    assert rig.ranks == 2
    ran = rig.run(3)
    assert ran is not None
    assert len(ran["wall_s"]) == 3
    reason = rig.prepare(THREADS)
    assert reason is not None
    assert reason.startswith("on rank 1: 2 threads would share 1 ")
    assert rig.facts() == {}
    assert rig.prepare(VIEW) is None
    seen = Pairs()
    measure = rig.pairs(VIEW, clock="processor", block=2, warm_up=1, seen=seen)
    assert [measure(first) for first in (Arm.PLAIN, Arm.CHANGED)] == seen.wall
    assert all(seconds > 0 for pair in (*seen.wall, *seen.processor) for seconds in pair)
    assert rig.starts == 1
    rig.rest()
    course = run_course(rig.workshop, (THREADS,), steps=2)
    assert str(course).startswith("on rank 1: intra-op-threads: 2 threads would share 1 ")


def test_a_job_that_starts_with_changes_has_them_on_all_ranks_or_on_none(open_rig: Open, tmp_path: Path) -> None:
    """Rank 1 gathers its gradients in views already, so rank 0 does not begin to; what each does by itself stays."""
    script = tmp_path / "unlike.py"
    script.write_text(UNLIKE)
    rig = open_rig(*LAUNCHED, script, changes=(FUSED, VIEW))
    assert rig.run(2) is not None
    assert rig.refused() == {"bucket-view": "the job has it already"}
    assert set(rig.facts()) == {"fused-optimiser"}


@pytest.mark.slow
def test_the_ranks_end_and_begin_again_together(open_rig: Open) -> None:
    """At the job's end, and where the courses need its port; what was kept is there again."""
    rig = open_rig(*LAUNCHED, JOBS / "ddp_wide.py", 1)
    assert rig.prepare(FUSED) is None
    rig.keep(FUSED)
    while rig.run(50) is not None:
        pass
    assert set(rig.facts()) == {"fused-optimiser"}
    assert (rig.starts, rig.ranks) == (2, 2)
    rig.rest()
    assert rig.run(1) is None
    rig.wake()
    assert (rig.starts, rig.ranks) == (3, 2)
    assert rig.prepare(VIEW) is None
    rig.keep(VIEW)
    measure = rig.together(clock="wall", block=2, warm_up=1, seen=Pairs())
    assert all(measure(first) for first in (Arm.PLAIN, Arm.CHANGED))
    assert set(rig.facts()) == {"fused-optimiser", "bucket-view"}
    assert rig.starts == 3


def test_ranks_of_several_nodes_are_refused(open_rig: Open) -> None:
    """The launcher says how many of the ranks are here."""
    told = {"RANK": "0", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
    with pytest.raises(RigError, match="4 ranks, 2 of them on this machine"):
        open_rig(sys.executable, JOBS / "slow_samples.py", 3, **told)


@pytest.mark.slow
def test_courses_of_ranks_show_what_a_change_alters(open_rig: Open) -> None:
    """Against a twin: an exchange in three passes rounds otherwise, and no more than that."""
    rig = open_rig(*LAUNCHED, JOBS / "ddp_wide.py", 9, 3)
    rig.rest()
    gate = Gate(rig.workshop, steps=8)
    for change in (VIEW, SPARED):
        judgement = gate.judge((), change)
        assert judgement.met, judgement.reason
