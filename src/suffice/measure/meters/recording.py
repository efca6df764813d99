"""A file of samples -> the samples, or meters that play them back: a GPU's logic is tested without a GPU."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suffice.errors import SufficeError
from suffice.measure.meters.sampler import FORMAT
from suffice.measure.meters.tree import ProcessTree

JOB = ("processor_s", "memory_bytes", "read_bytes", "written_bytes", "machine_busy_s")
"""What a reading of the job's processes holds, unless it was damaged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """Samples in the order they were taken, `at_s` on the monotonic clock of their machine."""

    begun_s: float
    samples: tuple[Mapping[str, Any], ...]
    unavailable: Mapping[str, str]
    failures: Mapping[str, str]
    damaged_lines: int


def read_recording(path: Path) -> Recording:
    """The samples of a file that a `Sampler` wrote; a line that can't be read is counted and left out.

    Raises:
        SufficeError: if the file was written by a newer suffice.
    """
    begun_s, samples, damaged = 0.0, list[Mapping[str, Any]](), 0
    unavailable, failures = dict[str, str](), dict[str, str]()
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        lines = []
    for line in lines:
        try:
            message = json.loads(line.decode("ascii"))
        except (ValueError, RecursionError):
            damaged += 1
            continue
        if not isinstance(message, dict) or not _job_is_whole(message.get("job")):
            damaged += 1
        elif "at_s" in message:
            samples.append(message)
        else:
            if message.get("format", FORMAT) > FORMAT:
                raise SufficeError(
                    f"{path} has format {message['format']}, this suffice knows {FORMAT}; update suffice"
                )
            begun_s = message.get("begun_s", begun_s)
            unavailable.update(message.get("unavailable", {}))
            failures.update(message.get("failures", {}))
    return Recording(
        begun_s=begun_s, samples=tuple(samples), unavailable=unavailable, failures=failures, damaged_lines=damaged
    )


def _job_is_whole(job: Any) -> bool:
    return job is None or (isinstance(job, dict) and all(isinstance(job.get(name), int | float) for name in JOB))


class Replay:
    """A meter that returns what a recording holds for one key, one sample a reading; the last one stays."""

    def __init__(self, recording: Recording, key: str) -> None:
        self.key = key
        self.readings = [s[key] for s in recording.samples if key in s]
        self.unavailable = None if self.readings else recording.unavailable.get(key, f"the recording holds no {key!r}")
        self.next = 0

    def read(self, tree: ProcessTree) -> Any:
        """The next reading of the recording."""
        reading = self.readings[min(self.next, len(self.readings) - 1)]
        self.next += 1
        return reading
