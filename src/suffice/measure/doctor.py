"""This machine -> what can be measured on it, what each missing meter would need, and which versions are behind."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from suffice.measure.meters.gpus import GpuMeter
from suffice.measure.meters.sampler import Meter
from suffice.measure.observe import standard_meters
from suffice.measure.spool.reader import SpoolReader
from suffice.run.stage import environment, stage_agent
from suffice.tables import newest_versions

OK, MISSING, BEHIND = "ok", "missing", "behind"
AGENT = "the split of a step, losses, loaders, inside the job's own Python"
TIMEOUT_S = 120.0
WHAT = {
    "job": "processor time, memory and disk I/O of the job's processes",
    "gpus": "utilisation, memory, power, energy, clocks of NVIDIA GPUs",
    "rapl": "energy of the processors by their own counters (else it is estimated)",
    "pressure": "stalls for want of processor, memory or I/O",
    "network": "bytes of the job's TCP connections",
}
PROC = {
    "schedstat": ("/proc/self/schedstat", "time in the run queue, to tell busy cores from I/O", "CONFIG_SCHED_INFO"),
    "io": ("/proc/self/io", "bytes read and written by loader workers", "CONFIG_TASK_IO_ACCOUNTING"),
    "syscall": ("/proc/self/syscall", "what a loader's worker waits for", "CONFIG_HAVE_ARCH_TRACEHOOK"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was looked at: whether it is `ok`, what was found, and what it would take."""

    name: str
    state: str
    what: str
    found: str | None = None
    newest: str | None = None
    needs: str | None = None


def examine(
    meters: Sequence[Meter] | None = None,
    root: Path = Path("/"),
    *,
    python: str | None = None,
    cache: Path | None = None,
) -> list[Check]:
    """All checks, meters first; with `python`, whether the agent works in that interpreter, staged in `cache`."""
    read = standard_meters() if meters is None else meters
    checks = [*(_meter(m) for m in read), *_kernel(root), *_versions(read)]
    if python is not None and cache is not None:
        checks.append(_agent(python, cache))
    return checks


def _meter(meter: Meter) -> Check:
    state = OK if meter.unavailable is None else MISSING
    return Check(name=meter.key, state=state, what=WHAT.get(meter.key, meter.key), needs=meter.unavailable)


def _kernel(root: Path) -> list[Check]:
    checks = []
    for name, (path, what, option) in PROC.items():
        try:
            (root / path.lstrip("/")).read_text()
        except OSError as error:
            needs = f"{path} can't be read ({error.strerror}): it needs {option}, and is hidden in some containers"
            checks.append(Check(name=name, state=MISSING, what=what, needs=needs))
        else:
            checks.append(Check(name=name, state=OK, what=what))
    return checks


def _agent(python: str, cache: Path) -> Check:
    """Import torch in that interpreter with the agent in the environment, and read what the agent told."""
    with tempfile.TemporaryDirectory() as spool:
        variables = environment(os.environ, stage_agent(cache), Path(spool))
        try:
            subprocess.run(
                [python, "-c", "import torch"], env=variables, check=True, capture_output=True, timeout=TIMEOUT_S
            )
        except (OSError, subprocess.SubprocessError) as error:
            lines = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip().splitlines()
            needs = f"{python} can't import torch: {lines[-1] if lines else error}"
            return Check(name="agent", state=MISSING, what=AGENT, needs=needs)
        records = SpoolReader(Path(spool)).close()
    process = next((r.process for r in records if r.process), None)
    if process is None:
        return Check(
            name="agent", state=MISSING, what=AGENT, needs=f"{python} does not load it: is PYTHONPATH ignored?"
        )
    found = f"Python {process['python']}, torch {process['torch']}"
    missing = ", ".join(process["missing"])
    if missing:
        needs = f"this torch lacks {missing}: what these tell is not measured"
        return Check(name="agent", state=BEHIND, what=AGENT, found=found, needs=needs)
    return Check(name="agent", state=OK, what=AGENT, found=found)


def _versions(meters: Sequence[Meter]) -> list[Check]:
    newest = newest_versions()
    found = _found(meters)
    return [
        Check(
            name=name,
            state=_compared(found.get(name), version.newest),
            what="version",
            found=found.get(name) or "not installed here",
            newest=f"{version.newest} ({version.date})",
        )
        for name, version in newest.items()
        if found.get(name) or name in {"psutil", "nvidia-ml-py"}
    ]


def _found(meters: Sequence[Meter]) -> Mapping[str, str]:
    found = {}
    for name in newest_versions():
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    driver = next((m.driver_version() for m in meters if isinstance(m, GpuMeter)), None)
    return {**found, "nvidia-driver": driver} if driver else found


def _compared(found: str | None, newest: str) -> str:
    if found is None:
        return MISSING
    ours, theirs = ([int(n) for n in re.findall(r"\d+", text)[:3]] for text in (found, newest))
    return BEHIND if ours < theirs else OK
