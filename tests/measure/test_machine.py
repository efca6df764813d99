"""What a job may use of a machine: the tightest of affinity and control groups, of either version."""

import os
from pathlib import Path

import pytest

from suffice.measure.machine import GIB, Machine, this_machine
from suffice.records import as_json

ALLOWED = float(len(os.sched_getaffinity(0)))


def root(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


SELF = {"proc/self/cgroup": "0::/pod/job\n"}


@pytest.mark.parametrize(
    ("files", "processors", "memory_gib"),
    [
        ({}, ALLOWED, None),
        ({**SELF, "sys/fs/cgroup/pod/job/cpu.max": "max 100000\n"}, ALLOWED, None),
        ({**SELF, "sys/fs/cgroup/pod/job/cpu.max": "50000 100000\n"}, 0.5, None),
        (
            {**SELF, "sys/fs/cgroup/pod/job/cpu.max": "90000 100000", "sys/fs/cgroup/pod/cpu.max": "25000 100000"},
            0.25,
            None,
        ),
        ({"sys/fs/cgroup/cpu.max": "30000 100000\n"}, 0.3, None),
        (
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "40000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"},
            0.4,
            None,
        ),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n"}, ALLOWED, None),
        (
            {**SELF, "sys/fs/cgroup/pod/job/memory.max": "max\n", "sys/fs/cgroup/pod/memory.max": "536870912\n"},
            ALLOWED,
            0.5,
        ),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "268435456\n"}, ALLOWED, 0.25),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, ALLOWED, None),
    ],
    ids=["none", "no limit", "own", "above", "mount", "v1", "v1 none", "memory", "v1 memory", "v1 memory none"],
)
def test_the_tightest_limit_counts(
    tmp_path: Path, files: dict[str, str], processors: float, memory_gib: float | None
) -> None:
    """Own group, a group above it, version one or two; no limit leaves the machine."""
    machine = this_machine(root(tmp_path, files))
    assert machine.processors_allowed == processors
    assert machine.memory_limit_gib == (machine.memory_gib if memory_gib is None else memory_gib)


def test_only_the_first_processor_is_told(tmp_path: Path) -> None:
    """The others repeat it."""
    files = {"proc/cpuinfo": "processor\t: 0\nmodel name\t: A\n\nprocessor\t: 1\nmodel name\t: A\n"}
    assert this_machine(root(tmp_path, files)).cpuinfo == "processor\t: 0\nmodel name\t: A"


@pytest.mark.parametrize(
    ("listed", "nodes"),
    [(["0-1\n"], 1), (["0\n", "1\n"], 2), (["0-3\n", "\n", "4-7\n", "8,9\n", "10\n", "11\n"], 5), ([], 1)],
)
def test_memory_nodes_with_processors_count(tmp_path: Path, listed: list[str], nodes: int) -> None:
    """A node of memory alone does not; where the kernel tells nothing there is one."""
    files = {f"sys/devices/system/node/node{number}/cpulist": text for number, text in enumerate(listed)}
    assert this_machine(root(tmp_path, files)).memory_nodes == nodes


def test_a_machine_comes_back_equal() -> None:
    """Through the file that is written before a run."""
    machine = this_machine()
    assert Machine.from_json(as_json(machine)) == machine
    assert machine.memory_gib * GIB > 1 << 20


def test_the_flags_that_matter_for_arithmetic_are_told(tmp_path: Path) -> None:
    """Of the first processor, on x86 and on Arm; none where the kernel tells none."""
    x86 = "processor\t: 0\nflags\t\t: fpu vme avx2 amx_bf16 rdrand\n\nprocessor\t: 1\nflags\t\t: sve\n"
    for text, flags in ((x86, ("amx_bf16", "avx2")), ("Features\t: fp bf16 asimd\n", ("asimd", "bf16")), ("", ())):
        assert this_machine(root(tmp_path, {"proc/cpuinfo": text})).flags == flags
