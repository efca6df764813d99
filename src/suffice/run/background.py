"""A command in a sandbox -> a process beside suffice whose output is kept to its last lines, and which ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

TAIL_BYTES = 4_000
PATIENCE_S = 5.0


class Background:
    """A command of one's own session; `stop` ends it with all its descendants that stayed in the session."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], output: Path) -> None:
        self.output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self.process.poll()

    def tail(self) -> str:
        """The last lines of what it printed."""
        with self.output.open("rb") as file:
            file.seek(max(0, self.output.stat().st_size - TAIL_BYTES))
            return file.read().decode(errors="replace").strip()

    def stop(self) -> None:
        """End it now: its files are a sandbox's, so there is nothing that it could still save."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE_S)
