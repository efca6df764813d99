"""Functions of ours -> their results, from a process of its own that can crash, hang or eat memory without harm.

Libraries that convert and run models do all of that. A worker calls one function at a time, by its name, with plain
arguments, and keeps what it opened between calls; lines of JSON go over a socket, never pickle.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import psutil

from suffice.run.background import Background

POLL_S = 0.05
LOOK_S = 0.5
"""How often the worker's memory is looked at."""


def with_threads(threads: int, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables with which every library that makes threads of its own makes as many."""
    return {**environment, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


class WorkerError(Exception):
    """The function raised, or its process ended, took too long or too much memory; the text says which.

    `hint` is that of an error of ours.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Worker:
    """A process that calls functions; to be closed."""

    def __init__(
        self,
        folder: Path,
        *,
        environment: Mapping[str, str] = os.environ,
        limit_s: float = 600.0,
        limit_bytes: float = float("inf"),
    ) -> None:
        """Start it; `folder` takes what it prints.

        Args:
            folder: exists; the process's output goes to a file in it.
            environment: the process's variables.
            limit_s: seconds that a call may take.
            limit_bytes: memory that it may hold, with its children.
        """
        self.limit_s = limit_s
        self.limit_bytes = limit_bytes
        self.ours, theirs = socket.socketpair()
        with theirs:
            os.set_inheritable(theirs.fileno(), True)
            command = [sys.executable, "-P", "-m", "suffice.run.work", str(theirs.fileno())]
            self.process = Background(command, environment, folder / "output.txt", keep=[theirs.fileno()])
        self.ours.settimeout(POLL_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        """Call a function there, `suffice.form.calls:time_calls`, and return what it returns.

        By its name, because the module may import what this process should not. It is given what the worker keeps
        between calls, a dict, before the arguments; those and its result must be what JSON holds.

        Raises:
            WorkerError: if it raises, or its process ends, takes longer than `limit_s` or more memory than it may.
        """
        order = {"call": function, "args": args, "kwargs": kwargs}
        try:
            self.ours.sendall(json.dumps(order).encode() + b"\n")
        except OSError as error:
            raise WorkerError(f"its process has ended: {self._last_line()}") from error
        try:
            answer = self._answer(time.monotonic() + self.limit_s)
        except BaseException:  # an answer that nobody waited for would be taken for the next one's
            self.close()
            raise
        if "error" in answer:
            raise WorkerError(answer["error"], hint=answer["hint"])
        return answer["result"]

    def _answer(self, until_s: float) -> dict[str, Any]:
        received, look_s = b"", 0.0
        while not received.endswith(b"\n"):
            try:
                data = self.ours.recv(1 << 16)
            except TimeoutError:
                now_s = time.monotonic()
                if now_s > until_s:
                    raise WorkerError(f"it took longer than {self.limit_s:.0f} s") from None
                if now_s > look_s:
                    look_s = now_s + LOOK_S
                    self._look_at_memory()
            except OSError:
                data = b""
            else:
                if not data:
                    self.close()  # until then its exit code is not known
                    raise WorkerError(f"its process ended ({self._how()}): {self._last_line()}")
                received += data
        answer: dict[str, Any] = json.loads(received)
        return answer

    def _look_at_memory(self) -> None:
        try:
            process = psutil.Process(self.process.process.pid)
            held = sum(each.memory_info().rss for each in [process, *process.children(recursive=True)])
        except psutil.Error:
            return
        if held > self.limit_bytes:
            raise WorkerError(f"it held {held / 2**30:.1f} GiB of memory, {self.limit_bytes / 2**30:.1f} are allowed")

    def _how(self) -> str:
        code = self.process.exit_code
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def _last_line(self) -> str:
        lines = self.process.tail().splitlines()
        return lines[-1] if lines else "it says nothing"

    @property
    def ended(self) -> bool:
        """Whether it can't be called any more."""
        return self.ours.fileno() < 0 or self.process.exit_code is not None

    def close(self) -> None:
        """End the process."""
        self.ours.close()
        self.process.stop()
