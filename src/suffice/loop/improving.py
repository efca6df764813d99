"""Improve a training command: find what holds it up, try one change at a time, keep what proved itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from suffice.change.catalog import CATALOG, parted
from suffice.keep.circumstances import facts_of
from suffice.keep.home import Home
from suffice.keep.ledger import Ledger
from suffice.keep.plan import Plan, plan_of
from suffice.keep.plan_text import write
from suffice.keep.report.saving import HOUR_S, takes
from suffice.loop.candidates import Candidates, candidates_of, earlier_run, steps_of, untried
from suffice.loop.diary import Diary, open_diary
from suffice.loop.studio import Studio, hand_over, look_at, open_rig, open_studio
from suffice.measure.machine import this_machine
from suffice.measure.profile import fold
from suffice.prove.criteria import Floor, Limit, non_inferiority
from suffice.prove.full import FullPair, Metric, PlanFailsError, full_pairs
from suffice.prove.gate import Gate
from suffice.prove.processes.trials import ProcessTrials
from suffice.prove.search import TOGETHER, Manner, Terms
from suffice.prove.search import Search as Trials
from suffice.records import Change, Figure, Goal, Judgement, Note, Profile, Risk, Search, Trial, product

COURSE_STEPS, FEWEST_COURSE_STEPS = 20, 4
COURSE_S = 30.0
RUNS, LEAST_S, USUAL_S = 2.0, 120.0, 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class FullProof:
    """Whole runs with the plan and without, over so many seeds: the metric may lose less than `margin`."""

    metric: Metric
    margin: float
    seeds: int
    floor: Floor | None = None
    resolution: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Improved:
    """What a search found, and its plan."""

    search: Search
    plan: Plan


def improve(
    command: Sequence[str],
    goal: Goal,
    home: Home,
    terms: Terms,
    *,
    full: FullProof | None = None,
    say: Callable[[str], None] = lambda _: None,
    on_trial: Callable[[Trial], None] = lambda _: None,
) -> Improved:
    """Try changes to the command's job, the lowest rung of the ladder first, and build only on those that held.

    Args:
        command: what the user would have typed.
        goal: where the job runs and what it costs.
        home: where suffice keeps its things.
        terms: what the search may do.
        full: how whole runs are compared at the end, if they are.
        say: told what is being done.
        on_trial: told each trial.

    Raises:
        CommandError, RigError: if the job can't be started, or makes no step.
        SandboxError: if the user's files can't be kept as they are.
        SearchVoidError: if no change at all seemed to make a difference.
        GoalError: if the goal names something that does not exist.
    """
    ledger = Ledger(home.ledger)
    with open_studio(command, goal, home, say) as studio:
        earlier = earlier_run(ledger, studio.target)
        terms = replace(terms, seconds=terms.seconds or _usual_s(earlier), whole_runs=full is not None)
        diary = open_diary(ledger, studio, terms, on_trial)
        tried = _try_changes(studio, diary, terms, earlier)
        kept, evidence = _what_stays(studio, diary, tried.kept, full)
        after = _after(studio, kept) if kept and not diary.broken_off else None
        found = _record(studio, diary, tried, kept=kept, after=after, whole_run=earlier)
        found = replace(found, notes=(*found.notes, *_of_goal(goal, found, full)))
        machine = facts_of(this_machine(), found.before)
        plan = plan_of(found, machine, made=studio.started[:10], stays=found.stays, evidence=evidence)
        found = replace(found, plan=write(plan))
        diary.close(found)
        if kept:
            hand_over(studio, home)
        return Improved(search=found, plan=plan)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """The job before, what was kept in its trials, and what was not worth one."""

    before: Profile
    kept: list[Change]
    refused: tuple[tuple[str, str], ...]


def _try_changes(studio: Studio, diary: Diary, terms: Terms, earlier: Profile | None) -> Tried:
    """Look at the live job, and try what may cure it; Ctrl-C ends that, and what was proven stays."""
    studio.say("running the job in a sandbox, to see what holds it up")
    record = studio.folder / "before"
    with closing(open_rig(studio, record)) as rig:
        step_s = look_at(rig)
        looked_s = time.monotonic() - studio.began_s  # once more is needed at the end
        terms = replace(terms, seconds=max(terms.seconds / 2, terms.seconds - 2 * looked_s))
        gate = Gate(studio.workshop, steps=_course_steps(step_s))
        search = Trials(rig, gate, terms, step_s=step_s, say=studio.say)
        diary.add(search.null(), None)
        before = fold(record, studio.peaks)
        found = candidates_of(before, steps_of(earlier), step_s)
        kept, kept_apart = parted(diary.kept)
        search.resume(kept)
        own = ProcessTrials(search, studio.workshop, kept_apart)
        try:
            undecided = [each for each in found.now if each.name not in diary.decided]
            for change, trial in search.each(undecided, MANNERS, found.findings, found.once_cured):
                diary.add(trial, change)
            for trial in search.together():
                diary.add(trial, None)
            for change, trial in own.each(_own_process(found, diary, terms), MANNERS):
                diary.add(trial, change)
        except KeyboardInterrupt:
            diary.interrupted()
        refused = untried(found.refused, diary.changes.values())
        return Tried(before=before, kept=[*search.kept, *own.kept], refused=refused)


def _own_process(found: Candidates, diary: Diary, terms: Terms) -> list[Change]:
    """What is still to be tried in processes of its own, as far as the number of trials reaches."""
    left = None if terms.trials is None else max(0, terms.trials - len(found.now))
    return [each for each in found.in_own_process if each.name not in diary.decided][:left]


def _record(
    studio: Studio,
    diary: Diary,
    tried: Tried,
    *,
    kept: Sequence[Change],
    after: Profile | None,
    whole_run: Profile | None,
) -> Search:
    return Search(
        name=diary.name,
        target=studio.target,
        started=studio.started,
        seconds=time.monotonic() - studio.began_s,
        before=tried.before,
        after=after,
        trials=tuple(diary.trials),
        changes=diary.changes,
        refused=tried.refused,
        total=_total(diary.trials, kept, whole=len(kept) == len(tried.kept)),
        notes=tuple(diary.notes),
        stays=tuple(change.name for change in kept),
        whole_run=whole_run,
    )


def _usual_s(run: Profile | None) -> float:
    """A search may take twice as long as a run of the job, as far as that is known."""
    return max(LEAST_S, RUNS * run.figures["duration_s"].value) if run else USUAL_S


def _evidence(trials: Iterable[Trial], kept: Sequence[Change]) -> list[str]:
    """What was found of the numbers of all changes together."""
    return [trial.verdict.reason for trial in trials if trial.change == TOGETHER and trial.kept and kept]


MANNERS = {id_: Manner(clock=each.clock, block=each.block, warm_up=each.warm_up) for id_, each in CATALOG.items()}


def _what_stays(
    studio: Studio, diary: Diary, kept: Sequence[Change], full: FullProof | None
) -> tuple[list[Change], list[str]]:
    """Of what its trials kept, and what was found of the numbers of all together."""
    evidence = _evidence(diary.trials, kept)
    if full is None or not kept or diary.broken_off:
        return _same_training(diary, kept), evidence
    stays, judgement = _whole_runs(studio, kept, full)
    if not stays:
        diary.note(f"nothing is kept: {judgement.reason}")
    return stays, [*evidence, judgement.reason]


def _whole_runs(studio: Studio, kept: Sequence[Change], full: FullProof) -> tuple[list[Change], Judgement]:
    """What stays of the plan: where the metric is not shown to hold, only what alters no number; nothing that fails."""
    pairs: list[FullPair] = []
    try:
        for pair in full_pairs(studio.workshop, kept, full.metric, seeds=full.seeds):
            pairs.append(pair)
            told = f"{pair.plain:g} without, {pair.changed:g} with the plan"
            studio.say(f"whole run {len(pairs)} of {full.seeds}: {told}")
    except PlanFailsError as failure:
        studio.say(str(failure))
        return [], Judgement(met=False, reason=str(failure))
    judgement = non_inferiority(
        [pair.plain for pair in pairs],
        [pair.changed for pair in pairs],
        margin=full.margin,
        resolution=full.resolution,
        higher_is_better=full.metric.higher_is_better,
    ).judgement
    if full.floor is not None and judgement.met is not False:
        worst = (min if full.metric.higher_is_better else max)(pair.changed for pair in pairs)
        reached = full.floor.judge(worst)
        judgement = Judgement(met=judgement.met and reached.met, reason=f"{judgement.reason}; {reached.reason}")
    judgement = _no_slower(pairs, judgement) if any(each.risk is Risk.SEMANTIC for each in kept) else judgement
    studio.say(judgement.reason)
    if judgement.met:
        return list(kept), judgement
    return [change for change in kept if change.risk is Risk.EXACT], judgement


def _of_goal(goal: Goal, found: Search, full: FullProof | None) -> Iterator[Note]:
    """Whether a run with the plan keeps the deadline and the budget; and what of the goal was not looked at."""
    a_run = takes(found)
    limits = [
        (goal.deadline_h and Limit(name="deadline", at_most=goal.deadline_h * HOUR_S, unit="s"), "duration_s"),
        (goal.budget_usd and Limit(name="budget", at_most=goal.budget_usd, unit="USD"), "cost_usd"),
    ]
    for limit, name in limits:
        if limit:
            judgement = limit.judge(a_run.get(name))
            told = {True: "kept", False: "missed", None: "not decided"}[judgement.met]
            yield Note(level="info" if judgement.met else "warning", text=f"{judgement.reason}: {told}")
    if goal.floor is not None and full is None:
        yield Note(level="warning", text=f"the floor of {goal.metric} was not tried: --prove full makes whole runs")


def _no_slower(pairs: Sequence[FullPair], judgement: Judgement) -> Judgement:
    """Another training may make other steps than the plain job, so that only whole runs tell what it saves."""
    plain_s, changed_s = sum(pair.plain_s for pair in pairs), sum(pair.changed_s for pair in pairs)
    told = f"whole runs took {changed_s:.0f} s with the plan and {plain_s:.0f} s without"
    if judgement.met and changed_s >= plain_s:
        return Judgement(met=False, reason=f"{told}: another training that saves no time is not kept")
    return replace(judgement, reason=f"{judgement.reason}; {told}")


def _same_training(diary: Diary, kept: Sequence[Change]) -> list[Change]:
    """What stays without whole runs: another training does not."""
    dropped = [change.name for change in kept if change.risk is Risk.SEMANTIC]
    if dropped:
        diary.note(f"not kept, since no whole runs have shown the metric to hold: {', '.join(dropped)}")
    return [change for change in kept if change.risk is not Risk.SEMANTIC]


def _course_steps(step_s: float) -> int:
    return max(FEWEST_COURSE_STEPS, min(COURSE_STEPS, int(COURSE_S / max(step_s, 1e-6))))


def _after(studio: Studio, kept: Sequence[Change]) -> Profile | None:
    studio.say("running the job with what was kept, to see what is left")
    record = studio.folder / "after"
    with closing(open_rig(studio, record, kept)) as rig:
        look_at(rig)
        rig.leave()
        return fold(record, studio.peaks)


def _total(trials: Sequence[Trial], kept: Sequence[Change], *, whole: bool) -> Figure | None:
    """The ratio of all that was kept: of the trial of all together (`whole`), else of each on top of those before."""
    proven = {trial.change: trial.verdict.ratio for trial in trials if trial.kept}
    switched, own = parted(kept)
    if whole and len(switched) > 1 and proven.get(TOGETHER):
        names = [TOGETHER, *(change.name for change in own)]
    else:
        names = [change.name for change in kept]
    ratios = [ratio for name in names if (ratio := proven.get(name))]
    if not ratios or len(ratios) < len(names):
        return None
    return ratios[0] if len(ratios) == 1 else product("x", "each change on top of those before it", *ratios)
