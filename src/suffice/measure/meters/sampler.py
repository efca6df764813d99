"""Meters -> samples: a reading of each once a second, kept on disk as they come.

The file is at once the record of the run, which survives suffice itself, and a recording that `recording.Replay` plays
back. Long runs are read less often, so that the file grows with the logarithm of their length.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

from suffice.measure.meters.tree import ProcessTree

SAMPLES_PER_DOUBLING = 2_000
FORMAT = 1


class Meter(Protocol):
    """What the sampler needs of a meter; `unavailable` says why it reads nothing here, or is None."""

    key: str
    unavailable: str | None

    def read(self, tree: ProcessTree) -> Any:
        """The reading of the moment, as plain JSON."""


class Sampler:
    """Reads the meters whenever `due`; a meter that fails is not asked again, and its reason is kept.

    `failures` maps the key of such a meter to what went wrong, `latest` holds the last two samples.
    """

    def __init__(self, meters: Sequence[Meter], path: Path, *, begun_s: float, interval_s: float = 1.0) -> None:
        self.meters = [m for m in meters if m.unavailable is None]
        self.failures: dict[str, str] = {}
        unavailable = {m.key: m.unavailable for m in meters if m.unavailable is not None}
        self.begun_s = begun_s
        self.interval_s = interval_s
        self.next_s = begun_s
        self.latest: tuple[Mapping[str, Any], ...] = ()
        self.file: TextIO | None = None
        try:
            self.file = path.open("w", buffering=1)
            self._write({"format": FORMAT, "begun_s": begun_s, "unavailable": unavailable})
        except OSError as error:
            self.failures["samples"] = f"{path} can't be written: {error.strerror}"

    def due(self, now_s: float) -> bool:
        """Whether it is time for the next reading."""
        return now_s >= self.next_s

    def sample(self, tree: ProcessTree, now_s: float) -> None:
        """Read every meter once; `now_s` is of the monotonic clock."""
        reading: dict[str, Any] = {"at_s": now_s}
        for meter in list(self.meters):
            try:
                reading[meter.key] = meter.read(tree)
            except Exception as error:  # noqa: BLE001 - a meter must not cost the user the run
                self.failures[meter.key] = f"it failed after {now_s - self.begun_s:.0f} s: {error!r}"
                self.meters.remove(meter)
        self.latest = (*self.latest[-1:], reading)
        self._write(reading)
        self.next_s = now_s + max(self.interval_s, (now_s - self.begun_s) / SAMPLES_PER_DOUBLING)

    def _write(self, line: Mapping[str, Any]) -> None:
        if self.file is None:
            return
        try:
            self.file.write(json.dumps(line, separators=(",", ":")) + "\n")
        except OSError as error:
            self.failures["samples"] = f"the samples could not be written any more: {error.strerror}"
            self.file = None

    def close(self) -> None:
        """Let go of the file, with the failures as its last line."""
        self._write({"failures": self.failures})
        if self.file is not None:
            self.file.close()
