"""The records of a run without steps -> the sentence that says why there are none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from suffice.measure.spool.reader import ProcessRecord


def why_no_steps(records: Sequence[ProcessRecord], folder: Path) -> str:
    """One sentence, and what to do about it where there is something."""
    whole = "the figures are of whole processes"
    if any(r.fault for r in records):
        return f"no steps: the agent stood aside; {whole}"
    if any(r.begun_ns is not None for r in records):
        if any(r.loaders for r in records):
            return f"no steps: batches were read, but no optimiser stepped and no backward was called; {whole}"
        return f"no steps: a model ran, but no optimiser stepped and no backward was called; {whole}"
    if any(r.process for r in records):
        return f"no steps: torch was imported, but nothing was trained with it; {whole}"
    if (folder / "python-ran").exists():
        return f"no steps: Python ran, but never imported torch; {whole}"
    return (
        f"no steps: no Python started with suffice's agent; {whole}. Python loads it through PYTHONPATH, which the "
        "options -I, -E and -S and a script that sets PYTHONPATH anew all shut out"
    )
