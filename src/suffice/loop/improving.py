"""Improve a training command: find what holds it up, try one change at a time, keep what proved itself."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from suffice.change.catalog import CATALOG, proposals
from suffice.diagnose.ladder import diagnose
from suffice.keep.circumstances import facts_of
from suffice.keep.home import Home, new_run_name, redacted
from suffice.keep.ledger import Ledger
from suffice.keep.plan import Plan, plan_of
from suffice.measure.account.place import Place, find_place
from suffice.measure.machine import this_machine
from suffice.measure.observe import Observer, standard_meters, write_beginning
from suffice.measure.peak import Peaks
from suffice.measure.profile import fold
from suffice.prove.gate import Gate
from suffice.prove.rig import Rig
from suffice.prove.search import TOGETHER, Manner, Terms
from suffice.prove.search import Search as Trials
from suffice.prove.workshop import Workshop
from suffice.records import Change, Figure, Goal, Note, Profile, Search, Target, Trial
from suffice.run.sandbox import choose, scratch_in
from suffice.run.stage import stage_agent

WARM_STEPS, PROFILE_STEPS, FEWEST_STEPS = 3, 40, 8
PROFILE_S = 12.0
COURSE_STEPS, FEWEST_COURSE_STEPS = 20, 4
COURSE_S = 30.0
COMPILE_S = 60.0
"""What compiling a model from nothing usually takes at least on a processor."""
COMPILE_GAIN = 0.3
"""The largest share of a step that compiling has been seen to save on a processor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Improved:
    """What a search found, and its plan."""

    search: Search
    plan: Plan


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


def improve(
    command: Sequence[str],
    goal: Goal,
    home: Home,
    terms: Terms,
    *,
    say: Callable[[str], None] = lambda _: None,
    on_trial: Callable[[Trial], None] = lambda _: None,
) -> Improved:
    """Try changes to the command's job, the lowest rung of the ladder first, and build only on those that held.

    Args:
        command: what the user would have typed.
        goal: where the job runs and what it costs.
        home: where suffice keeps its things.
        terms: what the search may do.
        say: told what is being done.
        on_trial: told each trial.

    Raises:
        CommandError, RigError: if the job can't be started, or makes no step.
        SandboxError: if the user's files can't be kept as they are.
        SearchVoidError: if no change at all seemed to make a difference.
        GoalError: if the goal names something that does not exist.
    """
    ledger = Ledger(home.ledger)
    with _studio(command, goal, home, say) as studio:
        trials: list[Trial] = []
        changes: dict[str, Change] = {}
        notes: list[Note] = []
        say("running the job in a sandbox, to see what holds it up")
        with closing(_rig(studio, studio.folder / "before")) as rig:
            step_s = _look(rig)
            gate = Gate(studio.workshop, steps=_course_steps(step_s), on_wait=lambda: None)
            search = Trials(rig, gate, terms, step_s=step_s, say=say)
            null = search.null()
            before = fold(studio.folder / "before", studio.peaks)
            candidates, refused = candidates_of(before, _earlier_steps(ledger, studio.target), step_s)
            trials.append(null)
            on_trial(null)
            try:
                for trial in _tried(search, candidates, changes):
                    trials.append(trial)
                    on_trial(trial)
            except KeyboardInterrupt:
                notes.append(Note(level="warning", text="interrupted: what was proven until then is kept"))
            kept = search.kept
        after = None if notes or not kept else _after(studio, kept)
        found = Search(
            name=studio.name,
            target=studio.target,
            started=studio.started,
            seconds=time.monotonic() - studio.began_s,
            before=before,
            after=after,
            trials=tuple(trials),
            changes=changes,
            refused=tuple(refused),
            total=_total(trials, kept),
            notes=tuple(notes),
        )
        stays = [change.name for change in kept]
        plan = plan_of(found, facts_of(this_machine(), before), made=studio.started[:10], stays=stays)
        return Improved(search=found, plan=plan)


def _tried(search: Trials, candidates: Sequence[Change], changes: dict[str, Change]) -> Iterator[Trial]:
    manners = {id_: Manner(clock=each.clock, block=each.block, warm_up=each.warm_up) for id_, each in CATALOG.items()}
    for change, trial in search.each(candidates, manners):
        changes[trial.change] = change
        yield trial
    yield from search.together()


@contextmanager
def _studio(command: Sequence[str], goal: Goal, home: Home, say: Callable[[str], None]) -> Iterator[Studio]:
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


def _rig(studio: Studio, record: Path, changes: Sequence[Change] = ()) -> Rig:
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


def _look(rig: Rig) -> float:
    """Let the job make the steps that the diagnosis is made of; the typical seconds of one."""
    rig.run(WARM_STEPS)
    first = rig.run(FEWEST_STEPS)
    step_s = _median(first["wall_s"]) if first else 0.0
    more = min(PROFILE_STEPS, int(PROFILE_S / step_s)) - FEWEST_STEPS if step_s else 0
    if more > 0 and (rest := rig.run(more)) is not None:
        step_s = _median(rest["wall_s"])
    return step_s


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _course_steps(step_s: float) -> int:
    return max(FEWEST_COURSE_STEPS, min(COURSE_STEPS, int(COURSE_S / max(step_s, 1e-6))))


def candidates_of(
    profile: Profile, steps_in_a_run: float | None, step_s: float
) -> tuple[list[Change], list[tuple[str, str]]]:
    """What is worth a trial, in this order: the cures of the findings, the greatest bound first; then the rest.

    Compiling comes last, and only where a run has the steps to earn it back.
    """
    cures = [cure for finding in diagnose(profile).findings for cure in finding.cures if cure in CATALOG]
    ids = list(dict.fromkeys((*cures, *sorted(CATALOG, key=lambda each: CATALOG[each].clock == "processor"))))
    proposed, refused = proposals(profile, ids)
    unpaid = _unpaid_compile(steps_in_a_run, step_s)
    if unpaid is not None and any(change.id == "compile" for change in proposed):
        refused = [*refused, ("compile", unpaid)]
        proposed = [change for change in proposed if change.id != "compile"]
    return sorted(proposed, key=lambda change: change.id == "compile"), refused


def _unpaid_compile(steps: float | None, step_s: float) -> str | None:
    if steps is None:
        return "how many steps a run has is not known: measure a whole run first, then compiling can be weighed"
    most_s = steps * step_s * COMPILE_GAIN
    if most_s >= COMPILE_S:
        return None
    return f"it could save {most_s:.0f} s of a run of {steps:.0f} steps at most, and takes about {COMPILE_S:.0f} s"


def _earlier_steps(ledger: Ledger, target: Target) -> float | None:
    """The steps of the latest finished run of this command."""
    for entry in ledger.entries(limit=100):
        if (entry.command, entry.cwd, entry.state) == (target.command, target.cwd, "finished"):
            profile = ledger.profile(entry.name)
            steps = (
                [rank.figures["steps"].value for rank in profile.ranks if "steps" in rank.figures] if profile else []
            )
            if steps:
                return max(steps)
    return None


def _after(studio: Studio, kept: Sequence[Change]) -> Profile | None:
    studio.say("running the job with what was kept, to see what is left")
    record = studio.folder / "after"
    with closing(_rig(studio, record, kept)) as rig:
        _look(rig)
        rig.leave()
        return fold(record, studio.peaks)


def _total(trials: Iterable[Trial], kept: Sequence[Change]) -> Figure | None:
    """The ratio of all that was kept: of the trial of all together, or of the only one."""
    names = {TOGETHER} if len(kept) > 1 else {change.name for change in kept}
    ratios = [trial.verdict.ratio for trial in trials if trial.kept and trial.change in names]
    return ratios[-1] if ratios else None
