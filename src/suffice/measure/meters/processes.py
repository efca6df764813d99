"""The processes of a job -> processor time, memory and disk I/O, of the job and not of the machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psutil

from suffice.measure.meters.tree import ProcessTree

PIDS_KEPT = 64


class ProcessMeter:
    """Sums over the tree; a process that has ended counts through the parent that waited for it."""

    key = "job"

    def __init__(self) -> None:
        self.unavailable: str | None = None
        self.highest: dict[str, float] = {}

    def read(self, tree: ProcessTree) -> dict[str, Any]:
        """Processor seconds, bytes resident, read and written so far (never falling), and which processes there are.

        `machine_busy_s` are the processor seconds of everything that runs on the machine.

        Resident memory counts what each process has to itself, and of what they share the largest part once: pages
        that forked workers share would otherwise count once a worker.
        """
        processes = tree.refresh()
        times = [t for p in processes if (t := _tried(p.cpu_times))]
        # A process that has ended and that nobody waited for holds no memory: it counts for its times alone.
        memories = {p.pid: m for p in processes if (m := _tried(p.memory_info)) and m.rss}
        moved = [io for p in processes if (io := _tried(p.io_counters))]
        reading = {
            "processor_s": sum(t.user + t.system + t.children_user + t.children_system for t in times),
            "read_bytes": float(sum(io.read_bytes for io in moved)),
            "written_bytes": float(sum(io.write_bytes for io in moved)),
            "read_by_calls_bytes": float(sum(io.read_chars for io in moved)),
        }
        # An orphan's share goes when it ends; what has been counted stays counted.
        self.highest = {name: max(value, self.highest.get(name, 0.0)) for name, value in reading.items()}
        own = sum(m.rss - m.shared for m in memories.values())
        shared = max((m.shared for m in memories.values()), default=0)
        return {
            **self.highest,
            "memory_bytes": float(own + shared),
            "pids": list(memories)[:PIDS_KEPT],
            "processes": len(memories),
            "machine_busy_s": _machine_busy_s(),
        }


def _machine_busy_s() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def _tried(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (psutil.Error, OSError):  # it has just ended, or belongs to somebody else
        return None
