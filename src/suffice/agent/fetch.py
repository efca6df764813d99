"""`fetch` of a loader's worker -> its running totals in a small shared page, read from outside at any time.

The page is the record: no write, no lock, and nothing is lost when the worker is killed. Times are nanoseconds. What
lies outside `fetch` (a worker waiting for its next index) is not counted. The layout is `FIELDS`; `busy` is 1 within
`fetch`, so that a reader knows whether the worker's state of the moment means anything.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .loaders import Loader

    Begun = tuple[int, int, tuple[int, int]]

FIELDS = (
    "busy",
    "pid",
    "parent",
    "loader",
    "thread",
    "worker",
    "begun",
    "batches",
    "items",
    "wall",
    "processor",
    "thread_run",
    "run_queue",
    "read_bytes",
    "write_bytes",
    "first_wall",
    "first_processor",
    "first_thread_run",
    "first_run_queue",
    "first_items",
    "intra_op_threads",
)
FIRST = tuple(name[6:] for name in FIELDS if name.startswith("first_"))
PAGE = struct.Struct("<{}q".format(len(FIELDS)))
BUSY = struct.Struct("<q")
UNKNOWN = -1
PAGES = 16
SHORT_NS = 2_000_000  # of fetches as short as this, one in some is looked at, for its reading costs some 10 µs
PASSED_OVER = 15
BYTES_AFTER_NS = 1_000_000  # reading the bytes costs some microseconds, more with many threads


class Readings:
    """Run-queue time of this thread and bytes of this process from /proc, through descriptors that are opened once."""

    def __init__(self) -> None:
        self.schedule = _open("/proc/thread-self/schedstat")
        self.io = _open("/proc/self/io")

    def scheduled_ns(self) -> tuple[int, int]:
        """(on a processor, ready to run but without one), or (-1, -1) where the kernel does not say."""
        try:
            fields = os.pread(self.schedule, 64, 0).split()  # type: ignore[arg-type]  # None: caught
            return int(fields[0]), int(fields[1])
        except (OSError, TypeError, ValueError, IndexError):
            return UNKNOWN, UNKNOWN

    def bytes_moved(self) -> tuple[int, int]:
        """(read, written) through system calls, or (-1, -1)."""
        try:
            fields = os.pread(self.io, 256, 0).split()  # type: ignore[arg-type]  # None: caught
            return int(fields[1]), int(fields[3])
        except (OSError, TypeError, ValueError, IndexError):
            return UNKNOWN, UNKNOWN


class Pages:
    """The pages of one process: a loader's worker has one, a process that fetches for itself one a loader and thread.

    `loader` is the number of the loader that this process is a worker of, in the process that reads it; -1 if none is
    known. `error` says why nothing is recorded, if so; `tell` is then told, once.
    """

    def __init__(self, folder: str, torch: Any, tell: Callable[[str], None]) -> None:
        self.folder = folder
        self.torch = torch
        self.tell = tell
        self.loader = UNKNOWN
        self.error: str | None = None
        self.pass_over = 0
        self.pages: dict[tuple[int, int], FetchPage] = {}

    def begin(self, reading: Loader | None) -> tuple[FetchPage, Begun] | None:
        """A fetch begins, in a process that is `reading` that loader unless it is a worker."""
        if self.error is not None:
            return None
        if self.pass_over:
            self.pass_over -= 1
            return None
        number = self.loader if reading is None else reading.number
        key = threading.get_ident(), number
        page = self.pages.get(key)
        if page is None:
            if len(self.pages) >= PAGES:
                return None
            try:
                page = self.pages[key] = self._open(number)
            except OSError as error:
                self.error = str(error)
                self.tell(self.error)
                return None
        return page, page.begin()

    def end(self, token: tuple[FetchPage, Begun], items: int) -> None:
        page, begun = token
        if page.end(begun, items) < SHORT_NS:
            self.pass_over = PASSED_OVER

    def _open(self, loader: int) -> FetchPage:
        info = self.torch.utils.data.get_worker_info()
        return FetchPage(self.folder, loader, UNKNOWN if info is None else info.id, self.torch.get_num_threads())


class FetchPage:
    """One page; `end` adds a batch to it."""

    def __init__(self, folder: str, loader: int, worker: int, intra_op_threads: int) -> None:
        self.readings = Readings()
        self.totals = totals = dict.fromkeys(FIELDS, 0)
        totals.update(pid=os.getpid(), parent=os.getppid(), loader=loader, worker=worker)
        totals.update(thread=threading.get_native_id(), intra_op_threads=intra_op_threads)
        totals["begun"] = time.perf_counter_ns()
        self.first_bytes = self.readings.bytes_moved()
        self.page = _shared_page(os.path.join(folder, "{pid}-{begun}.fetch".format(**totals)))
        PAGE.pack_into(self.page, 0, *totals.values())

    def begin(self) -> Begun:
        BUSY.pack_into(self.page, 0, 1)
        return time.perf_counter_ns(), time.process_time_ns(), self.readings.scheduled_ns()

    def end(self, begun: Begun, items: int) -> int:
        """Add the batch; returns what it took, in nanoseconds."""
        totals = self.totals
        wall = time.perf_counter_ns() - begun[0]
        processor = time.process_time_ns() - begun[1]
        run, queued = self.readings.scheduled_ns()
        known = UNKNOWN not in (run, begun[2][0], totals["run_queue"])
        totals["batches"] += 1
        totals["items"] += items
        totals["wall"] += wall
        totals["processor"] += processor
        totals["thread_run"] = totals["thread_run"] + run - begun[2][0] if known else UNKNOWN
        totals["run_queue"] = totals["run_queue"] + queued - begun[2][1] if known else UNKNOWN
        if totals["batches"] == 1:
            for name in FIRST:
                totals["first_" + name] = totals[name]
        if wall > BYTES_AFTER_NS or totals["batches"] % 16 == 1:
            read, written = self.readings.bytes_moved()
            if read != UNKNOWN:
                totals["read_bytes"] = read - self.first_bytes[0]
                totals["write_bytes"] = written - self.first_bytes[1]
        PAGE.pack_into(self.page, 0, *totals.values())
        return wall


def _shared_page(path: str) -> mmap.mmap:
    """A mapped file whose blocks were written first: mapping a hole on a full disk would kill the process later."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if os.write(descriptor, bytes(PAGE.size)) != PAGE.size:
            raise OSError("no room for the page of the worker")
        return mmap.mmap(descriptor, PAGE.size)
    finally:
        os.close(descriptor)


def _open(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
