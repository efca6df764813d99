"""Published power figures of machines in; how many the estimate's range contains, and how wide the range is, out.

    python bench/energy_model.py

Each row of bench/data/published_power.csv is a machine at a load with the watts that somebody published for it. The
estimate is asked for the same machine, kept by one job alone at that load. `set` tells how fair the row is: the model's
constants were chosen on `tuned` rows; `kin` rows are single servers of the collection whose means the tables hold;
`held out` rows had no say. `basis` tells how the figure came about: `wall` and `RAPL` were measured, a `TDP curve` and
a `model` are themselves estimates. Rows of one family at several sizes are not independent of each other.
"""

import csv
import json
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from suffice.measure.account.energy import (
    Use,
    gpu_limit_energy,
    memory_energy,
    overhead_energy,
    processor_energy,
    total_energy,
)
from suffice.records import Figure
from suffice.tables import Instance, hosts_of, memory, recognise_gpu

HERE = Path(__file__).parent
AN_HOUR_S = 3600.0
# CodeCarbon 3.3.2 on one 2-vCPU virtual machine at full load whose processor was given these names: W for the processor
# part, to which it added 20 W for memory whatever the load. Measured on 2026-11-21 with its name detection replaced.
CODECARBON_W = {
    "AMD EPYC": ("EPYC 3rd generation", 7.8),
    "Intel Xeon Platinum 8488C": ("Sapphire Rapids", 7.6),
    "Intel Xeon Platinum 8259CL": ("Cascade Lake", 203.0),
    "AMD EPYC 7R13": ("EPYC 3rd generation", 214.0),
}


@dataclass(frozen=True)
class Case:
    """One published figure beside the estimate for it."""

    machine: str
    family: str
    load: float
    basis: str
    set: str
    published_w: float
    figure_w: Figure

    @property
    def inside(self) -> bool:
        return self.figure_w.low <= self.published_w <= self.figure_w.high


def estimate_w(row: dict[str, str]) -> Figure:
    """The mean power that the model gives the row's machine."""
    vcpus, load, gib = float(row["vcpus"]), float(row["load"]), float(row["memory_gib"])
    cpu_s = load * vcpus * AN_HOUR_S
    use = Use(
        duration_s=AN_HOUR_S,
        cpu_s=cpu_s,
        vcpus=vcpus,
        machine_vcpus=vcpus,
        machine_busy_s=cpu_s,
        memory_gib=load * gib,
        memory_limit_gib=gib,
    )
    hosts = Instance(
        type=row["machine"],
        vcpus=int(vcpus),
        threads_per_core=int(row["threads_per_core"]),
        memory_gib=gib,
        accelerator=row["gpu"] or None,
        accelerators=int(row["gpus"]),
        microarchitecture=row["microarchitecture"],
        source=row["source"],
        date=row["date"],
    )
    parts = [processor_energy(use, hosts_of(hosts)), memory_energy(use, memory())]
    if (gpu := recognise_gpu(row["gpu"])) is not None:
        boards = gpu_limit_energy(gpu, AN_HOUR_S * int(row["gpus"]), busy=load)
        parts += [boards, overhead_energy(boards)]
    return total_energy(*parts).scaled(1 / AN_HOUR_S, "W")


def cases() -> list[Case]:
    """All published figures, each with its estimate."""
    with (HERE / "data/published_power.csv").open() as file:
        return [
            Case(
                machine=row["machine"],
                family=row["machine"].partition(".")[0] if "." in row["machine"] else row["microarchitecture"],
                load=float(row["load"]),
                basis=row["basis"],
                set=row["set"],
                published_w=float(row["watts"]),
                figure_w=estimate_w(row),
            )
            for row in csv.DictReader(file)
        ]


def summary(chosen: list[Case]) -> dict[str, float | int | None]:
    """How many are inside, the median of estimate over published, and the median of high over low."""
    widths = [case.figure_w.high / case.figure_w.low for case in chosen if case.figure_w.low]
    return {
        "figures": len(chosen),
        "machines": len({case.machine for case in chosen}),
        "families": len({case.family for case in chosen}),
        "inside": sum(case.inside for case in chosen),
        "median_estimate_over_published": round(median(c.figure_w.value / c.published_w for c in chosen), 2),
        "median_high_over_low": round(median(widths), 2) if widths else None,
        "median_high_over_published": round(median(c.figure_w.high / c.published_w for c in chosen), 2),
    }


def groups(everything: list[Case]) -> dict[str, list[Case]]:
    """The cases by fairness and load, by how the figure came about, and by what was measured and held out."""
    chosen: dict[str, Callable[[Case], bool]] = {"all": lambda _: True}
    for name in ("tuned", "held out", "kin"):
        chosen[name] = lambda case, name=name: case.set == name
        for load in (0.0, 0.1, 0.5, 1.0):
            chosen[f"{name}, load {load:.0%}"] = lambda case, name=name, load=load: (
                case.set == name and case.load == load
            )
    for basis in ("wall", "RAPL", "TDP curve", "RAPL + TDP curve", "TDP curve + TDP curve", "model"):
        chosen[f"published by {basis}"] = lambda case, basis=basis: case.basis == basis
    chosen["held out and measured"] = lambda c: c.set == "held out" and c.basis in {"wall", "RAPL"}
    found = {name: [case for case in everything if test(case)] for name, test in chosen.items()}
    return {name: matching for name, matching in found.items() if matching}


def codecarbon() -> list[dict[str, object]]:
    """CodeCarbon's figures beside the model's, both for 2 vCPUs at full load without memory."""
    rows: list[dict[str, object]] = []
    for name, (microarchitecture, watts) in CODECARBON_W.items():
        row = {"machine": name, "microarchitecture": microarchitecture, "vcpus": "2", "threads_per_core": "2"}
        blank = {"load": "1", "memory_gib": "0", "gpu": "", "gpus": "0", "source": "", "date": ""}
        figure = estimate_w(row | blank)
        rows.append(
            {
                "processor_name": name,
                "codecarbon_w": watts,
                "suffice_w": [round(figure.low, 1), round(figure.value, 1), round(figure.high, 1)],
            }
        )
    return rows


def report(everything: list[Case]) -> dict[str, object]:
    """Print the tables, and return what they hold."""
    print(f"{'':<36}inside       estimate/published  high/low  high/published   (medians)")
    sums = {name: summary(chosen) for name, chosen in groups(everything).items()}
    for name, s in sums.items():
        width = "-" if s["median_high_over_low"] is None else f"{s['median_high_over_low']:.2f}"
        print(
            f"{name:<36}{s['inside']:>4} of {s['figures']:<4}{s['median_estimate_over_published']:>15.2f}"
            f"{width:>14}{s['median_high_over_published']:>12.2f}"
        )
    outside = [
        f"{c.machine} ({c.set}, {c.basis}) at {c.load:.0%}: published {c.published_w:.1f} W, estimated "
        f"{c.figure_w.value:.1f} W [{c.figure_w.low:.1f} to {c.figure_w.high:.1f}]"
        for c in everything
        if not c.inside
    ]
    print("\noutside the range:", *(outside or ["none"]), sep="\n  ")
    rivals = codecarbon()
    print("\n2 vCPUs at full load, processor alone, W:")
    for row in rivals:
        print(f"  {row['processor_name']:<28} CodeCarbon {row['codecarbon_w']:>6}   suffice {row['suffice_w']}")
    return {"groups": sums, "outside": outside, "codecarbon": rivals}


def main() -> None:
    """Print the report and write it beside this script."""
    now = datetime.now(UTC)
    result = {
        "claim": "the range of the energy estimate contains published power figures",
        "command": "python bench/energy_model.py",
        "date": now.date().isoformat(),
        "versions": {"python": platform.python_version()},
        "hardware": "none: the figures are published ones",
        **report(cases()),
    }
    path = HERE / "results" / f"energy_model_none_{now.date().isoformat()}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(f"\nwritten to {path.relative_to(HERE.parent)}", file=sys.stderr)


if __name__ == "__main__":
    main()
