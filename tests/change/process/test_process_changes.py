"""What a job is started with: the user's own variables win, what is missing is refused, a plan's run tells which."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from suffice.agent.rig.job import Refused
from suffice.change.catalog import CATALOG, at_start, needs_own_process, technique
from suffice.change.process import allocator, wait_policy
from suffice.keep.plan import MachineFacts, Plan, PlannedChange, Proof
from suffice.keep.plan_text import read, write
from suffice.records import measured
from tests.conftest import JOBS
from tests.jobs.allocator import build_allocator

PASSIVE = technique("wait-policy").change({"policy": "passive"})
TCMALLOC = technique("allocator").change({"library": "tcmalloc"})
JOB = [sys.executable, JOBS / "blocks.py", "8", "0"]


def plan_file(folder: Path, *changes: object) -> Path:
    """A plan with these changes, written as a search writes it."""
    planned = tuple(PlannedChange(change=change) for change in changes)
    path = folder / "plan.toml"
    path.write_text(
        write(Plan(command=("python", "job.py"), made="2026-01-01", machine=MachineFacts(), changes=planned))
    )
    return path


def two_threads() -> dict[str, str]:
    """The environment without anything that decides how threads wait."""
    gone = (*wait_policy.RIVALS, "LD_PRELOAD")
    return {**{name: value for name, value in os.environ.items() if name not in gone}, "OMP_NUM_THREADS": "2"}


def test_which_changes_need_a_process_of_their_own():
    """Those of the room, and no others; each is exact, so that its numbers are compared bit by bit."""
    own = {each for each in CATALOG if CATALOG[each].environment is not None}
    assert own == {"allocator", "wait-policy"}
    assert needs_own_process(PASSIVE)
    assert not needs_own_process(technique("fused-optimiser").change({}))


def test_the_policy_is_set_beside_the_users_variables():
    """Nothing of the user's is lost, and other changes are left to the agent."""
    listed = [{"id": "fused-optimiser", "settings": {}}, {"id": "wait-policy", "settings": {"policy": "passive"}}]
    variables, told = at_start(listed, {"HOME": "/home/me"})
    assert variables == {"HOME": "/home/me", "OMP_WAIT_POLICY": "PASSIVE"}
    assert told == listed


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY"])
def test_what_the_user_set_of_the_waiting_stays(name):
    """Also by the runtime's own names."""
    variables, (told,) = at_start([{"id": "wait-policy", "settings": {"policy": "passive"}}], {name: "7"})
    assert variables == {name: "7"}
    assert told["refused"] == f"you have set {name}=7, and that stays"


@pytest.mark.parametrize("name", ["LD_PRELOAD", "MALLOC_ARENA_MAX", "MALLOC_CONF", "GLIBC_TUNABLES"])
def test_what_the_user_set_of_the_memory_stays(name):
    """Another preloaded library, or a tuned allocator."""
    assert f"you have set {name}=x" in allocator.environment({"library": "jemalloc"}, {name: "x"})


def test_an_allocator_that_is_not_there_is_refused(tmp_path):
    """With how to install it; what lies at its place and is no library of this processor is not taken for one."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libjemalloc.so.2").write_text("no library")
    refused = allocator.environment({"library": "jemalloc"}, {"CONDA_PREFIX": str(tmp_path)})
    if not isinstance(refused, str):
        assert str(tmp_path) not in refused["LD_PRELOAD"]
        pytest.skip("jemalloc is installed here")
    assert "jemalloc is not installed here: apt install libjemalloc2" in refused


def test_an_allocator_is_found_where_the_environment_has_it(tmp_path):
    """The library of the user's own environment comes before the system's; a path with a space can't be preloaded."""
    library = build_allocator(tmp_path / "env", "libjemalloc.so.2")
    found = allocator.environment({"library": "jemalloc"}, {"CONDA_PREFIX": str(tmp_path / "env")})
    assert found == {"LD_PRELOAD": str(library), "MALLOC_CONF": "dirty_decay_ms:-1"}
    elsewhere = build_allocator(tmp_path / "an env", "libjemalloc.so.2")
    assert str(elsewhere) not in allocator.environment(
        {"library": "jemalloc"}, {"CONDA_PREFIX": str(elsewhere.parents[1])}
    )


@pytest.mark.parametrize(
    ("module", "settings"), [(wait_policy, {"policy": "lazy"}), (allocator, {"library": "malloc"}), (allocator, {})]
)
def test_settings_that_there_are_not(module, settings):
    """A plan may be edited: the refusal says what there is."""
    assert " and " in module.environment(settings, {})


@pytest.mark.parametrize(
    ("module", "settings"), [(wait_policy, {"policy": "active"}), (allocator, {"library": "mimalloc"})]
)
def test_a_process_that_was_not_started_with_it_says_so(module, settings):
    """Such as one behind a script that clears the environment."""

    def refuse(reason):
        raise Refused(reason)

    job = SimpleNamespace(torch=SimpleNamespace(get_num_threads=lambda: 2), refuse=refuse)
    with pytest.raises(Refused, match="in the job's process"):
        module.prepare(job, settings)


def test_a_plan_comes_back_and_its_run_is_started_with_it(measure, tmp_path):
    """The job sees the variable, OpenMP is found in it, and the profile tells that the plan changed it."""
    path = plan_file(tmp_path, PASSIVE)
    assert [planned.change for planned in read(path.read_text(), CATALOG).changes] == [PASSIVE]
    done = measure(JOB, "--plan", str(path), env=two_threads())
    assert b"policy PASSIVE" in done.stdout
    assert "omp" in done.profile.ranks[0].facts["changes"]["wait-policy"]["openmp"]


@pytest.mark.slow
def test_the_users_own_policy_wins_in_a_plans_run(measure, tmp_path):
    """The run goes on without the change, and says why."""
    env = {**two_threads(), "OMP_WAIT_POLICY": "ACTIVE"}
    done = measure(JOB, "--plan", str(plan_file(tmp_path, PASSIVE)), env=env)
    assert b"policy ACTIVE" in done.stdout
    assert "wait-policy" not in done.profile.ranks[0].facts.get("changes", {})
    notes = [note.text for note in done.profile.notes]
    assert "wait-policy was not applied: you have set OMP_WAIT_POLICY=ACTIVE, and that stays" in notes


@pytest.mark.slow
def test_an_allocator_of_a_plan_is_in_the_job(measure, tmp_path):
    """It is preloaded into the job alone."""
    library = build_allocator(tmp_path / "env", "libtcmalloc_minimal.so.4")
    env = {**two_threads(), "CONDA_PREFIX": str(tmp_path / "env")}
    done = measure(JOB, "--plan", str(plan_file(tmp_path, TCMALLOC)), env=env)
    assert f"preloaded {library}" in done.stdout.decode()
    assert done.profile.ranks[0].facts["changes"]["allocator"] == {"library": str(library)}


def test_a_plan_says_what_its_pairs_were():
    """Pairs of processes are no pairs of steps."""
    ratio = measured(1.2, "x", low=1.1, high=1.3, method="paired processes in random order")
    proof = Proof(ratio=ratio, pairs=20, reason="faster", date="2026-01-01")
    planned = PlannedChange(change=PASSIVE, proof=proof)
    text = write(Plan(command=("python",), made="2026-01-01", machine=MachineFacts(), changes=(planned,)))
    assert "by 20 pairs of processes on 2026-01-01" in text
