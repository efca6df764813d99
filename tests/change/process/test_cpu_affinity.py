"""A job is bound to one memory node's processors and let go again; the nodes are files that look like the kernel's."""

import os
import threading
from pathlib import Path

import pytest

from suffice.agent.rig.job import Refused
from suffice.change.process import cpu_affinity
from tests.change.profiles import profile
from tests.change.small_jobs import stack

ALLOWED = sorted(os.sched_getaffinity(0))
two_processors = pytest.mark.skipif(len(ALLOWED) < 2, reason="one processor can't be two nodes")


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two nodes: the first processor, and all others; a third that the job may not use."""
    for number, processors in enumerate([f"{ALLOWED[0]}", ",".join(map(str, ALLOWED[1:])), "4096-4099"]):
        (tmp_path / f"node{number}").mkdir()
        (tmp_path / f"node{number}" / "cpulist").write_text(processors + "\n")
    (tmp_path / "power").mkdir()
    monkeypatch.setattr(cpu_affinity, "NODES", str(tmp_path))
    for name in cpu_affinity.OWN:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def job(monkeypatch):
    """A job that computes with one thread and has no loaders, whatever else is alive."""
    made = stack().job
    monkeypatch.setattr(made, "loaders", list)
    before = made.torch.get_num_threads()
    made.torch.set_num_threads(1)
    yield made
    made.torch.set_num_threads(before)


@two_processors
def test_every_thread_is_bound_and_let_go(nodes, job):
    """One that was bound before stays as it was, and one that starts meanwhile is let go with the others."""
    ready, done = threading.Semaphore(0), threading.Event()
    ids = []

    def wait():
        ids.append(threading.get_native_id())
        ready.release()
        done.wait()

    def start():
        thread = threading.Thread(target=wait)
        thread.start()
        ready.acquire()
        return thread

    threads = [start(), start()]
    os.sched_setaffinity(ids[1], {ALLOWED[-1]})
    switch = cpu_affinity.prepare(job, {})
    bound = switch.processors
    assert bound < set(ALLOWED)
    try:
        switch.on()
        switch.on()
        threads.append(start())
        seen = [os.sched_getaffinity(thread) for thread in (0, *ids)]
        assert seen == [bound, bound, {ALLOWED[-1]}, bound]
    finally:
        switch.off()
        switch.off()
        after = [os.sched_getaffinity(thread) for thread in (0, *ids)]
        done.set()
        for thread in threads:
            thread.join()
    # A thread that its owner bound to just these processors can't be told from one that inherited them.
    own = set(ALLOWED) if bound == {ALLOWED[-1]} else {ALLOWED[-1]}
    assert after == [set(ALLOWED), set(ALLOWED), own, set(ALLOWED)]
    assert switch.facts() == {"node": switch.node, "processors": len(bound)}


@two_processors
def test_a_job_that_does_not_fit_is_refused(nodes, job):
    """As many threads as there are processors fit on no node."""
    job.torch.set_num_threads(len(ALLOWED))
    with pytest.raises(Refused, match=r"keeps \d+ processors busy, and node"):
        cpu_affinity.prepare(job, {})


def test_one_node_leaves_no_choice(nodes, job):
    """Most machines."""
    (nodes / "node0" / "cpulist").write_text(f"0-{max(ALLOWED)}\n")
    (nodes / "node1" / "cpulist").write_text("\n")
    with pytest.raises(Refused, match="one memory node"):
        cpu_affinity.prepare(job, {})


def test_a_kernel_that_tells_nothing(nodes, job, monkeypatch):
    """Such as one whose /sys is hidden."""
    monkeypatch.setattr(cpu_affinity, "NODES", str(nodes / "none"))
    with pytest.raises(Refused, match="does not tell"):
        cpu_affinity.prepare(job, {})


def test_what_the_user_bound_stays(nodes, job, monkeypatch):
    """OpenMP's own way of binding."""
    monkeypatch.setenv("OMP_PROC_BIND", "close")
    with pytest.raises(Refused, match="you have set OMP_PROC_BIND=close"):
        cpu_affinity.prepare(job, {})


def test_where_it_is_worth_a_trial():
    """On several nodes, with one rank: each of several would be bound to the same one."""
    several = {"memory_nodes": 2}
    assert cpu_affinity.propose(profile(machine=several)) == [{}]
    assert "torchrun" in cpu_affinity.propose(profile(machine=several, ranks=2))
    assert "one memory node" in cpu_affinity.propose(profile())
