"""A signal that suffice got -> whether its whole process group did, the command with it, or suffice alone.

The kernel does not tell. So a child of suffice waits in the same group with the same signals blocked: what is pending
there as well was sent to all. Otherwise `timeout`, a batch system or a supervisor, which signal the whole group, would
reach the command twice.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DESCRIPTORS = 256  # more than suffice has when it starts a command


class Witness:
    """The child, as its parent sees it."""

    def __init__(self, pid: int, line: int) -> None:
        self.pid = pid
        self.line = line

    def has_seen(self, number: int) -> bool:
        """Whether the signal is pending at the child; False where that can't be known."""
        with suppress(OSError, ValueError):
            status = Path(f"/proc/{self.pid}/status").read_text()
            pending = next(line.split()[1] for line in status.splitlines() if line.startswith("ShdPnd:"))
            return bool(int(pending, 16) >> (number - 1) & 1)
        return False

    def forget(self) -> None:
        """Let the child take what is pending."""
        with suppress(OSError):
            os.write(self.line, b".")


@contextmanager
def group_witness(blocked: Collection[signal.Signals]) -> Iterator[Witness]:
    """A witness for signals that the caller has blocked; it ends with its parent, whatever ends that."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _witness(reading, blocked)
    os.close(reading)
    try:
        yield Witness(pid, writing)
    finally:
        os.close(writing)
        with suppress(OSError):
            os.waitpid(pid, 0)


def _witness(reading: int, blocked: Collection[signal.Signals]) -> None:
    try:
        os.dup2(reading, 0)
        os.closerange(1, DESCRIPTORS)
        while os.read(0, 1):
            while signal.sigtimedwait(blocked, 0) is not None:
                pass
    finally:
        os._exit(0)
