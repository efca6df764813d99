"""The agent's source and the techniques' -> a folder for `PYTHONPATH`, and the environment that brings it into a job.

The folder is named by the content of the agent, so that versions don't meet and the user's Python compiles it once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

PACKAGE = "suffice_agent"
STAYS = ("catalog.py", "models.py", "model")
"""Of `change`, what is not for jobs."""


def stage_agent(cache: Path) -> Path:
    """Lay the agent out below `cache`, if it is not there yet, and return the folder to put on `PYTHONPATH`.

    Raises:
        OSError: if `cache` can't be written and does not hold the agent already.
    """
    sources = {**_sources("agent"), **{f"change/{path}": text for path, text in _sources("change").items()}}
    digest = hashlib.sha256(b"".join(name.encode() + text for name, text in sorted(sources.items()))).hexdigest()
    folder = cache / f"agent-{digest[:16]}"
    if not folder.is_dir():
        _write(folder, sources)
    return folder


def _write(folder: Path, sources: Mapping[str, bytes]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        draft = Path(scratch, "draft")
        package = draft / PACKAGE
        for name, text in sources.items():
            target = draft / "sitecustomize.py" if name == "boot.py" else package / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text)
        try:
            draft.rename(folder)
        except OSError:  # another suffice was quicker
            if not folder.is_dir():
                raise


def environment(base: Mapping[str, str], stage: Path, spool: Path | None, order: Path | None = None) -> dict[str, str]:
    """The environment `base` with the agent in it; the user's own `PYTHONPATH` follows the agent's.

    Args:
        base: The user's environment.
        stage: What `stage_agent` returned.
        spool: The folder for the record; without one nothing is recorded.
        order: The file by which the job is changed (`agent/rig/steer.py`).
    """
    users = base.get("PYTHONPATH")
    path = str(stage) if not users else f"{stage}{os.pathsep}{users}"
    places = {"SUFFICE_STAGE": stage, "SUFFICE_SPOOL": spool, "SUFFICE_ORDER": order}
    return {**base, "PYTHONPATH": path, **{name: str(place) for name, place in places.items() if place is not None}}


def _sources(room: str) -> dict[str, bytes]:
    """The text of the room's files that the job may import, by their paths in the room."""
    with resources.as_file(resources.files("suffice") / room) as folder:
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.py")}
        return {name: path.read_bytes() for name, path in files.items() if name.partition("/")[0] not in STAYS}


def remove(folder: Path) -> None:
    """Remove a spool folder; what can't be removed stays."""
    shutil.rmtree(folder, ignore_errors=True)
