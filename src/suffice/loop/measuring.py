"""Measure a training command, with or without the changes of a plan, and keep what was measured."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from suffice.change.catalog import at_start
from suffice.errors import LedgerError
from suffice.keep.home import Home, new_run_name, redacted
from suffice.keep.ledger import Entry, Ledger
from suffice.measure.account.place import find_place
from suffice.measure.machine import this_machine
from suffice.measure.meters.sampler import Meter
from suffice.measure.observe import Observer, standard_meters, write_beginning, write_json
from suffice.measure.peak import Peaks
from suffice.measure.profile import fold
from suffice.measure.ranks import precision_of
from suffice.records import Change, Goal, Note, Profile, Target
from suffice.run.here import Ended, run_here
from suffice.run.stage import environment, stage_agent


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A profile, how the command ended, and where the raw record lies if it was not taken into the ledger."""

    profile: Profile
    ended: Ended
    record: Path | None


def measure(
    command: Sequence[str],
    goal: Goal,
    home: Home,
    *,
    watch: Callable[[Observer], None] | None = None,
    on_end: Callable[[], None] | None = None,
    meters: Sequence[Meter] | None = None,
    record: Path | None = None,
    changes: Sequence[Change] = (),
) -> Measured:
    """Run the command with the agent in it and the meters beside it, and write what they saw into the ledger.

    Args:
        command: what the user would have typed.
        goal: where the job runs and what it costs.
        home: where suffice keeps its things.
        watch: called about twice a second while the job runs.
        on_end: called as soon as the job has ended, before its record is folded.
        meters: those of this machine unless others are given, such as a recording's.
        record: a folder to copy the raw record to; `measure.profile.fold` reads it.
        changes: what a plan starts the job with, or switches on inside it before its first step.

    Raises:
        CommandError: if the command can't be started.
        GoalError: if the goal names something that does not exist.
    """
    name, place = new_run_name(), find_place(goal)
    folder = home.run_folder(name)
    target = Target(command=redacted(command), cwd=os.getcwd())  # noqa: PTH109 - as the command will see it
    write_beginning(folder, run=name, target=target, goal=goal, machine=this_machine(), place=place)
    stage = stage_agent(home.agent_cache())
    ledger = Ledger(home.ledger)
    lost = _begin(ledger, name, target, folder)
    observer = Observer(folder, standard_meters() if meters is None else meters)

    def tick() -> None:
        if observer.tick() and watch is not None:
            watch(observer)

    variables = _variables(changes, stage, folder, home, target)
    try:
        ended = run_here(command, variables, on_start=observer.started, on_tick=tick, tick_s=observer.tick_s)
    except Exception:
        _discard(ledger, name, folder)
        raise
    if on_end is not None:
        on_end()
    observer.ended(ended)
    return _kept(ledger, folder, ended, _calibrated(observer, stage, home), lost=lost, record=record)


def _variables(changes: Sequence[Change], stage: Path, folder: Path, home: Home, target: Target) -> Mapping[str, str]:
    """What the job is started with: the agent, and what of the changes is variables; the agent has the rest by a file.

    What the techniques store is kept for the job's next run.
    """
    if not changes:
        return environment(os.environ, stage, folder)
    listed = [change.order for change in changes]
    started, told = at_start(listed, os.environ)
    path = folder / "order.json"
    try:
        scratch = home.scratch_of(target)
    except OSError:  # a home that can't be written: then they store for this run alone
        scratch = folder
    write_json(path, {"changes": told, "scratch": str(scratch)})
    return environment(started, stage, folder, path)


def _discard(ledger: Ledger, name: str, folder: Path) -> None:
    """Leave nothing of a run that never began."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(LedgerError):
        ledger.forget(name)


def _begin(ledger: Ledger, name: str, target: Target, folder: Path) -> str | None:
    """Note that the run goes on; the reason if the ledger can't: the job runs all the same."""
    started = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    entry = Entry(
        name=name, started=started, command=target.command, cwd=target.cwd, state="running", folder=str(folder)
    )
    try:
        ledger.begin(entry)
    except LedgerError as error:
        return str(error)
    return None


def _calibrated(observer: Observer, stage: Path, home: Home) -> Peaks:
    """The machine's peaks, with those that this job's share is told of measured if they were not yet."""
    peaks = Peaks(home.peaks)
    for record in observer.reader.close():
        precision = precision_of(record)
        if precision is not None and peaks.of(precision) is None:
            peaks.measure(precision, str(record.process["executable"]), stage / "suffice_agent" / "peak.py")
    return peaks


def _kept(
    ledger: Ledger, folder: Path, ended: Ended, peaks: Peaks, *, lost: str | None, record: Path | None
) -> Measured:
    profile = fold(folder, peaks)
    if record is not None:
        shutil.copytree(folder, record, dirs_exist_ok=True)
    if lost is None:
        try:
            ledger.finish(profile)
        except LedgerError as error:
            lost = str(error)
    if lost is None:
        with suppress(OSError):
            shutil.rmtree(folder)
        return Measured(profile=profile, ended=ended, record=None)
    note = Note(level="warning", text=f"this run is not in the ledger: {lost}; its record lies in {folder}")
    values = {f: getattr(profile, f) for f in profile.__dataclass_fields__}
    kept = Profile(**{**values, "notes": (*profile.notes, note)})
    return Measured(profile=kept, ended=ended, record=folder)
