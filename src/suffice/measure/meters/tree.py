"""A command's process id -> the processes of its tree, those that have lost their parent on the way included."""

from __future__ import annotations

import time
from contextlib import suppress

import psutil

COST_LIMIT = 0.002


class ProcessTree:
    """The live processes of a job; looking for new ones never takes more than `COST_LIMIT` of the time."""

    def __init__(self, pid: int) -> None:
        self.known: dict[int, psutil.Process] = {}
        self.seen = 0
        self._next_look_s = 0.0
        with suppress(psutil.NoSuchProcess):
            self._add(psutil.Process(pid))

    def refresh(self) -> list[psutil.Process]:
        """The processes that are alive now, the oldest known first."""
        self.known = {pid: p for pid, p in self.known.items() if p.is_running()}
        begun_s = time.monotonic()
        if begun_s >= self._next_look_s:
            for top in self._tops():
                with suppress(psutil.Error):
                    for child in top.children(recursive=True):
                        self._add(child)
            self._next_look_s = begun_s + (time.monotonic() - begun_s) / COST_LIMIT
        return list(self.known.values())

    def _add(self, process: psutil.Process) -> None:
        if process.pid not in self.known:
            self.known[process.pid] = process
            self.seen += 1

    def _tops(self) -> list[psutil.Process]:
        """The processes whose parent is not one of ours: the root, and those whose parent has gone."""
        tops = []
        for process in self.known.values():
            with suppress(psutil.Error):
                if process.ppid() not in self.known:
                    tops.append(process)
        return tops
