"""What a job used of processor, memory and GPUs in, its energy in J out: counted where a counter is, else estimated.

Who pays for a machine that idles beside the job is a choice, so an estimate spans it: `low` charges the job only with
what its own work drew, `value` with its share of the idle power as well, `high` with all of it. The estimate of a
processor is of the whole server at the wall; counters (NVML, RAPL) see less: `overhead_energy` is what they miss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

from suffice.records import Figure, Origin, estimated, measured
from suffice.tables import Gpu, Memory, Processor, Range

J_PER_KWH = 3.6e6

# The first busy vCPUs of a machine draw more than the last: shared parts wake up and clocks are high. The exponents are
# those of the curves that Teads published (2021): at a tenth of the load 17 % of a processor's span, 22 % of a GPU's.
PROCESSOR_CURVE = 0.75
GPU_CURVE = 0.5
# NVML counts a GPU as busy while any kernel runs, however small: the least share of its power span that this can mean.
GPU_LEAST_WHEN_BUSY = 0.25
GPU_USUAL_WHEN_BUSY = 0.75
GPU_OVER_LIMIT = 1.05
# NVML's documentation promises 5 % for Fermi and Kepler and nothing for later GPUs; taken to hold for them as well.
SENSOR_TOLERANCE = 0.05
# Wall meter over counters, less one: 1.15 to 1.61 on a desktop (Fischer 2025, arXiv 2509.22092), less in a server with
# a good power supply.
OVERHEAD = Range(0.05, 0.3, 0.6)


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """What a job used of a machine, and what it could have used.

    `vcpus` and `memory_limit_gib` are what the job could use (its affinity and control group), `machine_busy_s` the
    processor seconds of all processes on the machine's `machine_vcpus`; without it the job counts as alone.

    Raises:
        ValueError: if a number is negative or not finite.
    """

    duration_s: float
    cpu_s: float
    vcpus: float
    machine_vcpus: float
    machine_busy_s: float | None = None
    memory_gib: float = 0.0
    memory_limit_gib: float = 0.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{each.name} must be finite and not negative, found {value}")

    @property
    def share(self) -> float:
        """The job's part, 0 to 1, of the processor time that the machine spent on anything."""
        busy_s = self.machine_busy_s or 0.0
        return self.cpu_s / busy_s if busy_s > self.cpu_s else 1.0

    @property
    def load(self) -> float:
        """The part, 0 to 1, of the processor time it could use that the job used."""
        capacity_s = self.vcpus * self.duration_s
        return min(1.0, self.cpu_s / capacity_s) if capacity_s else 0.0


def processor_energy(use: Use, processor: Processor) -> Figure:
    """The energy of the job's processor seconds, by the micro-architecture's power per vCPU."""
    idle_w, dynamic_w = processor.idle_w, processor.dynamic_w
    capacity_s = use.vcpus * use.duration_s
    idle_s = min(use.vcpus, use.share * use.machine_vcpus) * use.duration_s
    return estimated(
        dynamic_w.mid * use.cpu_s + idle_w.mid * idle_s,
        "J",
        low=dynamic_w.low * use.cpu_s,
        high=dynamic_w.high * max(use.cpu_s, capacity_s * use.load**PROCESSOR_CURVE) + idle_w.high * capacity_s,
        method=(
            f"{use.cpu_s:.4g} processor seconds of the job, at {dynamic_w.low:.2f} to {dynamic_w.high:.2f} W for a "
            f"busy vCPU over an idle one ({processor.reason}); low: without idle power; value: with the job's share, "
            f"{use.share:.0%}, of the machine's; high: with all of it on the {use.vcpus:g} vCPUs it could use, "
            "and of the server around them"
        ),
        source=processor.source,
        date=processor.date,
    )


def memory_energy(use: Use, memory: Memory) -> Figure:
    """The energy of the memory that the job held, which draws more the harder the processors work."""
    idle_w, full_w = memory.idle_w_per_gib, memory.full_w_per_gib
    limit_gib = max(use.memory_limit_gib, use.memory_gib)
    share_gib = max(use.memory_gib, use.share * limit_gib)
    mid_w = idle_w.mid + (full_w.mid - idle_w.mid) * use.load
    high_w = idle_w.high + (full_w.high - idle_w.high) * use.load**PROCESSOR_CURVE
    return estimated(
        mid_w * share_gib * use.duration_s,
        "J",
        low=idle_w.low * use.memory_gib * use.duration_s,
        high=high_w * limit_gib * use.duration_s,
        method=(
            f"{idle_w.low:.2f} to {high_w:.2f} W per GiB of memory; low: the {use.memory_gib:.3g} GiB that the job held"
            f"; value: its share of the machine's work, {use.share:.0%}, of the {limit_gib:.3g} GiB it could hold, if "
            "that is more; high: all of them"
        ),
        source=memory.source,
        date=memory.date,
    )


def rapl_energy(package_j: float, use: Use, dram_j: float = 0.0) -> Figure:
    """The job's part of what the processor's own energy counters (RAPL) counted for the whole machine."""
    whole_j = _counted(package_j, "RAPL package") + _counted(dram_j, "RAPL dram")
    return estimated(
        use.share * whole_j,
        "J",
        low=use.share * whole_j,
        high=whole_j,
        method=(
            f"RAPL counted {whole_j:.4g} J for the whole machine; value: the job's share of its busy processor time, "
            f"{use.share:.0%}; high: all of it"
        ),
    )


def gpu_counter_energy(joules: float) -> Figure:
    """What a GPU's energy counter (NVML) counted between two readings."""
    _counted(joules, "the GPU's energy counter")
    return measured(
        joules,
        "J",
        low=(1 - SENSOR_TOLERANCE) * joules,
        high=(1 + SENSOR_TOLERANCE) * joules,
        method="difference of two readings of NVML's energy counter, within 5 % for its sensor; the board alone",
    )


def gpu_sampled_energy(at_s: Sequence[float], power_w: Sequence[float]) -> Figure:
    """The energy under power readings (NVML) of one GPU, at increasing times; at least two.

    Between two readings the power is taken to lie between them. A100 and H100 look at their power for a quarter of the
    time only (arXiv 2312.02741), so short bursts can lie outside; the energy counter is better where there is one.

    Raises:
        ValueError: if there are fewer than two readings, or the times do not increase.
    """
    if len(at_s) != len(power_w) or len(at_s) < 2:
        raise ValueError(
            f"needs two power readings or more with their times, found {len(power_w)} at {len(at_s)} times"
        )
    gaps_s = [later - earlier for earlier, later in pairwise(at_s)]
    if min(gaps_s) < 0:
        raise ValueError(f"the times of power readings must increase, found a step of {min(gaps_s)} s")
    pairs = [(gap_s, *ends_w) for gap_s, ends_w in zip(gaps_s, pairwise(power_w), strict=True)]
    return measured(
        sum(gap * (a + b) / 2 for gap, a, b in pairs),
        "J",
        low=(1 - SENSOR_TOLERANCE) * sum(gap * min(a, b) for gap, a, b in pairs),
        high=(1 + SENSOR_TOLERANCE) * sum(gap * max(a, b) for gap, a, b in pairs),
        method=(
            f"{len(power_w)} NVML power readings, at most {max(gaps_s):.3g} s apart, joined by straight lines; range: "
            "the lower and the higher reading of each pair, and 5 % for the sensor, which may look for a quarter of "
            "the time only (arXiv 2312.02741)"
        ),
    )


def gpu_limit_energy(gpu: Gpu, duration_s: float, busy: float | None = None) -> Figure:
    """What a GPU that tells neither energy nor power may have drawn; `busy` is the part of the time that it worked."""
    idle_w, most_w = gpu.idle_w, GPU_OVER_LIMIT * gpu.tdp_w
    if busy is None:
        span = Range(0.0, 0.5, 1.0)
        known = "its utilisation is not known, so anything from idle to its limit"
    else:
        load = min(1.0, max(0.0, busy))
        span = Range(GPU_LEAST_WHEN_BUSY * load, GPU_USUAL_WHEN_BUSY * load**PROCESSOR_CURVE, load**GPU_CURVE)
        known = f"a kernel ran for {load:.0%} of the time, which can mean little work or much"
    power_w = Range(
        idle_w.low + span.low * (gpu.tdp_w - idle_w.low),
        idle_w.mid + span.mid * (gpu.tdp_w - idle_w.mid),
        idle_w.high + span.high * (most_w - idle_w.high),
    )
    return estimated(
        power_w.mid * duration_s,
        "J",
        low=power_w.low * duration_s,
        high=power_w.high * duration_s,
        method=(
            f"{gpu.name} tells no power: {idle_w.low:g} to {idle_w.high:g} W idle, limit {gpu.tdp_w:g} W; {known}; "
            "the board alone"
        ),
        source=gpu.source,
        date=gpu.date,
    )


def overhead_energy(counted: Figure) -> Figure:
    """What power supply, board and fans drew on top of a part that only a counter or a board's limit tells."""
    low = counted.value if counted.low is None else counted.low
    high = counted.value if counted.high is None else counted.high
    return estimated(
        OVERHEAD.mid * counted.value,
        counted.unit,
        low=OVERHEAD.low * low,
        high=OVERHEAD.high * high,
        method=(
            f"{OVERHEAD.low:.0%} to {OVERHEAD.high:.0%} on top of the boards, for power supply, board and fans: what a "
            "wall meter showed over the counters"
        ),
        source="Fischer 2025 (arXiv 2509.22092), a desktop; no figure is published for servers",
        date="2025",
    )


def total_energy(*parts: Figure) -> Figure:
    """The sum of parts in J: values and ranges add up, and the weakest origin stays.

    Raises:
        ValueError: if there is no part, or one is not in J.
    """
    if not parts or any(part.unit != "J" for part in parts):
        raise ValueError(f"a total needs parts in J, found {[part.unit for part in parts]}")
    weakest = max((part.origin for part in parts), key=[Origin.MEASURED, Origin.LOOKED_UP, Origin.ESTIMATED].index)
    return Figure(
        value=sum(part.value for part in parts),
        unit="J",
        origin=weakest,
        low=sum(part.value if part.low is None else part.low for part in parts),
        high=sum(part.value if part.high is None else part.high for part in parts),
        method="the sum of its parts, whose ranges add up end to end",
        source="; ".join(dict.fromkeys(part.source for part in parts if part.source)) or None,
        date=min((part.date for part in parts if part.date), default=None),
    )


def in_kwh(energy: Figure) -> Figure:
    """An energy in J as the same figure in kWh."""
    return energy.scaled(1 / J_PER_KWH, "kWh")


def _counted(joules: float, counter: str) -> float:
    if not (math.isfinite(joules) and joules >= 0):
        raise ValueError(
            f"{counter} went from one reading to the next by {joules} J; a counter only grows: it was reset in "
            "between, or read the wrong way round; leave the part out, or add up the stretches before and after it"
        )
    return joules
