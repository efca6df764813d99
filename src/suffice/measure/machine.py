"""This machine -> what of it a job may use: processors by affinity and control group, memory, and what they are."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from suffice.tables import processor_fields

GIB = 1 << 30
# What decides which precision and which kernels are fast; a processor has some hundred flags besides.
FLAGS = """
avx2 fma f16c avx512f avx512_bf16 avx512_fp16 avx512_vnni avx_vnni amx_tile amx_bf16 amx_int8 amx_fp16
asimd asimdhp asimddp bf16 i8mm sve sve2 svebf16 sme
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """`processors` are logical ones: of the machine, and those a job may use, which a quota can make a fraction.

    `memory_nodes` counts the NUMA nodes with processors.
    """

    hostname: str
    kernel: str
    processors: int
    processors_allowed: float
    memory_gib: float
    memory_limit_gib: float
    cpuinfo: str
    memory_nodes: int = 1

    @property
    def flags(self) -> tuple[str, ...]:
        """What the processor can do, in the kernel's words: what matters for arithmetic; empty where it is not told."""
        told = processor_fields(self.cpuinfo)
        return tuple(sorted({*FLAGS.split()} & {*(told.get("flags") or told.get("Features") or "").split()}))

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Machine:
        """The machine that `records.as_json` wrote."""
        return Machine(**data)


def this_machine(root: Path = Path("/")) -> Machine:
    """The machine that suffice runs on; `root` is where /proc and /sys are found."""
    processors = os.cpu_count() or 1
    memory = psutil.virtual_memory().total
    affinity = len(os.sched_getaffinity(0))
    limit = _memory_limit(root)
    return Machine(
        hostname=platform.node(),
        kernel=platform.release(),
        processors=processors,
        processors_allowed=min(float(affinity), _quota(root) or affinity),
        memory_gib=memory / GIB,
        memory_limit_gib=min(memory, limit or memory) / GIB,
        cpuinfo=_first_processor(_read(root / "proc/cpuinfo")),
        memory_nodes=_memory_nodes(root),
    )


def _first_processor(cpuinfo: str) -> str:
    """The first block, which names the part; the others repeat it."""
    return cpuinfo.split("\n\n", 1)[0]


def _memory_nodes(root: Path) -> int:
    """Those that list a processor; one where the kernel tells nothing."""
    lists = (root / "sys/devices/system/node").glob("node[0-9]*/cpulist")
    return max(1, sum(bool(_read(path).strip()) for path in lists))


def _control_groups(root: Path) -> list[Path]:
    """The control group folder of this process and those above it, nearest first."""
    mount = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        if line.startswith("0::"):
            folder = mount / line[3:].strip("/")
            return [p for p in (folder, *folder.parents) if p == mount or mount in p.parents]
    return [mount]


def _quota(root: Path) -> float | None:
    """Processors that the control groups allow, the tightest counts; None where there is no limit."""
    quotas = []
    for folder in _control_groups(root):
        words = _read(folder / "cpu.max").split()
        if len(words) == 2 and words[0] != "max":
            quotas.append(int(words[0]) / int(words[1]))
    first = _read(root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us").strip()
    if first.isdigit():
        period = _read(root / "sys/fs/cgroup/cpu/cpu.cfs_period_us").strip()
        quotas.append(int(first) / int(period or 100_000))
    return min(quotas, default=None)


def _memory_limit(root: Path) -> int | None:
    texts = [_read(folder / "memory.max").strip() for folder in _control_groups(root)]
    texts.append(_read(root / "sys/fs/cgroup/memory/memory.limit_in_bytes").strip())
    return min((int(t) for t in texts if t.isdigit()), default=None)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
