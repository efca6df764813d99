"""The folder of a search of models: forms are built in it, and those of a search that was killed are found again."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KEPT_DAYS = 7
LOCK = "lock"


@contextmanager
def search_folder(home: Path, *named: object) -> Iterator[Path]:
    """The folder in `home` for a search of what is `named`; it is removed at the end, whichever way that comes about.

    Only a process that is killed leaves it. While another one works in it, this is an empty folder beside it.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    _clear(home)
    folder = home / hashlib.sha256(repr(named).encode()).hexdigest()[:16]
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        if not _taken(lock):
            with tempfile.TemporaryDirectory(prefix="model-", dir=home) as other:
                yield Path(other)
            return
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _taken(lock: object) -> bool:
    """Whether the lock is ours now."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # type: ignore[arg-type]
    except OSError:
        return False
    return True


def _clear(home: Path) -> None:
    """Remove what searches left that were killed long ago."""
    for folder in home.iterdir():
        if folder.stat().st_mtime < time.time() - KEPT_DAYS * 86_400:
            shutil.rmtree(folder, ignore_errors=True)
