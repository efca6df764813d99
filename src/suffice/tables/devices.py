"""A GPU's name in, its power limit and idle power out; and the power of memory per GiB."""

from __future__ import annotations

import re
from dataclasses import dataclass

from suffice.tables.ranges import Range, range_in, read_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """What a GPU draws when NVML tells neither energy nor power: `tdp_w` at most, `idle_w` at least."""

    name: str
    tdp_w: float
    idle_w: Range
    source: str
    date: str


def recognise_gpu(name: str) -> Gpu | None:
    """The GPU that NVML or an instance table calls by this name, e.g. `NVIDIA A100-SXM4-80GB`; None if none fits.

    A laptop's GPU fits none: it bears a desktop card's name and draws what its maker let it, a third or less.
    """
    if re.search(r"laptop|mobile|max-q", name, re.IGNORECASE):
        return None
    for row in read_rows("gpus"):
        if re.search(row["name_pattern"], name, re.IGNORECASE):
            return Gpu(
                name=row["name"],
                tdp_w=float(row["tdp_w"]),
                idle_w=range_in(row, "idle_w"),
                source=row["source"],
                date=row["date"],
            )
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """The power of DRAM in W per GiB, while the machine idles and while its processors are all busy."""

    idle_w_per_gib: Range
    full_w_per_gib: Range
    source: str
    date: str


def memory() -> Memory:
    """The power of memory; one row for all kinds, because no machine tells which kind it has."""
    (row,) = read_rows("memory")
    return Memory(
        idle_w_per_gib=range_in(row, "idle_w_per_gib"),
        full_w_per_gib=range_in(row, "full_w_per_gib"),
        source=row["source"],
        date=row["date"],
    )
