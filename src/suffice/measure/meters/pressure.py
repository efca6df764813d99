"""/proc/pressure -> the seconds in which something stalled for want of a processor, of memory or of I/O.

The figures are of the whole machine, neighbours included: evidence beside others, never a verdict.
"""

from __future__ import annotations

from pathlib import Path

from suffice.measure.meters.tree import ProcessTree

RESOURCES = ("cpu", "memory", "io")


class PressureMeter:
    """Stall seconds since boot, by resource."""

    key = "pressure"

    def __init__(self, folder: Path = Path("/proc/pressure")) -> None:
        self.folder = folder
        readable = all(self._stalled_s(name) is not None for name in RESOURCES)
        self.unavailable = (
            None
            if readable
            else f"{folder} can't be read: it needs Linux 4.20 with CONFIG_PSI, and is absent in some containers"
        )

    def read(self, tree: ProcessTree) -> dict[str, float]:
        """Seconds in which at least one task was stalled, by resource."""
        return {f"{name}_stalled_s": s for name in RESOURCES if (s := self._stalled_s(name)) is not None}

    def _stalled_s(self, name: str) -> float | None:
        try:
            some = (self.folder / name).read_text().splitlines()[0]
            return int(some.rsplit("total=", 1)[1]) / 1e6
        except (OSError, ValueError, IndexError):
            return None
