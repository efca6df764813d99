"""Threads of OpenMP that sleep while they wait for each other, in place of spinning: `OMP_WAIT_POLICY=PASSIVE`.

Both runtimes that torch comes with (GNU's libgomp, LLVM's and Intel's libomp and libiomp5) read it when they are
loaded. By default libgomp spins for some milliseconds and libomp for 200: on processors that others want as well two
threads that spin were measured to be 0.28 times as fast as one, and 1.09 times once they slept; on idle ones sleeping
costs (1.25 times in place of 1.59). So it depends on the neighbours, and must be proven again where they differ.

Not on a GPU, not with one thread, not where processors are free, not where you have set it. ACTIVE is never proposed:
it lets threads spin for ever, and could only spare a wake-up after pauses that outlast the usual spinning.

Practice: PERF02-BP04: configure compute to fit the work
Source: OpenMP 5.0, 6.7 OMP_WAIT_POLICY; GNU libgomp manual, GOMP_SPINCOUNT; LLVM OpenMP, KMP_BLOCKTIME.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from suffice.records import Profile

RISK = "exact"
CLOCK = "wall"
PRACTICE = "PERF02-BP04: configure compute to fit the work"

VARIABLE, POLICIES = "OMP_WAIT_POLICY", ("passive", "active")
RIVALS = (VARIABLE, "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
RUNTIMES = ("libgomp", "libiomp", "libomp")
SHORT = 0.10  # of the time something on the machine stalls for a processor


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """Sleeping threads, where processors are short or nobody knows."""
    rank = profile.ranks[0]
    if rank.device.startswith("cuda"):
        return "the GPU computes, and not these threads"
    threads, allowed = rank.facts.get("intra_op_threads"), profile.machine.get("processors_allowed")
    if threads == 1:
        return "one thread waits for no other"
    stalls = next((sorted(s.values) for s in profile.series if s.name == "pressure_cpu" and s.values), None)
    workers = sum(loader.workers for loader in rank.loaders if loader.role == "training")
    crowded = threads is not None and allowed is not None and threads * len(profile.ranks) + workers > allowed
    if not crowded and stalls is not None and stalls[len(stalls) // 2] < SHORT:
        return "processors are free: a thread that spins takes nothing from anybody"
    return [{"policy": "passive"}]


def environment(settings: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, str] | str:
    """What is set for the job's process beside the user's variables, or why it is not."""
    own = next((name for name in RIVALS if name in variables), None)
    if own is not None:
        return "you have set {}={}, and that stays".format(own, variables[own])
    policy = settings.get("policy", POLICIES[0])
    if policy not in POLICIES:
        return "there is no policy {!r}, but {}".format(policy, " and ".join(POLICIES))
    return {VARIABLE: policy.upper()}


def prepare(job: Any, settings: dict[str, Any]) -> WaitPolicy:
    """Whether this process has it; refused where it was not started with it, or nothing waits by OpenMP."""
    if job.torch.get_num_threads() == 1:
        job.refuse("one thread waits for no other")
    found = os.environ.get(VARIABLE, "nothing")
    if found.lower() != settings.get("policy", POLICIES[0]):
        job.refuse("{} is {} in the job's process, whatever it was started with".format(VARIABLE, found))
    runtime = _runtime()
    if not runtime:
        job.refuse("torch computes without OpenMP here")
    return WaitPolicy(runtime)


class WaitPolicy:
    """Set from the process's start to its end."""

    def __init__(self, runtime: str) -> None:
        self.runtime = runtime

    def on(self) -> None:
        """It is."""

    def off(self) -> None:
        """Not in this process."""

    def facts(self) -> dict[str, Any]:
        """The runtime that reads it."""
        return {"openmp": self.runtime}


def _runtime() -> str:
    """The file of the OpenMP runtime that is loaded, that of torch first."""
    try:
        with open("/proc/self/maps") as lines:
            paths = {line.split(maxsplit=5)[5].strip() for line in lines if any(name in line for name in RUNTIMES)}
    except (OSError, IndexError):
        return ""
    found = sorted(paths, key=lambda path: ("torch" not in path, path))
    return os.path.basename(found[0]) if found else ""
