"""Where suffice keeps its own things: the ledger, the runs that go on, the staged agent, the measured peaks.

`SUFFICE_HOME`, else `$XDG_DATA_HOME/suffice`, else `~/.local/share/suffice`. A run goes on without it: where it can't
be written, the run's folder is made among the temporary files.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from suffice.records import Target

MASK = "•••"
SECRET_NAME = re.compile(
    r"token(?!s|i[sz])|secret|passw|api[-_]?key|credential|auth(?!or)|access[-_]?key", re.IGNORECASE
)  # but not max_tokens, tokenizer, author
SECRET_TEXT = re.compile(
    r"^(AKIA|ASIA)[0-9A-Z]{16}$|^(hf|sk|ghp|gho|github_pat|glpat|xox[bap])[-_][A-Za-z0-9_-]{16,}$|://[^/@:]+:[^/@]+@"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Home:
    """The folder, and what lies in it."""

    folder: Path

    @staticmethod
    def of(environment: Mapping[str, str] = os.environ) -> Home:
        """The home that the environment names."""
        named = environment.get("SUFFICE_HOME")
        if named:
            return Home(folder=Path(named))
        data = environment.get("XDG_DATA_HOME") or Path(environment.get("HOME") or Path.home()) / ".local" / "share"
        return Home(folder=Path(data) / "suffice")

    @property
    def ledger(self) -> Path:
        """The store of all runs."""
        return self.folder / "ledger.sqlite3"

    @property
    def peaks(self) -> Path:
        """The fastest matrix products of this machine."""
        return self.folder / "peaks.json"

    def run_folder(self, name: str) -> Path:
        """Make a folder for a run, readable by its owner alone; among the temporary files where there is no other way.

        Raises:
            OSError: if there is no place at all.
        """
        folder = self.folder / "runs" / name
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700)
        except OSError:
            folder = Path(tempfile.mkdtemp(prefix=f"suffice-{name}-"))
        return folder

    def scratch_of(self, target: Target) -> Path:
        """Where the techniques store what the target's next run can use; only its owner can read it.

        Raises:
            OSError: if it can't be made.
        """
        digest = hashlib.sha256("\0".join((target.cwd, *target.command)).encode(errors="surrogateescape")).hexdigest()
        folder = self.folder / "stored" / digest[:16]
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def agent_cache(self) -> Path:
        """Where the agent is staged."""
        cache = self.folder / "agent"
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError:
            pass
        else:
            if os.access(cache, os.W_OK):
                return cache
        return _own_temporary_folder(f"suffice-agent-{os.getuid()}")


def _own_temporary_folder(name: str) -> Path:
    """A folder of that name among the temporary files if it is ours alone: what lies in it rides in the user's job."""
    folder = Path(tempfile.gettempdir()) / name
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
        return folder
    return Path(tempfile.mkdtemp(prefix=f"{name}-"))


def new_run_name() -> str:
    """A name that sorts by time and that two processes at once don't both take."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def redacted(command: Sequence[str]) -> tuple[str, ...]:
    """The command as it may be kept: values of options named like secrets, and what looks like one, are masked."""
    kept, hide_next = [], False
    for word in command:
        name, equals, value = word.partition("=")
        if hide_next and not word.startswith("-"):
            kept.append(MASK)
        elif equals and value and SECRET_NAME.search(name):
            kept.append(f"{name}={MASK}")
        else:
            kept.append(MASK if SECRET_TEXT.search(word) else word)
        hide_next = word.startswith("-") and not equals and SECRET_NAME.search(word) is not None
    return tuple(kept)
