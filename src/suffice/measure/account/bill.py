"""What a job used -> the energy, carbon and money of the run with their parts, and the power over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from suffice.measure.account.carbon import carbon
from suffice.measure.account.energy import (
    memory_energy,
    overhead_energy,
    processor_energy,
    rapl_energy,
    total_energy,
)
from suffice.measure.account.money import cost
from suffice.measure.account.place import Place
from suffice.measure.gpu import gpu_energy, used_gpus
from suffice.measure.job import running, use_of
from suffice.measure.machine import Machine
from suffice.records import Figure, Goal, Note, Series
from suffice.tables import memory, recognise_processor

Sample = Mapping[str, Any]
WINDOWS = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Bill:
    """Figures of the run by name, power over time, and the reasons that a reader may ask for."""

    figures: Mapping[str, Figure]
    series: tuple[Series, ...]
    notes: tuple[Note, ...]


def bill_of(
    samples: Sequence[Sample],
    gpus: Sequence[int],
    machine: Machine,
    place: Place,
    goal: Goal,
    *,
    begun_s: float,
    duration_s: float,
    processor_s: float,
    today: str,
) -> Bill:
    """The bill of a run; `gpus` are those that it used, `begun_s` its start on the monotonic clock."""
    parts = _parts(samples, gpus, machine, duration_s, processor_s)
    energy = total_energy(*parts.values())
    price = cost(duration_s, goal, place, today)
    figures = {**parts, "energy_j": energy, "carbon_gco2e": carbon(energy, place)}
    if price.figure is not None:
        figures["cost_usd"] = price.figure
    if duration_s > 0:
        figures["power_w"] = energy.scaled(1 / duration_s, "W")
    notes = (Note(text=f"region: {place.reason}"), Note(text=f"money: {price.reason}"))
    return Bill(figures=figures, series=_power(samples, gpus, machine, begun_s), notes=notes)


def _parts(
    samples: Sequence[Sample], gpus: Sequence[int], machine: Machine, duration_s: float, processor_s: float
) -> dict[str, Figure]:
    use = use_of(samples, machine, duration_s, processor_s)
    counted = _rapl(samples)
    parts = {}
    if "package_j" in counted:
        parts["processor_energy_j"] = rapl_energy(counted["package_j"], use, counted.get("dram_j", 0.0))
        parts["processor_overhead_energy_j"] = overhead_energy(parts["processor_energy_j"])
    else:
        parts["processor_energy_j"] = processor_energy(use, recognise_processor(machine.cpuinfo))
    if "dram_j" not in counted:
        parts["memory_energy_j"] = memory_energy(use, memory())
    for index in gpus:
        energy = gpu_energy(samples, index)
        if energy is not None:
            parts[f"gpu{index}_energy_j"] = energy
            parts[f"gpu{index}_overhead_energy_j"] = overhead_energy(energy)
    return parts


def _rapl(samples: Sequence[Sample]) -> dict[str, float]:
    """Joules by domain between the first and the last reading."""
    read = [s["rapl"] for s in samples if s.get("rapl")]
    return {name: read[-1][name] - read[0][name] for name in read[0]} if len(read) > 1 else {}


def power_now(first: Sample, last: Sample, machine: Machine) -> float | None:
    """The middle value of the power in W between two samples; None where they hold no job."""
    gpus, _ = used_gpus((first, last), on_cuda=False)
    series = _power((first, last), gpus, machine, begun_s=0.0)
    return series[0].values[-1] if series else None


def _power(samples: Sequence[Sample], gpus: Sequence[int], machine: Machine, begun_s: float) -> tuple[Series, ...]:
    """The middle value of the same models between each two samples, thinned to `WINDOWS`."""
    with_job = [s for s in running(samples) if "job" in s]
    step = max(1, len(with_job) // WINDOWS)
    at_s, watts = [], []
    for first, last in pairwise(with_job[::step]):
        duration_s = last["at_s"] - first["at_s"]
        if duration_s <= 0:
            continue
        processor_s = max(0.0, last["job"]["processor_s"] - first["job"]["processor_s"])
        parts = _parts((first, last), gpus, machine, duration_s, processor_s)
        at_s.append(last["at_s"] - begun_s)
        watts.append(total_energy(*parts.values()).value / duration_s)
    return (Series(name="power_w", unit="W", at_s=tuple(at_s), values=tuple(watts)),) if watts else ()
