"""Messages -> lines of JSON in one file per process, written in batches by the job's own thread.

No thread of its own: a second thread changes what `fork` may do. A batch is written when half a second has passed, and
at once where steps are slow, so a SIGKILL costs at most the last second of the record. A disk that is full or
read-only ends the record, never the job.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

VERSION = 1
FLUSH_EVERY_NS = 500_000_000
BATCH = 512
FILE_LIMIT_BYTES = 256 << 20


class Spool:
    """The record of this process; `error` says why it ended early, if it did."""

    def __init__(self, folder: str, now: Callable[[], int] = time.perf_counter_ns) -> None:
        self.folder = folder
        self.now = now
        self.descriptor: int | None = None
        self.error: str | None = None
        self.identity: tuple[int, int] | None = None
        self.preamble: list[dict[str, Any]] = []
        self.waiting: list[dict[str, Any]] = []
        self.rows: dict[str, list[Sequence[float]]] = {}
        self.row_count = 0
        self.written = 0
        self.flushed_ns = now()
        self.path = os.path.join(folder, "{}-{}.jsonl".format(os.getpid(), self.flushed_ns))

    def message(self, kind: str, **fields: Any) -> None:
        """Keep a message of its own; it goes out with the next batch."""
        self._close_rows()
        self.waiting.append({"kind": kind, "at": self.now(), **fields})

    def preface(self, kind: str, **fields: Any) -> None:
        """Keep a message that goes out before the first other one, or never."""
        self.preamble.append({"kind": kind, "at": self.now(), **fields})

    def row(self, kind: str, values: Sequence[float]) -> None:
        """Keep one row of a table; rows of a kind that follow each other share a line."""
        self.rows.setdefault(kind, []).append(values)
        self.row_count += 1

    def due(self, moment: int) -> bool:
        return moment - self.flushed_ns >= FLUSH_EVERY_NS or self.row_count >= BATCH

    def flush(self) -> None:
        """Write what waits. Never raises."""
        self._close_rows()
        self.flushed_ns = self.now()
        if not self.waiting or self.error:
            del self.waiting[:]
            return
        messages, self.preamble = self.preamble + self.waiting, []
        del self.waiting[:]
        try:
            self._write("".join(json.dumps(m, separators=(",", ":"), default=_plain) + "\n" for m in messages).encode())
        except OSError as error:
            self.error = str(error)

    def _close_rows(self) -> None:
        if self.row_count:
            self.waiting.extend({"kind": kind, "rows": rows} for kind, rows in self.rows.items())
            self.rows = {}
            self.row_count = 0

    def _write(self, text: bytes) -> None:
        if self.written + len(text) > FILE_LIMIT_BYTES:
            raise OSError("the record reached its limit of {} bytes".format(FILE_LIMIT_BYTES))
        if self.descriptor is None:
            flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
            self.descriptor = os.open(self.path, flags, 0o600)
            self.identity = self._identity()
        elif self._identity() != self.identity:
            # The job closed our descriptor and may have opened a file of its own under the same number.
            self.descriptor = None
            raise OSError("the job closed the record's file")
        while text:
            sent = os.write(self.descriptor, text)
            self.written += sent
            text = text[sent:]

    def _identity(self) -> tuple[int, int]:
        status = os.fstat(self.descriptor)  # type: ignore[arg-type]  # asked of an open file alone
        return status.st_dev, status.st_ino

    def close(self) -> None:
        """Write what waits and let go of the file. Never raises."""
        self.flush()
        self.abandon()

    def abandon(self) -> None:
        """Let go of the file as it is: in a forked child it is the parent's."""
        if self.descriptor is not None:
            try:
                if self._identity() == self.identity:
                    os.close(self.descriptor)
            except OSError:
                pass
        self.descriptor = None
        del self.waiting[:]
        self.rows = {}
        self.row_count = 0


def _plain(thing: Any) -> int | str:
    """What JSON does not know: a number of another library as an integer, anything else by its name."""
    return int(thing) if hasattr(thing, "__index__") else str(thing)
