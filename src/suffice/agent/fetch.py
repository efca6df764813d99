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

FIELDS = (
    "busy",
    "pid",
    "thread",
    "worker",
    "begun",
    "batches",
    "items",
    "wall",
    "processor",
    "run_queue",
    "read_bytes",
    "write_bytes",
    "first_wall",
    "first_processor",
    "first_run_queue",
    "first_items",
    "intra_op_threads",
)
PAGE = struct.Struct("<{}q".format(len(FIELDS)))
BUSY = struct.Struct("<q")
UNKNOWN = -1
BYTES_AFTER_NS = 1_000_000  # reading the bytes costs some microseconds, more with many threads


class Readings:
    """Run-queue time of this thread and bytes of this process from /proc, through descriptors that are opened once."""

    def __init__(self) -> None:
        self.schedule = _open("/proc/thread-self/schedstat")
        self.io = _open("/proc/self/io")

    def run_queue_ns(self) -> int:
        """Time ready to run but without a processor, or -1 where the kernel does not say."""
        try:
            return int(os.pread(self.schedule, 64, 0).split()[1])  # type: ignore[arg-type]  # None: caught
        except (OSError, TypeError, ValueError, IndexError):
            return UNKNOWN

    def bytes_moved(self) -> tuple[int, int]:
        """(read, written) through system calls, or (-1, -1)."""
        try:
            fields = os.pread(self.io, 256, 0).split()  # type: ignore[arg-type]  # None: caught
            return int(fields[1]), int(fields[3])
        except (OSError, TypeError, ValueError, IndexError):
            return UNKNOWN, UNKNOWN


class FetchPage:
    """The page of one process; `fetched` adds a batch."""

    def __init__(self, folder: str, worker: int, intra_op_threads: int) -> None:
        self.readings = Readings()
        self.thread = threading.get_ident()
        self.totals = dict.fromkeys(FIELDS, 0)
        self.totals.update(pid=os.getpid(), thread=threading.get_native_id(), worker=worker)
        self.totals["intra_op_threads"] = intra_op_threads
        self.totals["begun"] = time.perf_counter_ns()
        self.first_bytes = self.readings.bytes_moved()
        self.page = _shared_page(os.path.join(folder, "{pid}-{begun}.fetch".format(**self.totals)))

    def begin(self) -> tuple[int, int, int]:
        BUSY.pack_into(self.page, 0, 1)
        return time.perf_counter_ns(), time.process_time_ns(), self.readings.run_queue_ns()

    def end(self, begun: tuple[int, int, int], items: int) -> None:
        totals = self.totals
        wall = time.perf_counter_ns() - begun[0]
        processor = time.process_time_ns() - begun[1]
        queued = self.readings.run_queue_ns()
        queued = queued - begun[2] if queued != UNKNOWN else UNKNOWN
        totals["batches"] += 1
        totals["items"] += items
        totals["wall"] += wall
        totals["processor"] += processor
        totals["run_queue"] = totals["run_queue"] + queued if queued != UNKNOWN else UNKNOWN
        if totals["batches"] == 1:
            totals.update(first_wall=wall, first_processor=processor, first_run_queue=queued, first_items=items)
        if wall > BYTES_AFTER_NS or totals["batches"] % 16 == 1:
            read, written = self.readings.bytes_moved()
            if read != UNKNOWN:
                totals["read_bytes"] = read - self.first_bytes[0]
                totals["write_bytes"] = written - self.first_bytes[1]
        PAGE.pack_into(self.page, 0, *totals.values())


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
