"""/sys/class/powercap -> joules of the processor packages and their memory, where the kernel lets a user read them.

The counters are of the whole machine: the job's part of them follows from its part of the busy processor time.
"""

from __future__ import annotations

from pathlib import Path

from suffice.measure.meters.tree import ProcessTree


class RaplMeter:
    """Joules since the meter was made, by domain; a counter that wraps around is carried on."""

    key = "rapl"

    def __init__(self, folder: Path = Path("/sys/class/powercap")) -> None:
        zones = sorted(folder.glob("intel-rapl:*")) if folder.is_dir() else []
        self.zones = {z: name for z in zones if (name := _text(z / "name")) and _counted(z.name, name)}
        self.last = {z: joules for z in self.zones if (joules := _microjoules(z)) is not None}
        self.joules = dict.fromkeys(self.last, 0.0)
        self.unavailable = None if self.last else _reason(folder, self.zones)

    def read(self, tree: ProcessTree) -> dict[str, float]:
        """`package_j`, and `dram_j` where there is one."""
        totals: dict[str, float] = {}
        for zone in self.last:
            now = _microjoules(zone)
            if now is None:
                continue
            step = now - self.last[zone]
            if step < 0:
                step += float(_text(zone / "max_energy_range_uj") or 0)
            self.last[zone] = now
            self.joules[zone] += max(0.0, step) / 1e6
            name = "dram_j" if self.zones[zone] == "dram" else "package_j"
            totals[name] = totals.get(name, 0.0) + self.joules[zone]
        return totals


def _counted(zone: str, name: str) -> bool:
    """Packages hold their cores; memory is a part of its own. `psys` would count both again."""
    return (zone.count(":") == 1 and name.startswith("package")) or name == "dram"


def _reason(folder: Path, zones: dict[Path, str]) -> str:
    if not zones:
        return f"{folder} has no RAPL counters: virtual machines hide them"
    return f"{folder} is there but can't be read: `chmod a+r {folder}/intel-rapl*/energy_uj` as root allows it"


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _microjoules(zone: Path) -> float | None:
    text = _text(zone / "energy_uj")
    return float(text) if text and text.isdigit() else None
