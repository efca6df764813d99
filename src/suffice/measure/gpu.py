"""Samples of the GPUs -> which of them the job used, what they did, and the energy that they drew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

from suffice.measure.account.energy import gpu_counter_energy, gpu_limit_energy, gpu_sampled_energy
from suffice.measure.job import running
from suffice.records import Figure, Note, Series, measured
from suffice.tables import recognise_gpu

Sample = Mapping[str, Any]
Reading = Mapping[str, Any]
MEANS = {
    "utilization_gpu": "%",
    "utilization_memory": "%",
    "sm_active": "%",
    "tensor_active": "%",
    "dram_active": "%",
    "power_draw": "W",
    "clocks_current_sm": "MHz",
    "temperature_gpu": "°C",
}
SERIES = {name: MEANS[name] for name in ("utilization_gpu", "sm_active", "tensor_active", "power_draw")}
HARMLESS = {"GpuIdle", "ApplicationsClocksSetting", "UserDefinedClocks", "DisplayClockSetting"}


def used_gpus(samples: Sequence[Sample], *, on_cuda: bool) -> tuple[list[int], list[Note]]:
    """The indices of the GPUs that processes of the job were seen on.

    Where the driver shows other process ids than we see (a container), all GPUs count, and a note says so.
    """
    job = {pid for s in samples for pid in s.get("job", {}).get("pids", ())}
    on_gpu: dict[int, set[int]] = {}
    for sample in samples:
        for reading in sample.get("gpus", ()):
            on_gpu.setdefault(reading["index"], set()).update(reading.get("pids", ()))
    used = sorted(i for i, pids in on_gpu.items() if pids & job)
    notes = [
        Note(
            level="warning", text=f"GPU {i} also ran processes of others: its energy and utilisation are of all of them"
        )
        for i in used
        if on_gpu[i] - job
    ]
    if used or not on_cuda:
        return used, notes
    text = "the driver does not show which process uses which GPU here: the figures are of all GPUs that are visible"
    return sorted(on_gpu), [Note(text=text)]


def gpu_figures(samples: Sequence[Sample], index: int) -> dict[str, Figure]:
    """The means of one GPU over the run, its peak memory, and its energy, with names `gpu0_…`."""
    rows = _rows(running(samples), index)
    figures = {}
    for name, unit in MEANS.items():
        values = [r[name] for _, r in rows[1:] if name in r] or [r[name] for _, r in rows if name in r]
        if values:
            figures[f"gpu{index}_{name}"] = measured(
                fmean(values), unit, low=min(values), high=max(values), method=f"mean of {len(values)} NVML readings"
            )
    used = [r["memory_used"] for _, r in rows if "memory_used" in r]
    if used:
        figures[f"gpu{index}_memory_used"] = measured(max(used), "MiB", method=f"highest of {len(used)} readings")
    return figures


def gpu_energy(samples: Sequence[Sample], index: int) -> Figure | None:
    """The energy of one GPU by the best gauge it has: its counter unless it was reset, its power, or its limit."""
    rows = _rows(samples, index)
    counted = [r["energy_j"] for _, r in rows if "energy_j" in r]
    if len(counted) > 1 and all(later >= earlier for earlier, later in pairwise(counted)):
        return gpu_counter_energy(counted[-1] - counted[0])
    powers = [(at_s, r["power_draw"]) for at_s, r in rows if "power_draw" in r]
    if len(powers) > 1:
        return gpu_sampled_energy(*(list(column) for column in zip(*powers, strict=True)))
    gpu = recognise_gpu(str(rows[0][1].get("name", ""))) if rows else None
    if gpu is None or len(rows) < 2:
        return None
    busy = [r["utilization_gpu"] / 100 for _, r in rows if "utilization_gpu" in r]
    return gpu_limit_energy(gpu, rows[-1][0] - rows[0][0], fmean(busy) if busy else None)


def gpu_facts(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Name, memory and limits of every GPU that was read, from its last reading."""
    last: Sequence[Reading] = next((s["gpus"] for s in reversed(samples) if s.get("gpus")), ())
    names = ("index", "name", "uuid", "memory_total", "power_limit")
    return [{n: r[n] for n in names if n in r} for r in last]


def throttle_notes(samples: Sequence[Sample], index: int) -> list[Note]:
    """A warning for each reason that held the clocks down, with how often it did."""
    rows = _rows(running(samples), index)
    seen: dict[str, int] = {}
    for _, reading in rows:
        for reason in reading.get("throttle_reasons", ()):
            seen[reason] = seen.get(reason, 0) + 1
    return [
        Note(level="warning", text=f"GPU {index} was throttled in {n} of {len(rows)} readings: {reason}")
        for reason, n in sorted(seen.items())
        if reason not in HARMLESS
    ]


def gpu_series(samples: Sequence[Sample], index: int, begun_s: float) -> list[Series]:
    """Utilisation, activity and power of one GPU over the run."""
    series = []
    for name, unit in SERIES.items():
        rows = [(at_s - begun_s, float(r[name])) for at_s, r in _rows(running(samples), index) if name in r]
        if rows:
            at_s, values = zip(*rows, strict=True)
            series.append(Series(name=f"gpu{index}_{name}", unit=unit, at_s=at_s, values=values))
    return series


def _rows(samples: Sequence[Sample], index: int) -> list[tuple[float, Reading]]:
    return [(s["at_s"], r) for s in samples for r in s.get("gpus", ()) if r["index"] == index]
