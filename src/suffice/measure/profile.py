"""The folder of a run -> its `Profile`: what the agent told, what the meters read, and what follows from both.

A folder of a run that still goes on, or whose suffice was killed, folds as well: into what was seen until then.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Any

from suffice.agent.phases import NAMES as PHASES
from suffice.agent.steps import PASSED_OVER
from suffice.errors import SufficeError
from suffice.measure.account.bill import Bill, bill_of
from suffice.measure.account.place import Place
from suffice.measure.gpu import gpu_facts, gpu_figures, gpu_series, throttle_notes, used_gpus
from suffice.measure.job import job_figures, job_series
from suffice.measure.machine import Machine
from suffice.measure.meters.recording import Recording, read_recording
from suffice.measure.meters.waits import load_waits
from suffice.measure.peak import Peaks
from suffice.measure.ranks import Fetches, notes_of, precision_of, rank_of, series_of, typical
from suffice.measure.spool.pages import PageBook
from suffice.measure.spool.reader import TRAINING_PHASES, ProcessRecord, SpoolReader
from suffice.measure.why import why_no_steps
from suffice.records import Figure, Goal, Note, Profile, Rank, Series, Target, measured, product
from suffice.run.here import Ended
from suffice.tables import find_region, recognise_processor, world

POINTS = 1_500


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What `observe` wrote before and after a run; `ended` is None while it goes on and when suffice was killed."""

    name: str
    target: Target
    goal: Goal
    machine: Machine
    place: Place
    wall_clock: float
    monotonic_s: float
    ended: Ended | None


def read_run(folder: Path) -> Run:
    """What is known of a run whatever the job did.

    Raises:
        SufficeError: if the folder holds no run.
    """
    try:
        began = json.loads((folder / "run.json").read_text())
        place = began["place"]
        return Run(
            name=began["run"],
            target=Target(command=tuple(began["target"]["command"]), cwd=began["target"]["cwd"]),
            goal=Goal(**began["goal"]),
            machine=Machine.from_json(began["machine"]),
            place=Place(
                region=find_region(place["region"]) if place["region"] else world(),
                known=place["region"] is not None,
                reason=place["reason"],
                instance=place["instance"],
                life_cycle=place["life_cycle"],
            ),
            wall_clock=began["wall_clock"],
            monotonic_s=began["monotonic_s"],
            ended=_read_end(folder / "ended.json"),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SufficeError(f"{folder} holds no run that can be read: {error!r}") from error


def _read_end(path: Path) -> Ended | None:
    try:
        data = json.loads(path.read_text())
        return Ended(**{"signal": None, **{f.name: data[f.name] for f in fields(Ended) if f.name in data}})
    except (OSError, ValueError, TypeError):
        return None


def fold(folder: Path, peaks: Peaks) -> Profile:
    """The profile of the run in that folder.

    Raises:
        SufficeError: if the folder holds no run, or a newer suffice wrote it.
    """
    run = read_run(folder)
    records = SpoolReader(folder).close()
    recording = read_recording(folder / "samples.jsonl")
    ended = run.ended or _end_so_far(run, records, recording)
    pages = PageBook(folder)
    pages.refresh()
    fetches = Fetches(
        totals=pages.totals(), kinds=load_waits(folder / "waits.json"), cores=run.machine.processors_allowed
    )
    loops = sorted((r for r in records if r.steps), key=lambda r: (r.facts.get("rank", 0), r.process.get("at", 0)))
    ranks = tuple(_with_peak(rank_of(r, fetches), r, peaks) for r in loops)
    gpus, notes = used_gpus(recording.samples, on_cuda=any(r.device.startswith("cuda") for r in ranks))
    figures = job_figures(recording.samples, ended)
    for index in gpus:
        figures.update(gpu_figures(recording.samples, index))
        notes += throttle_notes(recording.samples, index)
    bill = bill_of(
        recording.samples,
        gpus,
        run.machine,
        run.place,
        run.goal,
        begun_s=ended.begun_s,
        duration_s=figures["duration_s"].value,
        processor_s=figures["processor_s"].value,
        today=_iso(run.wall_clock)[:10],
    )
    figures.update(bill.figures)
    figures.update(_per_sample(bill, ranks, loops))
    longest = max(loops, key=lambda r: sum(s.training_ns for s in r.steps), default=None)
    return Profile(
        run=run.name,
        target=run.target,
        started=_iso(run.wall_clock),
        ended=_iso(run.wall_clock + ended.ended_s - run.monotonic_s),
        exit_code=ended.exit_code,
        state=_state(run.ended),
        machine=_facts(run, recording),
        figures=figures,
        parts=_parts(longest, ended),
        ranks=ranks,
        series=_series(loops, recording, gpus, bill, ended.begun_s),
        notes=tuple(notes + _notes(records, loops, folder, run, recording) + peaks.notes() + list(bill.notes)),
    )


def _end_so_far(run: Run, records: Sequence[ProcessRecord], recording: Recording) -> Ended:
    """Where a run without an end had got to when it was last heard of."""
    heard_s = [s.end_ns / 1e9 for r in records for s in r.steps[-1:]] + [s["at_s"] for s in recording.samples[-1:]]
    return Ended(
        exit_code=0,
        signal=None,
        begun_s=recording.begun_s or run.monotonic_s,
        ended_s=max(heard_s, default=run.monotonic_s),
        processor_s=0.0,
        peak_memory_bytes=0,
        read_bytes=0,
        written_bytes=0,
        interrupted=False,
    )


def _state(ended: Ended | None) -> str:
    if ended is None:
        return "unfinished"
    if ended.signal is not None or ended.interrupted:
        return "stopped"
    return "finished" if ended.exit_code == 0 else "failed"


def _with_peak(rank: Rank, record: ProcessRecord, peaks: Peaks) -> Rank:
    """The rank with the peak of its precision, if that has been measured, and its share of it."""
    precision = precision_of(record)
    if precision is None:
        return rank
    peak = peaks.of(precision)
    reached = rank.figures.get("flop_per_s")
    figures = dict(rank.figures)
    if peak is not None and reached is not None:
        figures["peak_flop_per_s"] = peak
        figures["share_of_peak"] = measured(reached.value / peak.value, "share", method=f"of {peak.method}")
    values = {f.name: getattr(rank, f.name) for f in fields(rank)}
    return Rank(**{**values, "figures": figures, "facts": {**rank.facts, "precision": precision.precision}})


def _per_sample(bill: Bill, ranks: Sequence[Rank], loops: Sequence[ProcessRecord]) -> dict[str, Figure]:
    """Energy over all samples that were trained on: of the whole run, start-up and evaluation included."""
    samples = sum(s.samples for r in loops for s in r.steps)
    energy = bill.figures.get("energy_j")
    if not samples or energy is None or not ranks:
        return {}
    count = measured(1 / samples, "1/sample")
    how = f"energy of the whole run over {samples} samples trained on"
    return {"energy_per_sample_j": product("J/sample", how, energy, count)}


def _parts(record: ProcessRecord | None, ended: Ended) -> dict[str, Figure]:
    """The run's duration by what the job did; what is not marked by a hook lies before the loop or after it."""
    duration_s = ended.ended_s - ended.begun_s
    if record is None or record.begun_ns is None:
        return {"unseen_s": measured(max(0.0, duration_s), "s", method="no training loop was seen")}
    tail_ns = record.tail_ns or (0,) * len(PHASES)
    marked = [s for s in record.steps if not s.flags & PASSED_OVER]
    sums = {name: sum(s.ns[i] for s in marked) + tail_ns[i] for i, name in enumerate(PHASES)}
    # What was passed over went the way of the steps that were marked.
    passed_ns = sum(s.training_ns for s in record.steps if s.flags & PASSED_OVER)
    like = typical(record.steps)
    like_ns = sum(s.training_ns for s in like) or 1
    for i, name in enumerate(TRAINING_PHASES):
        sums[name] += int(passed_ns * sum(s.ns[i] for s in like) / like_ns)
    loop_end_ns = record.tail_end_ns or record.steps[-1].end_ns
    parts = {"start_up_s": record.begun_ns / 1e9 - ended.begun_s}
    parts |= {f"{name}_s": sums[name] / 1e9 for name in TRAINING_PHASES}
    parts["evaluation_s"] = sum(sums[name] for name in PHASES[len(TRAINING_PHASES) :]) / 1e9
    parts["ending_s"] = ended.ended_s - loop_end_ns / 1e9
    return {name: measured(max(0.0, value), "s") for name, value in parts.items()}


def _facts(run: Run, recording: Recording) -> dict[str, Any]:
    machine = run.machine
    return {
        "hostname": machine.hostname,
        "kernel": machine.kernel,
        "processor": recognise_processor(machine.cpuinfo).name,
        "processor_flags": list(machine.flags),
        "processors": machine.processors,
        "processors_allowed": machine.processors_allowed,
        "memory_gib": round(machine.memory_gib, 2),
        "memory_limit_gib": round(machine.memory_limit_gib, 2),
        "memory_nodes": machine.memory_nodes,
        "gpus": gpu_facts(recording.samples),
        "not_measured": dict(recording.unavailable),
        "region": run.place.region.code if run.place.known else "unknown",
        "instance": run.place.instance or "unknown",
    }


def _series(
    loops: Sequence[ProcessRecord], recording: Recording, gpus: Sequence[int], bill: Bill, begun_s: float
) -> tuple[Series, ...]:
    series = [s for r in loops for s in series_of(r, begun_s)]
    series += job_series(recording.samples, begun_s)
    for index in gpus:
        series += gpu_series(recording.samples, index, begun_s)
    series += bill.series
    return tuple(thinned(s) for s in series)


def thinned(series: Series, points: int = POINTS) -> Series:
    """At most about `points` points: the means of as many neighbours as that takes."""
    size = -(-len(series.values) // points)
    if size <= 1:
        return series
    starts = range(0, len(series.values), size)
    return Series(
        name=series.name,
        unit=series.unit,
        rank=series.rank,
        at_s=tuple(fmean(series.at_s[i : i + size]) for i in starts),
        values=tuple(fmean(series.values[i : i + size]) for i in starts),
    )


def _notes(
    records: Sequence[ProcessRecord], loops: Sequence[ProcessRecord], folder: Path, run: Run, recording: Recording
) -> list[Note]:
    notes = [note for r in records for note in (*notes_of(r), *_of_changes(r))]
    if not loops:
        notes.append(Note(level="warning", text=why_no_steps(records, folder)))
    if run.ended is None:
        notes.append(Note(level="warning", text="this run has no end: it still goes on, or suffice itself was killed"))
    if recording.damaged_lines:
        notes.append(Note(level="warning", text=f"{recording.damaged_lines} samples can't be read: left out"))
    notes += [Note(level="warning", text=f"{key}: {reason}") for key, reason in recording.failures.items()]
    return notes


def _of_changes(record: ProcessRecord) -> Iterator[Note]:
    """What became of the changes of a plan."""
    applied = [name for name, change in record.changes.items() if change.get("applied")]
    if applied:
        yield Note(text=f"changed by the plan: {', '.join(applied)}")
    for name, change in record.changes.items():
        facts = change.get("facts", {})
        if facts.get("given_up"):
            yield Note(level="warning", text=f"{name} was given up on the way: {facts['given_up']}")
        if facts.get("hits") or facts.get("misses"):
            full = ", and its store is full" if facts.get("full") else ""
            yield Note(text=f"{name}: {facts['hits']} results came from the store, {facts['misses']} did not{full}")
        if not change.get("applied", True):
            yield Note(level="warning", text=f"{name} was not applied: {change.get('reason', 'no reason was told')}")


def _iso(wall_clock: float) -> str:
    return dt.datetime.fromtimestamp(wall_clock, tz=dt.UTC).isoformat(timespec="seconds")
