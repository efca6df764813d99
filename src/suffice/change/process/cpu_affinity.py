"""The job on the processors of one memory node: threads that share data share a cache, and find their memory near.

`sched_setaffinity` of every thread, to the processors that one NUMA node has of those that the job may use: the node of
the GPU where the job computes on one, else the node with most of them. Processes that start later, such as loader
workers, inherit it. Memory that was filled before stays where it is, so a job that begins bound may gain more.

Not on a machine with one node; not where the node has fewer processors than the job keeps busy; not with several ranks
on the machine, which their launcher binds (`torchrun --numa-binding`); not where you have bound the job or its threads.

Practice: PERF02-BP04: configure compute to fit the work
Source: sched_setaffinity(2); Linux, devices/system/node; PyTorch tuning guide, "Utilize Non-Uniform Memory Access".
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from suffice.records import Profile

RISK = "exact"
CLOCK = "wall"
BLOCK = 8  # what lies in the caches of the other node is fetched anew after a switch
WARM_UP = 2
PRACTICE = "PERF02-BP04: configure compute to fit the work"

NODES = "/sys/devices/system/node"
GPU_NODE = "/sys/bus/pci/devices/{}/numa_node"
TASKS = "/proc/self/task"
OWN = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """One setting, on a machine with several nodes."""
    if (profile.machine.get("memory_nodes") or 1) == 1:
        return "the machine has one memory node"
    rank = profile.ranks[0]
    if len(profile.ranks) > 1 or (rank.facts.get("world_size") or 1) > 1:
        return "several ranks are bound by their launcher: torchrun --numa-binding"
    return [{}]


def prepare(job: Any, settings: dict[str, Any]) -> CpuAffinity:  # noqa: ARG001 - techniques share one signature
    """The switch; refused where there is one node, or the job fits on none."""
    own = next((name for name in OWN if name in os.environ), None)
    if own is not None:
        job.refuse("you have set {}={}, and that stays".format(own, os.environ[own]))
    nodes = nodes_of(os.sched_getaffinity(0))
    if not nodes:
        job.refuse("the kernel does not tell of memory nodes here")
    if len(nodes) == 1:
        job.refuse("all processors that the job may use belong to one memory node")
    gpu = _gpu_of(job)
    node = -1 if gpu is None else _node_of(job.torch, gpu)
    if node not in nodes:
        node = max(nodes, key=lambda each: (len(nodes[each]), -each))
    threads = job.torch.get_num_threads() if gpu is None else 1
    busy = threads + max((loader.num_workers for loader in job.loaders()), default=0)
    if busy > len(nodes[node]):
        job.refuse("it keeps {} processors busy, and node {} has {}".format(busy, node, len(nodes[node])))
    return CpuAffinity(node, nodes[node])


def nodes_of(allowed: set[int]) -> dict[int, set[int]]:
    """The processors of each memory node, as far as they are among the allowed; nodes without one are left out."""
    found = {}
    with contextlib.suppress(OSError, ValueError):
        for name in os.listdir(NODES):
            if name.startswith("node") and name[4:].isdigit():
                with open(os.path.join(NODES, name, "cpulist")) as file:
                    found[int(name[4:])] = _listed(file.read()) & allowed
    return {node: processors for node, processors in found.items() if processors}


def _listed(text: str) -> set[int]:
    """`0-3,8` as a set."""
    ends = [part.partition("-") for part in text.strip().split(",") if part]
    return {number for first, _, last in ends for number in range(int(first), int(last or first) + 1)}


def _gpu_of(job: Any) -> Any:
    """The device that the job computes on where that is a GPU, else None."""
    parameter = next((each for root in job.roots() for each in root.parameters()), None)
    return parameter.device if parameter is not None and parameter.device.type == "cuda" else None


def _node_of(torch: Any, gpu: Any) -> int:
    """The memory node next to the GPU; -1 where nobody knows."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        device = torch.cuda.get_device_properties(gpu)
        place = "{:04x}:{:02x}:{:02x}.0".format(device.pci_domain_id, device.pci_bus_id, device.pci_device_id)
        with open(GPU_NODE.format(place)) as file:
            return int(file.read())
    return -1


class CpuAffinity:
    """Binds the threads that there are, and lets each go where it was allowed before."""

    def __init__(self, node: int, processors: set[int]) -> None:
        self.node = node
        self.processors = processors
        self.before: dict[int, set[int]] = {}

    def on(self) -> None:
        """Between two steps. A thread that its owner has bound already stays."""
        for thread in map(int, os.listdir(TASKS)):
            with contextlib.suppress(OSError):  # it may have ended
                allowed = os.sched_getaffinity(thread)
                if allowed > self.processors:
                    os.sched_setaffinity(thread, self.processors)
                    self.before[thread] = allowed

    def off(self) -> None:
        """Between two steps. Threads that were started meanwhile inherited it from one of those before."""
        allowed = set().union(*self.before.values())
        for thread in map(int, os.listdir(TASKS)):
            with contextlib.suppress(OSError):
                if os.sched_getaffinity(thread) == self.processors:
                    os.sched_setaffinity(thread, self.before.get(thread, allowed))
        self.before.clear()

    def facts(self) -> dict[str, Any]:
        """The node, and how many processors it has for the job."""
        return {"node": self.node, "processors": len(self.processors)}
