"""Seconds of a call on the clock and on the processor -> its energy and carbon, by the models that bill jobs."""

from __future__ import annotations

from suffice.measure.account.carbon import carbon
from suffice.measure.account.energy import Use, memory_energy, processor_energy, total_energy
from suffice.measure.account.place import Place
from suffice.measure.machine import Machine
from suffice.records import Figure
from suffice.tables import memory, recognise_processor

GIB = 2**30


def bill_of_call(
    call_s: float, processor_s: float, memory_bytes: float, *, machine: Machine, place: Place
) -> dict[str, Figure]:
    """`energy_j` and `carbon_gco2e` of a call, while nothing else runs on the machine."""
    use = Use(
        duration_s=call_s,
        cpu_s=processor_s,
        vcpus=machine.processors_allowed,
        machine_vcpus=machine.processors,
        memory_gib=memory_bytes / GIB,
        memory_limit_gib=machine.memory_limit_gib,
    )
    processor = recognise_processor(machine.cpuinfo)
    energy = total_energy(processor_energy(use, processor), memory_energy(use, memory()))
    return {"energy_j": energy, "carbon_gco2e": carbon(energy, place)}
