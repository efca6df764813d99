"""What a rank computed with -> the fastest matrix product that this machine does in that precision, measured once.

The job's own Python does the product, in a process of its own and after the job has ended, so it costs the job nothing.
What was measured is kept: per machine, device, precision, threads and version of torch.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suffice.measure.observe import write_json
from suffice.records import Figure, Note, measured

TIMEOUT_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Precision:
    """What the operations of a job were done in and on."""

    device: str
    device_name: str
    precision: str
    threads: int
    matmul_precision: str
    torch: str

    @property
    def key(self) -> str:
        """The name under which the peak is kept."""
        words = (self.device_name, self.precision, str(self.threads), self.matmul_precision, self.torch)
        return " · ".join(words)


class Peaks:
    """The peaks that were measured on this machine, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, Any] = {}
        self.failed: list[str] = []
        with suppress(OSError, ValueError):
            self.known = dict(json.loads(path.read_text()))

    def of(self, wanted: Precision) -> Figure | None:
        """The peak in FLOP/s, or None where it was never measured."""
        kept = self.known.get(wanted.key)
        if not isinstance(kept, Mapping) or not isinstance(kept.get("flop_per_s"), float):
            return None
        how = f"the fastest {wanted.precision} matrix product on {wanted.device_name}, {wanted.threads} threads"
        return measured(kept["flop_per_s"], "FLOP/s", method=how, date=kept.get("date"))

    def notes(self) -> list[Note]:
        """Why a share of the peak is not told."""
        return [Note(level="info", text=f"share of the peak: {reason}") for reason in self.failed]

    def measure(self, wanted: Precision, python: str, program: Path) -> None:
        """Measure and keep it; `failed` says why it could not be done.

        Args:
            wanted: what to measure.
            python: the interpreter of the job.
            program: the agent's `peak.py`.
        """
        arguments = [wanted.device, wanted.precision, str(wanted.threads), wanted.matmul_precision]
        environment = {name: text for name, text in os.environ.items() if not name.startswith("SUFFICE_")}
        try:
            done = subprocess.run(
                [python, str(program), *arguments],
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=True,
                env=environment,
            )
            rate = float(json.loads(done.stdout.splitlines()[-1])["flop_per_s"])
        except (OSError, subprocess.SubprocessError, ValueError, KeyError, IndexError) as error:
            self.failed.append(f"the {wanted.precision} peak of {wanted.device_name} could not be measured: {error}")
            return
        today = dt.datetime.now(tz=dt.UTC).date().isoformat()
        self.known[wanted.key] = {"flop_per_s": rate, "date": today}
        with suppress(OSError):
            write_json(self.path, self.known)
