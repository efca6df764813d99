"""A command -> what a search works with: a sandbox, a folder, and live jobs that are recorded as a measured run is."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from suffice.errors import RigError
from suffice.keep.home import Home, new_run_name, redacted
from suffice.measure.account.place import Place, find_place
from suffice.measure.machine import this_machine
from suffice.measure.observe import Observer, standard_meters, write_beginning
from suffice.measure.peak import Peaks
from suffice.prove.rig import Rig
from suffice.prove.workshop import Workshop
from suffice.records import Change, Goal, Target
from suffice.run.sandbox import choose, scratch_in
from suffice.run.stage import stage_agent

WARM_STEPS, PROFILE_STEPS, FEWEST_STEPS = 3, 40, 8
PROFILE_S = 12.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Studio:
    """What one search works with: its name and folder, the job's processes, and where and when it began."""

    name: str
    folder: Path
    target: Target
    goal: Goal
    place: Place
    workshop: Workshop
    peaks: Peaks
    began_s: float
    started: str
    say: Callable[[str], None]


@contextmanager
def open_studio(command: Sequence[str], goal: Goal, home: Home, say: Callable[[str], None]) -> Iterator[Studio]:
    """A place to try changes to a command's job, which is gone at the end."""
    name = new_run_name()
    place = find_place(goal)
    folder = home.run_folder(name)
    try:
        with scratch_in(home.folder / "scratch") as scratch:
            sandbox = choose(scratch, stays_open=[folder])
            say(f"the user's files stay as they are: {sandbox.reason}")
            workshop = Workshop(
                command=tuple(command),
                environment=dict(os.environ),
                sandbox=sandbox,
                stage=stage_agent(home.agent_cache()),
                folder=folder,
            )
            yield Studio(
                name=name,
                folder=folder,
                target=Target(command=redacted(command), cwd=os.getcwd()),  # noqa: PTH109 - as the command will see it
                goal=goal,
                place=place,
                workshop=workshop,
                peaks=Peaks(home.peaks),
                began_s=time.monotonic(),
                started=time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
                say=say,
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def hand_over(studio: Studio, home: Home) -> None:
    """Keep what the techniques stored in the search for the job's next run, as far as that is possible."""
    with suppress(OSError):
        place = home.scratch_of(studio.target)
        for stored in (studio.workshop.folder / "scratch").iterdir():
            if not (place / stored.name).exists():
                shutil.move(stored, place)


def open_rig(studio: Studio, record: Path, changes: Sequence[Change] = ()) -> Rig:
    """A live job that is recorded and watched as any measured run is."""
    record.mkdir()
    machine = this_machine()
    write_beginning(
        record, run=studio.name, target=studio.target, goal=studio.goal, machine=machine, place=studio.place
    )
    observer = Observer(record, standard_meters())

    def on_wait(pid: int | None) -> None:
        if pid is not None and observer.tree is None:
            observer.started(pid)
        observer.tick()

    return Rig(studio.workshop, spool=record, on_wait=on_wait, changes=changes)


def look_at(rig: Rig) -> float:
    """Let the job make the steps that the diagnosis is made of; the typical seconds of one.

    Raises:
        RigError: if it makes too few.
    """
    first = rig.run(FEWEST_STEPS) if rig.run(WARM_STEPS) else None
    if first is None:
        raise RigError(
            f"the job makes too few steps for anything to be compared: {WARM_STEPS + FEWEST_STEPS} are the fewest",
            hint="give it more data or more epochs; what it does is never kept",
        )
    step_s = _median(first["wall_s"])
    more = min(PROFILE_STEPS, int(PROFILE_S / max(step_s, 1e-6))) - FEWEST_STEPS
    if more > 0 and (rest := rig.run(more)) is not None:
        step_s = _median(rest["wall_s"])
    return step_s


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
