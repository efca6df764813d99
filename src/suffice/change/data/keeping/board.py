"""What a job and its forked workers tell each other -> whether a change is on, why it was given up, and counts."""

from __future__ import annotations

import mmap
import os
import struct
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

COUNT, TWO_COUNTS = struct.Struct("<Q"), struct.Struct("<QQ")
FLAGS = struct.Struct("<BBH")  # on, given up, length of the reason
REASON_AT, REASON_BYTES = 16, 1000
COUNTS_AT = 1024
PROCESSES = 64  # that count for themselves; of more, some share a line and may lose a count


class Board:
    """One page in memory that later children share; `names` are what is counted."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = {name: place for place, name in enumerate(names)}
        self.line = struct.Struct(f"<Q{len(names)}Q")
        self.page = mmap.mmap(-1, COUNTS_AT + PROCESSES * self.line.size)
        self.pid = 0
        self.at = 0
        self.counts = [0] * len(names)

    @property
    def on(self) -> bool:
        """Whether the change is to be in effect: it was switched on, and was not given up."""
        return self.page[0] == 1 and self.page[1] == 0

    def switch(self, on: bool) -> None:  # noqa: FBT001 - the switch itself
        """Switch the change on or off, in every process at once."""
        self.page[0] = int(on)

    def give_up(self, reason: str) -> None:
        """From now on the change is off for good; the first reason stays."""
        if not self.page[1]:
            text = reason.encode()[:REASON_BYTES]
            self.page[REASON_AT : REASON_AT + len(text)] = text
            FLAGS.pack_into(self.page, 0, self.page[0], 1, len(text))

    @property
    def reason(self) -> str | None:
        """Why it was given up, or None."""
        _, given_up, length = FLAGS.unpack_from(self.page, 0)
        return self.page[REASON_AT : REASON_AT + length].decode(errors="replace") if given_up else None

    def count(self, name: str, more: int = 1) -> None:
        """Add to a count."""
        if self.pid != os.getpid():
            self._line_of_this_process()
        place = self.names[name]
        self.counts[place] += more
        COUNT.pack_into(self.page, self.at + 8 + 8 * place, self.counts[place])

    def count_timed(self, name: str, begun_ns: int) -> None:
        """Count one more, and add the time since then to the count that follows in the list."""
        if self.pid != os.getpid():
            self._line_of_this_process()
        place = self.names[name]
        counts = self.counts
        counts[place] += 1
        counts[place + 1] += time.perf_counter_ns() - begun_ns
        TWO_COUNTS.pack_into(self.page, self.at + 8 + 8 * place, counts[place], counts[place + 1])

    def _line_of_this_process(self) -> None:
        self.pid = os.getpid()
        lines = [COUNTS_AT + ((self.pid + step) % PROCESSES) * self.line.size for step in range(PROCESSES)]
        free = [at for at in lines if COUNT.unpack_from(self.page, at)[0] in (0, self.pid)]
        self.at = (free or lines)[0]
        COUNT.pack_into(self.page, self.at, self.pid)
        self.counts = list(self.line.unpack_from(self.page, self.at))[1:]

    def totals(self) -> dict[str, int]:
        """What was counted in all processes."""
        lines = [self.line.unpack_from(self.page, COUNTS_AT + i * self.line.size) for i in range(PROCESSES)]
        return {name: sum(line[1 + place] for line in lines) for name, place in self.names.items()}
