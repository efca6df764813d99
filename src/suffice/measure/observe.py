"""A job while it runs -> a folder that holds all that was seen of it; `profile.fold` makes the profile of that folder.

The folder is complete at any moment: when suffice itself is killed, what was seen until then can still be folded.

    run.json        the target, the goal, the machine, and when it began
    *.jsonl         what the agent told (spool/reader.py) · samples.jsonl   what the meters read
    *.fetch, fetches.json   the loader workers' pages · waits.json   what they were seen waiting for
    ended.json      how it ended; absent while it runs, and if suffice was killed
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from suffice.measure.account.place import Place
from suffice.measure.machine import Machine
from suffice.measure.meters.gpus import GpuMeter
from suffice.measure.meters.network import NetworkMeter
from suffice.measure.meters.pressure import PressureMeter
from suffice.measure.meters.processes import ProcessMeter
from suffice.measure.meters.rapl import RaplMeter
from suffice.measure.meters.sampler import Meter, Sampler
from suffice.measure.meters.tree import ProcessTree
from suffice.measure.meters.waits import WaitWatcher
from suffice.measure.spool.pages import PageBook
from suffice.measure.spool.reader import SpoolReader
from suffice.records import Goal, Target, as_json
from suffice.run.here import Ended

TICK_S, LONGEST_TICK_S = 0.05, 0.25
TICKS_SO_FAR = 100
POLL_S = 0.5


def standard_meters() -> tuple[Meter, ...]:
    """The meters of a run on this machine."""
    return (ProcessMeter(), GpuMeter(), RaplMeter(), PressureMeter(), NetworkMeter())


class Observer:
    """Watches one job; `run.here.run_here` calls `started` and `tick`, the caller `ended`."""

    def __init__(self, folder: Path, meters: Sequence[Meter]) -> None:
        self.folder = folder
        self.meters = meters
        self.reader = SpoolReader(folder)
        self.pages = PageBook(folder)
        self.waits = WaitWatcher()
        self.tree: ProcessTree | None = None
        self.sampler: Sampler | None = None
        self.next_poll_s = 0.0

    def started(self, pid: int) -> None:
        """The job runs."""
        now_s = time.monotonic()
        self.tree = ProcessTree(pid)
        self.sampler = Sampler(self.meters, self.folder / "samples.jsonl", begun_s=now_s)

    def tick_s(self) -> float:
        """Seconds until the next tick is due: the longer the job has run, the less does one more look tell."""
        so_far_s = 0.0 if self.sampler is None else time.monotonic() - self.sampler.begun_s
        return min(max(TICK_S, so_far_s / TICKS_SO_FAR), LONGEST_TICK_S)

    def tick(self) -> bool:
        """Look at what is due; True if the records were read on, so that there may be news."""
        now_s = time.monotonic()
        if self.tree is None or self.sampler is None:
            return False
        self.waits.look(self.pages.refresh())
        if self.sampler.due(now_s):
            self.sampler.sample(self.tree, now_s)
        if now_s < self.next_poll_s:
            return False
        self.next_poll_s = now_s + POLL_S
        self.reader.poll()
        return True

    def ended(self, ended: Ended) -> None:
        """The job is over: the last readings, and how it ended."""
        if self.tree is not None and self.sampler is not None:
            self.sampler.sample(self.tree, time.monotonic())
            self.sampler.close()
        self.pages.refresh()
        self.waits.save(self.folder / "waits.json")
        write_json(self.folder / "ended.json", {**as_json(ended), "wall_clock": time.time()})


def write_beginning(folder: Path, *, run: str, target: Target, goal: Goal, machine: Machine, place: Place) -> None:
    """Write what is known before the job starts.

    Raises:
        OSError: if the folder can't be written.
    """
    asked = {"region": place.region.code if place.known else None, "reason": place.reason}
    beginning = {
        "run": run,
        "target": as_json(target),
        "goal": as_json(goal),
        "machine": as_json(machine),
        "place": {**asked, "instance": place.instance, "life_cycle": place.life_cycle},
        "wall_clock": time.time(),
        "monotonic_s": time.monotonic(),
    }
    write_json(folder / "run.json", beginning)


def write_json(path: Path, data: Any) -> None:
    """Write a file as a whole or not at all.

    Raises:
        OSError: if it can't be written.
    """
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(data))
    draft.replace(path)
