"""A piece of work -> its answer, from a forked child: whatever it draws, counts or writes to, the job stays as it was.

The child has one thread, no garbage collector (it would run the job's finalizers), and its output goes nowhere. A fork
shares the positions in open files with its parent, so those that moved are put back. The answer is JSON.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import select
import signal
import stat
import struct
import sys
import threading
import time
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Work = Callable[[], Any]


LENGTH = struct.Struct("<Q")


class Failed(Exception):  # noqa: N818 - it is an answer
    """The child came to no answer; the text says why."""


class Apart:
    """A child at work. `answer` is to be called once; without it the child ends when its time is over."""

    def __init__(self, torch: Any, work: Work, limit_s: float) -> None:
        self.until = time.monotonic() + limit_s
        self.positions = _positions()
        self.pipe, theirs = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of forking beside threads: hence the limit of time
            self.pid = os.fork()
        if not self.pid:
            _be_the_child(torch, work, theirs, limit_s)
        os.close(theirs)

    def answer(self) -> Any:
        """What the work returned.

        Raises:
            Failed: if it raised, was killed, or took too long.
        """
        try:
            text = self._read()
        finally:
            os.close(self.pipe)
            self._end()
            _put_back(self.positions)
        try:
            told = json.loads(text)
        except ValueError:
            raise Failed("reading samples in a process of its own was cut short") from None
        if "fault" in told:
            raise Failed(told["fault"])
        return told["answer"]

    def _read(self) -> bytes:
        """The answer, as soon as it is whole: what the child has forked may hold the pipe open for longer."""
        size = LENGTH.size
        data = b""
        while len(data) < size:
            ready, _, _ = select.select([self.pipe], [], [], max(0.0, self.until - time.monotonic()))
            if not ready:
                raise Failed("reading a few samples in a process of its own took too long")
            piece = os.read(self.pipe, 1 << 20)
            if not piece:
                break
            data += piece
            if len(data) >= LENGTH.size:
                size = LENGTH.size + LENGTH.unpack_from(data)[0]
        return data[LENGTH.size :]

    def _end(self) -> None:
        try:
            os.kill(self.pid, signal.SIGKILL)  # it has answered, or has had its time
            os.waitpid(self.pid, 0)
        except OSError:  # the job ignores its children, so the kernel has buried it
            pass


def run(torch: Any, work: Work, limit_s: float) -> Any:
    """The answer of the work, done apart.

    Raises:
        Failed: if it came to none.
    """
    return Apart(torch, work, limit_s).answer()


def answers(children: Sequence[Apart]) -> list[Any]:
    """The answers of children that work side by side; all are ended, whatever becomes of one.

    Raises:
        Failed: if one came to none.
    """
    told, fault = [], None
    for child in children:
        try:
            told.append(child.answer())
        except Failed as failed:
            fault = fault or failed
    if fault is not None:
        raise fault
    return told


def _be_the_child(torch: Any, work: Work, pipe: int, limit_s: float) -> None:
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, limit_s + 1.0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the job hears it, and has us killed
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        gc.disable()
        sys.setprofile(None)
        sys.settrace(None)
        threading.excepthook = lambda _: None
        _write_nowhere()
        torch.set_num_threads(1)  # the threads of a pool are not there after a fork
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            told = _done(work)
        data = json.dumps(told).encode()
        data = LENGTH.pack(len(data)) + data
        while data:
            data = data[os.write(pipe, data) :]
        code = 0
    finally:
        os._exit(code)


def _write_nowhere() -> None:
    """Neither to the terminal nor to files that the job writes, such as a log."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2, *_regular_files(os.O_WRONLY)):
        os.dup2(nowhere, descriptor)
    sys.stdout = sys.stderr = os.fdopen(nowhere, "w")


def _done(work: Work) -> dict[str, Any]:
    try:
        return {"answer": work()}
    except Failed as failed:
        return {"fault": str(failed)}
    except BaseException as error:
        return {"fault": f"reading a sample in a process of its own failed: {type(error).__name__}: {error}"[:300]}


def _positions() -> dict[int, int]:
    """Where the job stands in each regular file that it only reads."""
    return {descriptor: os.lseek(descriptor, 0, os.SEEK_CUR) for descriptor in _regular_files(os.O_RDONLY)}


def _regular_files(access: int) -> list[int]:
    """The descriptors of regular files that were opened for that kind of access."""
    found = []
    try:
        descriptors = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return []
    for descriptor in descriptors:
        try:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            if regular and fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == access:
                found.append(descriptor)
        except OSError:
            pass
    return found


def _put_back(positions: dict[int, int]) -> None:
    for descriptor, position in positions.items():
        try:
            if os.lseek(descriptor, 0, os.SEEK_CUR) != position:
                os.lseek(descriptor, position, os.SEEK_SET)
        except OSError:
            pass
