"""Samples of a job and how it ended -> the figures and the series of the whole job: time, processors, memory, bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from suffice.measure.account.energy import Use
from suffice.measure.machine import GIB, Machine
from suffice.measure.meters.pressure import RESOURCES
from suffice.records import Figure, Series, measured
from suffice.run.here import Ended

Sample = Mapping[str, Any]
TREE = "the processes of the job, sampled once a second"


def running(samples: Sequence[Sample]) -> list[Sample]:
    """The samples that found a process of the job: the last one of a run is taken when the job has ended.

    It completes the counters; to a gauge, or to the rate of a counter, it would add a moment without the job.
    """
    return [s for s in samples if "job" not in s or s["job"].get("processes", 1) > 0]


def job_figures(samples: Sequence[Sample], ended: Ended) -> dict[str, Figure]:
    """What the job took of the machine; the kernel's account of ended processes completes what the samples saw."""
    duration_s = ended.ended_s - ended.begun_s
    processor_s = max(ended.processor_s, _last(samples, "processor_s"))
    figures = {
        "duration_s": measured(duration_s, "s"),
        "processor_s": measured(processor_s, "s", method="user and system time of all processes of the job"),
        "disk_read_bytes": measured(max(ended.read_bytes, _last(samples, "read_bytes")), "B", method=TREE),
        "disk_written_bytes": measured(max(ended.written_bytes, _last(samples, "written_bytes")), "B", method=TREE),
    }
    if duration_s > 0:
        figures["processors_used"] = measured(processor_s / duration_s, "processors", method="processor time / time")
    peak = max((s["job"]["memory_bytes"] for s in samples if "job" in s), default=0.0)
    if peak or ended.peak_memory_bytes:
        figures["memory_peak_bytes"] = measured(
            max(peak, ended.peak_memory_bytes), "B", method=f"resident; {TREE}, and the largest single process"
        )
    return {**figures, **_others(samples), **_network(samples)}


def _others(samples: Sequence[Sample]) -> dict[str, Figure]:
    """Processors that the rest of the machine kept busy beside the job, as far as this machine sees them."""
    jobs = [(s["at_s"], s["job"]) for s in running(samples) if "job" in s]
    span_s = jobs[-1][0] - jobs[0][0] if jobs else 0.0
    if span_s <= 0:
        return {}
    (_, first), (_, last) = jobs[0], jobs[-1]
    busy_s, own_s = (last[name] - first[name] for name in ("machine_busy_s", "processor_s"))
    how = "processor time of the whole machine, less the job's, while the job ran"
    return {"processors_used_by_others": measured(max(0.0, busy_s - own_s) / span_s, "processors", method=how)}


def _last(samples: Sequence[Sample], name: str) -> float:
    return max((float(s["job"][name]) for s in samples if "job" in s), default=0.0)


def _network(samples: Sequence[Sample]) -> dict[str, Figure]:
    last = next((s["network"] for s in reversed(samples) if "network" in s), None)
    if last is None:
        return {}
    how = "TCP connections of the job seen once a second; a lower bound"
    names = {"sent_bytes": "network_sent_bytes", "received_bytes": "network_received_bytes"}
    figures = {ours: measured(last[theirs], "B", method=how) for theirs, ours in names.items()}
    figures["loopback_bytes"] = measured(last["loopback_bytes"], "B", method=how)
    return figures


def use_of(samples: Sequence[Sample], machine: Machine, duration_s: float, processor_s: float) -> Use:
    """What the energy model needs to know of the time that the samples span."""
    jobs = [s["job"] for s in samples if "job" in s]
    busy_s = max(0.0, jobs[-1]["machine_busy_s"] - jobs[0]["machine_busy_s"]) if len(jobs) > 1 else None
    memory = [s["job"]["memory_bytes"] for s in running(samples) if "job" in s]
    return Use(
        duration_s=duration_s,
        cpu_s=processor_s,
        vcpus=machine.processors_allowed,
        machine_vcpus=machine.processors,
        machine_busy_s=busy_s,
        memory_gib=sum(memory) / len(memory) / GIB if memory else 0.0,
        memory_limit_gib=machine.memory_limit_gib,
    )


def job_series(samples: Sequence[Sample], begun_s: float) -> list[Series]:
    """Processors in use, memory, and disk and network rates over the run."""
    samples = running(samples)
    with_job = [s for s in samples if "job" in s]
    series = [
        _rate("processors_used", "processors", with_job, begun_s, lambda s: s["job"]["processor_s"]),
        Series(
            name="memory_gib",
            unit="GiB",
            at_s=tuple(s["at_s"] - begun_s for s in with_job),
            values=tuple(s["job"]["memory_bytes"] / GIB for s in with_job),
        ),
        _rate("disk_read_bytes_per_s", "B/s", with_job, begun_s, lambda s: s["job"]["read_bytes"]),
        _rate("disk_written_bytes_per_s", "B/s", with_job, begun_s, lambda s: s["job"]["written_bytes"]),
    ]
    for resource in RESOURCES:
        read = _pressure(f"{resource}_stalled_s")
        known = [s for s in samples if f"{resource}_stalled_s" in s.get("pressure", {})]
        series.append(_rate(f"pressure_{resource}", "share", known, begun_s, read))
    return [s for s in series if s.values]


def _pressure(name: str) -> Callable[[Sample], float]:
    return lambda sample: float(sample["pressure"][name])


def _rate(name: str, unit: str, samples: Sequence[Sample], begun_s: float, read: Callable[[Sample], float]) -> Series:
    """The slope of a counter between each two readings."""
    pairs = [(a, b) for a, b in pairwise(samples) if b["at_s"] > a["at_s"]]
    return Series(
        name=name,
        unit=unit,
        at_s=tuple(b["at_s"] - begun_s for _, b in pairs),
        values=tuple(max(0.0, read(b) - read(a)) / (b["at_s"] - a["at_s"]) for a, b in pairs),
    )
