"""What has been seen so far -> one line at the foot of the terminal while the job runs; nothing where there is none.

The line lies below a scroll region, as package managers keep theirs, so what the job prints goes on above it unchanged.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TextIO

from suffice.agent.phases import NAMES
from suffice.keep.report.headline import PARTS
from suffice.keep.report.numbers import digits, quantity
from suffice.measure.spool.reader import TRAINING_PHASES, ProcessRecord

RECENT = 50
FEWEST_ROWS = 8
SAVE, RESTORE, CLEAR = "\x1b7", "\x1b8", "\x1b[2K"


def progress(records: Iterable[ProcessRecord], watts: float | None) -> str:
    """Steps, time a step and where it goes, of the rank that is farthest; and the power of the moment."""
    record = max((r for r in records if r.steps), key=lambda r: r.steps[-1].last, default=None)
    power = f" · {quantity(watts, 'W')} estimated" if watts is not None else ""
    if record is None:
        return f"suffice · no step yet{power}"
    recent = record.steps[-RECENT:]
    count = sum(s.count for s in recent)
    sums = {name: sum(s.ns[i] for s in recent) for i, name in enumerate(NAMES) if name in TRAINING_PHASES}
    total = sum(sums.values()) or 1
    largest = sorted(sums.items(), key=lambda part: part[1], reverse=True)[:3]
    parts = ", ".join(f"{PARTS[f'{name}_s']} {ns / total:.0%}" for name, ns in largest if ns)
    return f"suffice · {record.steps[-1].last + 1:,} steps · {digits(total / count / 1e6)} ms a step: {parts}{power}"


class StatusLine:
    """The foot of a terminal; does nothing where `stream` is no terminal, or a small or dumb one."""

    def __init__(self, stream: TextIO, environment: Mapping[str, str] = os.environ) -> None:
        self.stream = stream
        self.size: os.terminal_size | None = None
        self.usable = stream.isatty() and environment.get("TERM", "dumb") != "dumb" and "CI" not in environment

    def show(self, text: str) -> None:
        """Write the text into the foot; keeps quiet while the job is not in the foreground."""
        size = self._size()
        if size is None:
            return
        setup = "" if size == self.size else self._setup(size)
        self.size = size
        self._write(f"{setup}{SAVE}\x1b[{size.lines};1H{CLEAR}{text[: size.columns - 1]}{RESTORE}")

    def close(self) -> None:
        """Give the whole terminal back, with the foot wiped."""
        if self.size is not None:
            self._write(f"{SAVE}\x1b[r\x1b[{self.size.lines};1H{CLEAR}{RESTORE}")
            self.size = None

    def _size(self) -> os.terminal_size | None:
        if not self.usable:
            return None
        try:
            descriptor = self.stream.fileno()
            if os.tcgetpgrp(descriptor) != os.getpgrp():
                return None
            size = os.get_terminal_size(descriptor)
        except OSError:
            return None
        return size if size.lines >= FEWEST_ROWS else None

    def _setup(self, size: os.terminal_size) -> str:
        # A new line and back: the cursor may stand in what becomes the foot.
        return f"\n{SAVE}\x1b[1;{size.lines - 1}r{RESTORE}\x1b[1A"

    def _write(self, text: str) -> None:
        # Writing from the background must not stop suffice.
        before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        try:
            with suppress(OSError):
                self.stream.write(text)
                self.stream.flush()
        finally:
            signal.signal(signal.SIGTTOU, before)
