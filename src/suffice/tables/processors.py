"""The text of /proc/cpuinfo in, the processor's power per vCPU out: idle and at full load, as ranges.

A virtual machine may be told no more than `AMD EPYC`, so vendor, family, model and stepping decide, and the name only
where it is the surer sign: client parts share their numbers with servers. What is not recognised gets a wide range and
says so. The powers are those of the whole server at the wall, without memory and accelerators, per hardware thread.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from suffice.tables.instances import Instance
from suffice.tables.ranges import Range, range_in, read_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Processor:
    """A micro-architecture with its power per vCPU in W; `reason` says what it was recognised by."""

    name: str
    threads_per_core: int
    idle_w: Range
    full_w: Range
    reason: str
    source: str
    date: str

    @property
    def dynamic_w(self) -> Range:
        """What a busy vCPU draws over an idle one."""
        return Range(*(full - idle for full, idle in zip(self.full_w, self.idle_w, strict=True)))


def recognise_processor(cpuinfo: str) -> Processor:
    """The processor that /proc/cpuinfo describes; always an answer, in the worst case the row `unknown`."""
    facts = processor_fields(cpuinfo)
    row = next(row for row in read_rows("processors") if _fits(row, facts))
    named = facts.get("model name") or facts.get("CPU part") or "no name"
    if row["name"] == "unknown":
        reason = f"{named!r} is not in the table of processors, so the range is as wide as all of them"
    else:
        reason = f"{named!r} is {row['name']}, by {_signs(facts)}"
    return _per_vcpu(_processor(row, reason), facts)


def hosts_of(instance: Instance) -> Processor:
    """The processor of the hosts that an instance type runs on, with a vCPU as AWS counts it: a thread, or a core."""
    row = next(row for row in read_rows("processors") if row["name"] == instance.microarchitecture)
    processor = _processor(row, f"{instance.type} runs on {instance.microarchitecture} hosts")
    if processor.threads_per_core > instance.threads_per_core:
        return _whole_core(processor, f"; a vCPU of {instance.type} is a whole core")
    return processor


def processor_fields(cpuinfo: str) -> dict[str, str]:
    """The fields of the first processor that the text lists."""
    facts: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            facts.setdefault(name.strip(), value.strip())
    return facts


def _fits(row: Mapping[str, str], facts: Mapping[str, str]) -> bool:
    """Whether every sign that the row asks for is there; the last row asks for none."""
    part = f"{facts.get('CPU implementer', '')}:{facts.get('CPU part', '')}".lower()
    maker = part.partition(":")[0] + ":*"
    return (
        _is_in(facts.get("vendor_id"), row["vendor_id"])
        and _is_in(facts.get("cpu family"), row["family"])
        and _is_in(facts.get("model"), row["models"])
        and _is_in(facts.get("stepping"), row["steppings"])
        and (not row["arm_parts"] or _is_in(part, row["arm_parts"]) or _is_in(maker, row["arm_parts"]))
        and bool(re.search(row["name_pattern"], facts.get("model name", "")))
    )


def _is_in(value: str | None, allowed: str) -> bool:
    return not allowed or value in allowed.split()


def _signs(facts: Mapping[str, str]) -> str:
    if "CPU part" in facts:
        return f"implementer {facts.get('CPU implementer')}, part {facts['CPU part']}"
    return f"{facts.get('vendor_id')} family {facts.get('cpu family')} model {facts.get('model')}"


def _processor(row: Mapping[str, str], reason: str) -> Processor:
    return Processor(
        name=row["name"],
        threads_per_core=int(row["threads_per_core"]),
        idle_w=range_in(row, "idle_w"),
        full_w=range_in(row, "full_w"),
        reason=reason,
        source=row["source"],
        date=row["date"],
    )


def _per_vcpu(processor: Processor, facts: Mapping[str, str]) -> Processor:
    """The power of what this machine counts as a processor: a thread, or perhaps a whole core.

    A machine that shows one thread a core may have simultaneous threads switched off, or hide them from its guest;
    nothing in /proc/cpuinfo tells which, so the range takes in both.
    """
    threads, cores = facts.get("siblings", ""), facts.get("cpu cores", "")
    shown = int(threads) / int(cores) if threads.isdigit() and cores.isdigit() and int(cores) else None
    if processor.threads_per_core == 1 or shown is None or shown > 1:
        return processor
    return replace(
        processor,
        idle_w=_thread_or_core(processor.idle_w),
        full_w=_thread_or_core(processor.full_w),
        reason=f"{processor.reason}; it shows one thread a core, so a vCPU may be a thread or a whole core",
    )


def _thread_or_core(per_thread: Range) -> Range:
    return Range(per_thread.low, 1.5 * per_thread.mid, 2 * per_thread.high)


def _whole_core(processor: Processor, remark: str) -> Processor:
    """Per core instead of per thread; at the low end a core that runs one thread spares a little over one with two."""
    idle, full = processor.idle_w, processor.full_w
    return replace(
        processor,
        idle_w=idle.scaled(2),
        full_w=Range(1.7 * full.low, 2 * full.mid, 2 * full.high),
        reason=processor.reason + remark,
    )
