"""An EC2 instance type in, its shape and its dated on-demand price out."""

from __future__ import annotations

from dataclasses import dataclass

from suffice.tables.ranges import read_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """The shape of an instance type; `microarchitecture` names a row of the processors."""

    type: str
    vcpus: int
    threads_per_core: int
    memory_gib: float
    accelerator: str | None
    accelerators: int
    microarchitecture: str
    source: str
    date: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """What an instance type cost an hour, on demand, in one region on one day."""

    type: str
    region: str
    usd_per_h: float
    source: str
    date: str


def find_instance(instance_type: str) -> Instance | None:
    """The shape of an instance type, also of `ml.…`, which runs on the same hosts; None if the table lacks it."""
    for row in read_rows("instances"):
        if row["type"] == instance_type.removeprefix("ml."):
            return Instance(
                type=row["type"],
                vcpus=int(row["vcpus"]),
                threads_per_core=int(row["threads_per_core"]),
                memory_gib=float(row["memory_gib"]),
                accelerator=row["accelerator"] or None,
                accelerators=int(row["accelerators"] or 0),
                microarchitecture=row["microarchitecture"],
                source=row["source"],
                date=row["date"],
            )
    return None


def find_price(instance_type: str) -> Price | None:
    """The on-demand price of an instance type; None if the table lacks it (it has none of `ml.…`, which cost more)."""
    for row in read_rows("prices"):
        if row["type"] == instance_type:
            return Price(
                type=row["type"],
                region=row["region"],
                usd_per_h=float(row["usd_per_h"]),
                source=row["source"],
                date=row["date"],
            )
    return None
