"""A run in the ledger -> the file of the model that its job saved.

A run records its working folder and when it began and ended, not what the job wrote. So what counts is a file of a
model below that folder that was last written while the run went on; what a later run has written over is not found.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from suffice.errors import ModelError
from suffice.keep.ledger import Ledger

SUFFIXES = frozenset({".onnx", ".pt2", ".pt", ".pth", ".ts", ".torchscript"})
LEFT_OUT = frozenset({"__pycache__", "node_modules", "site-packages"})
SECOND_S = 1.0
"""The ledger's times are whole seconds."""
SHOWN = 12


def saved_model(run: str, ledger: Ledger) -> Path:
    """The one model that a run's job saved.

    Raises:
        RunUnknownError: if there is no such run.
        ModelError: if it goes on or never ended, or saved no model that is still there, or several.
    """
    entry = ledger.find(run)
    profile = ledger.profile(entry.name)
    if profile is None:
        raise ModelError(f"run {entry.name} has not ended: which files are its own can't be told")
    began_s, ended_s = (datetime.fromisoformat(each).timestamp() for each in (profile.started, profile.ended))
    folder = Path(profile.target.cwd)
    found = sorted(_written(folder, began_s, ended_s + SECOND_S))
    if not found:
        raise ModelError(
            f"run {entry.name} left no model in {folder}: no {', '.join(sorted(SUFFIXES))} there is as old as the run",
            hint="files elsewhere, or written over since, are not found: name the file itself",
        )
    if len(found) > 1:
        names = [os.path.relpath(path) for path in found]
        told = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
        raise ModelError(f"run {entry.name} saved {len(found)} files: {told}", hint="name the one that is meant")
    return found[0]


def _written(folder: Path, began_s: float, ended_s: float) -> Iterator[Path]:
    """The files of models below a folder that were last written between two times; environments are left out."""
    for place, folders, files in os.walk(folder):
        folders[:] = [each for each in folders if not each.startswith(".") and each not in LEFT_OUT]
        for name in files:
            path = Path(place, name)
            if path.suffix in SUFFIXES and not path.is_symlink() and began_s <= path.stat().st_mtime <= ended_s:
                yield path
