"""A terminal for the tests: a command runs on a pty, and pyte shows what its user would see."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Self

import pyte

from tests.conftest import TIMEOUT_S


class Terminal:
    """A command on a screen of its own; `stderr` may go elsewhere."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        columns: int = 100,
        lines: int = 24,
        stderr: BinaryIO | None = None,
    ) -> None:
        self.screen = pyte.HistoryScreen(columns, lines, history=10_000)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.master, slave = pty.openpty()
        self._set_size(columns, lines)
        self.process = subprocess.Popen(
            [str(word) for word in command],
            env={"TERM": "xterm-256color", **{name: value for name, value in env.items() if name != "CI"}},
            stdin=slave,
            stdout=slave,
            stderr=stderr or slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - the tests have one thread
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, 9)
            self.process.wait()
        os.close(self.master)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        """The user pulls at a corner of the window."""
        self._set_size(columns, lines)
        self.screen.resize(lines, columns)

    def type(self, keys: bytes) -> None:
        """Keys that the user presses."""
        os.write(self.master, keys)

    def read(self, until: Callable[["Terminal"], bool] = lambda _: False) -> None:
        """Show what comes until the condition holds, or until the command has ended.

        Raises:
            TimeoutError: if neither happens.
        """
        deadline = time.monotonic() + TIMEOUT_S
        while not until(self):
            if time.monotonic() > deadline:
                raise TimeoutError("\n".join(self.screen.display))
            if not select.select([self.master], [], [], 0.1)[0]:
                if self.process.poll() is not None:
                    return
                continue
            try:
                block = os.read(self.master, 1 << 16)
            except OSError:  # the last holder of the other end has closed it
                return
            if not block:
                return
            self.raw += block
            self.stream.feed(block)

    def end(self) -> int:
        """Show the rest, and return how the command ended."""
        self.read()
        return self.process.wait(timeout=TIMEOUT_S)

    @property
    def foot(self) -> str:
        """The last line of the screen."""
        return self.screen.display[-1].rstrip()

    @property
    def text(self) -> list[str]:
        """All lines, those that have scrolled away as well."""
        gone = ["".join(line[i].data for i in range(self.screen.columns)) for line in self.screen.history.top]
        return [line.rstrip() for line in [*gone, *self.screen.display]]
