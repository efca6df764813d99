"""What one training process told -> its `Rank`: the split of a step, rates, losses, operations, loaders.

The split is the mean over the loop's typical steps: without the first one, in which caches and workers start, and
without those whose operations were counted, which that slowed. Steps that the agent passed over to keep its cost down
count for the time of a step, and not for its split.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from suffice.agent.phases import NAMES as PHASES
from suffice.agent.steps import BY_BACKWARD, COUNTED, FORWARD_UNKNOWN, PASSED_OVER
from suffice.measure.loading import limit_of
from suffice.measure.peak import Precision
from suffice.measure.spool.pages import FetchTotals, joined
from suffice.measure.spool.reader import TRAINING_PHASES, ProcessRecord, StepRow
from suffice.records import Figure, Loader, Note, Rank, Series, measured

FEWEST_STEPS = 5
FEWEST_PROCESSOR_S = 1.0
"""The kernel counts processor time in ticks of 0.01 s."""
ENDS = 10
EVALUATION = slice(len(TRAINING_PHASES), len(PHASES))
ALIKE = ("role", "loader", "dataset", "batch_size", "workers", "sampler")
FACTS = (
    "world_size",
    "models",
    "parameters",
    "parameter_dtype",
    "device_name",
    "intra_op_threads",
    "matmul_precision",
    "autocast",
    "backwards_per_step",
    "searches_unused",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetches:
    """What was seen of the loader workers, by owner: (process, loader)."""

    totals: Mapping[tuple[int, int], FetchTotals]
    kinds: Mapping[tuple[int, int], Mapping[str, float]]
    cores: float


def typical(steps: Sequence[StepRow], *, split: bool = True) -> list[StepRow]:
    """The steps that tell what a step takes, and with `split` its parts; where they are too few, all but the first."""
    rest = [s for s in steps[1:] if not s.flags & (COUNTED | PASSED_OVER if split else COUNTED)]
    if len(rest) >= FEWEST_STEPS:
        return rest
    return [s for s in steps[1:] if not s.flags & PASSED_OVER] or list(steps[:1])


def rank_of(record: ProcessRecord, fetches: Fetches) -> Rank:
    """The rank of a process that made at least one step, or began to."""
    facts = {name: record.facts[name] for name in FACTS if record.facts.get(name) is not None}
    facts["optimisers"] = list(dict.fromkeys(str(o["name"]) for o in record.optimisers))
    facts["compiled"] = bool(record.end.get("compiled", record.facts.get("compiled", False)))
    facts["torch"] = record.process.get("torch")
    facts["python"] = record.process.get("python")
    if record.changes:
        facts["changes"] = {
            name: change.get("facts", {}) for name, change in record.changes.items() if change.get("applied")
        }
    steps = typical(record.steps)
    split = _split(record, steps)
    figures = {**_times(record), **_rates(record, steps), **_loss_figures(record), **_memory(record)}
    figures.update(_operations(record, steps))
    return Rank(
        rank=int(record.facts.get("rank", 0)),
        pid=int(record.process.get("pid", 0)),
        device=str(record.facts.get("device", "unknown")),
        figures=figures,
        split=split,
        device_split=_device_split(record),
        loaders=_loaders(record, fetches, split),
        facts=facts,
    )


def _split(record: ProcessRecord, steps: Sequence[StepRow]) -> dict[str, Figure]:
    count = sum(s.count for s in steps)
    if not count:
        return {}
    how = f"mean of {count} steps"
    split = {
        f"{name}_s": measured(sum(s.ns[i] for s in steps) / count / 1e9, "s/step", method=how)
        for i, name in enumerate(TRAINING_PHASES)
    }
    for part in _inseparable(record, steps):
        del split[part]
    return split


def _inseparable(record: ProcessRecord, steps: Sequence[StepRow]) -> list[str]:
    """The parts of which the hooks saw nothing: what they took is within `other`."""
    parts = []
    if not _reads_by_loader(record):
        parts.append("wait_for_data_s")
    if all(s.flags & FORWARD_UNKNOWN for s in steps) or not any(s.ns[PHASES.index("forward")] for s in steps):
        parts.append("forward_s")
    if any(s.flags & BY_BACKWARD for s in steps):
        parts.append("optimiser_s")
    if not any(s.ns[PHASES.index("copy")] for s in steps):
        parts.append("copy_s")
    return parts


def _reads_by_loader(record: ProcessRecord) -> bool:
    return any(each.get("role") == "training" for each in record.loaders.values())


def _times(record: ProcessRecord) -> dict[str, Figure]:
    steps = typical(record.steps, split=False)
    count = sum(s.count for s in steps)
    figures = {"steps": measured(sum(s.count for s in record.steps), "steps")}
    if count:
        middle, low, high = _spread(steps)
        how = f"median of {count}; low and high: 10th and 90th percentile"
        figures["step_s"] = measured(middle, "s", low=low, high=high, method=how)
        figures["mean_step_s"] = measured(_mean_step_s(record), "s", method=f"mean of {count}, without evaluation")
        processor_s = sum(s.processor_ns for s in steps if not sum(s.ns[EVALUATION])) / 1e9
        alone_s = sum(s.training_ns for s in steps if not sum(s.ns[EVALUATION])) / 1e9
        if alone_s > 0:
            figures["processors_busy"] = measured(
                processor_s / alone_s, "processors", method="of this process, training"
            )
    evaluation_ns = sum(sum(s.ns[EVALUATION]) for s in record.steps) + sum(record.tail_ns[EVALUATION])
    figures.update(_kernel_share(record))
    figures["training_s"] = measured(sum(s.training_ns for s in record.steps) / 1e9, "s")
    figures["evaluation_s"] = measured(evaluation_ns / 1e9, "s")
    if record.end.get("own_ns_per_step"):
        how = (
            "what the agent's own marks took in a marked step, mean of the latest; steps are passed over to keep it low"
        )
        figures["agent_s"] = measured(record.end["own_ns_per_step"] / 1e9, "s", method=how)
    return figures


def _mean_step_s(record: ProcessRecord) -> float:
    steps = typical(record.steps, split=False)
    return sum(s.training_ns for s in steps) / max(1, sum(s.count for s in steps)) / 1e9


def _spread(steps: Sequence[StepRow]) -> tuple[float, float, float]:
    """Median, 10th and 90th percentile of the seconds of a step; a row of several counts as often as it has steps."""
    ordered = sorted((s.training_ns / s.count / 1e9, s.count) for s in steps)
    total, seen, cuts = sum(count for _, count in ordered), 0, []
    wanted = [0.1 * total, 0.5 * total, 0.9 * total]
    for seconds, count in ordered:
        seen += count
        while wanted and seen >= wanted[0]:
            cuts.append(seconds)
            wanted.pop(0)
    return cuts[1], cuts[0], cuts[2]


def _rates(record: ProcessRecord, steps: Sequence[StepRow]) -> dict[str, Figure]:
    """Samples and tokens of a marked step over the time of a mean step."""
    step_s, count = _mean_step_s(record), sum(s.count for s in steps)
    if step_s <= 0 or not count:
        return {}
    counted = {"samples": sum(s.samples for s in steps), "tokens": sum(s.tokens for s in steps)}
    how = f"of {count} steps, over the mean step"
    return {f"{name}_per_s": measured(n / count / step_s, f"{name}/s", method=how) for name, n in counted.items() if n}


def _loss_figures(record: ProcessRecord) -> dict[str, Figure]:
    losses = [value for _, value in record.losses if math.isfinite(value)]
    if not losses:
        return {}
    ends = min(ENDS, len(losses))
    how = f"mean of {ends} steps; the sum of the roots of a step's backward passes"
    return {
        "first_loss": measured(fmean(losses[:ends]), "loss", method=how),
        "last_loss": measured(fmean(losses[-ends:]), "loss", method=how),
    }


def _kernel_share(record: ProcessRecord) -> dict[str, Figure]:
    first, last = record.facts.get("processor_times"), record.end.get("processor_times")
    if first is None or last is None:
        return {}
    user_s, kernel_s = (after - before for before, after in zip(first, last, strict=True))
    if user_s + kernel_s < FEWEST_PROCESSOR_S:
        return {}
    how = "of this process from its first step to its end"
    return {"kernel_share": measured(kernel_s / (user_s + kernel_s), "share", method=how)}


def _memory(record: ProcessRecord) -> dict[str, Figure]:
    names = {"gpu_memory_peak_bytes": "allocated by tensors", "gpu_memory_reserved_bytes": "reserved by torch"}
    return {n: measured(record.end[n], "B", method=how) for n, how in names.items() if record.end.get(n)}


def _operations(record: ProcessRecord, steps: Sequence[StepRow]) -> dict[str, Figure]:
    """Operations of a step, by sample where samples are known, and the rate at which the typical steps did them."""
    counted = [f for f in record.flops if f.get("by_dtype")]
    count = sum(s.count for s in steps)
    step_s = _mean_step_s(record)
    if not counted or not count or step_s <= 0:
        return {}
    operations = sum(sum(f["by_dtype"].values()) for f in counted)
    samples = sum(f["samples"] for f in counted)
    seen = sum(s.samples for s in steps)
    per_step = operations / samples * seen / count if samples and seen else operations / len(counted)
    how = f"matrix products and convolutions, counted in {len(counted)} steps and scaled by samples"
    return {
        "flop_per_step": measured(per_step, "FLOP", method=how),
        "flop_per_s": measured(per_step / step_s, "FLOP/s", method=f"{how}, over the mean step"),
    }


def precision_of(record: ProcessRecord) -> Precision | None:
    """The precision of most of the operations that were counted, and where they were done."""
    sums: dict[str, int] = {}
    for counted in record.flops:
        for name, operations in counted.get("by_dtype", {}).items():
            sums[str(name)] = sums.get(str(name), 0) + int(operations)
    if not sums:
        return None
    facts = record.facts
    return Precision(
        device=str(facts.get("device", "cpu")),
        device_name=str(facts.get("device_name") or "this processor"),
        precision=max(sums, key=sums.__getitem__),
        threads=int(facts.get("intra_op_threads", 1)),
        matmul_precision=str(facts.get("matmul_precision", "highest")),
        torch=str(record.process.get("torch", "")),
    )


def _device_split(record: ProcessRecord) -> dict[str, Figure]:
    """The split on the GPU's own stream; the first recorded step is left out."""
    counted = {s.last for s in record.steps if s.flags & COUNTED}
    rows = [ns for step, ns in record.device[1:] if step not in counted] or [ns for _, ns in record.device]
    if not rows:
        return {}
    how = f"mean of {len(rows)} steps, between events on the job's stream"
    return {
        f"{name}_s": measured(fmean(ns[i] for ns in rows) / 1e9, "s/step", method=how)
        for i, name in enumerate(TRAINING_PHASES)
    }


def _loaders(record: ProcessRecord, fetches: Fetches, split: Mapping[str, Figure]) -> tuple[Loader, ...]:
    pid = int(record.process.get("pid", 0))
    step_s = sum(f.value for f in split.values())
    wait = split.get("wait_for_data_s")
    wait_share = wait.value / step_s if wait and step_s else None
    alike: dict[tuple[Any, ...], list[int]] = {}
    for number, told in sorted(record.loaders.items()):
        if told.get("fetches"):
            alike.setdefault(tuple(told.get(name) for name in ALIKE), []).append(number)
    return tuple(_loader(record, pid, numbers, fetches, wait_share) for numbers in alike.values())


def _loader(
    record: ProcessRecord, pid: int, numbers: Sequence[int], fetches: Fetches, wait_share: float | None
) -> Loader:
    """One loader, or several that are alike in all that is told: many jobs make a new one each epoch."""
    told = [record.loaders[number] for number in numbers]
    first = told[0]
    kinds: Counter[str] = Counter()
    for number in numbers:
        kinds.update(fetches.kinds.get((pid, number), {}))
    limit = limit_of(
        joined([fetches.totals[pid, number] for number in numbers if (pid, number) in fetches.totals]),
        kinds,
        wait_share=wait_share if first.get("role") == "training" else None,
        cores=fetches.cores,
    )
    figures = dict(limit.figures)
    count = sum(int(each["fetches"]) - 1 for each in told)
    if count > 0:
        waited_s = sum(each["wait_ns"] - each["first_wait_ns"] for each in told) / 1e9
        figures["wait_s"] = measured(waited_s / count, "s/batch", method="mean, the first batch left out")
    figures["first_wait_s"] = measured(first["first_wait_ns"] / 1e9, "s", method="the first batch of all")
    return Loader(
        name=f"{first.get('loader', 'DataLoader')} {numbers[0]}",
        role=str(first.get("role", "unknown")),
        dataset=str(first.get("dataset", "unknown")),
        batch_size=first.get("batch_size"),
        workers=int(first.get("workers", 0)),
        figures=figures,
        limited_by=limit.limited_by,
        reason=limit.reason,
    )


def series_of(record: ProcessRecord, begun_s: float) -> list[Series]:
    """Step time, its parts and the loss over the run; `begun_s` is the run's start on the monotonic clock."""
    rank = int(record.facts.get("rank", 0))
    steps = record.steps
    at_s = tuple(s.end_ns / 1e9 - begun_s for s in steps)
    series = [Series(name="step_s", unit="s", at_s=at_s, values=_each(steps, None), rank=rank)] if steps else []
    marked = [s for s in steps if not s.flags & PASSED_OVER]
    at_s = tuple(s.end_ns / 1e9 - begun_s for s in marked)
    for i, name in enumerate(PHASES):
        values = _each(marked, i)
        if any(values):
            series.append(Series(name=f"{name}_s", unit="s", at_s=at_s, values=values, rank=rank))
    ends = {s.last: s.end_ns / 1e9 - begun_s for s in steps}
    losses = [(ends[step], value) for step, value in record.losses if step in ends and math.isfinite(value)]
    if losses:
        times, values = zip(*losses, strict=True)
        series.append(Series(name="loss", unit="loss", at_s=times, values=values, rank=rank))
    return series


def _each(steps: Sequence[StepRow], phase: int | None) -> tuple[float, ...]:
    return tuple((s.training_ns if phase is None else s.ns[phase]) / s.count / 1e9 for s in steps)


def notes_of(record: ProcessRecord) -> list[Note]:
    """What a reader must know to trust the figures of this process."""
    who = f"process {record.process.get('pid', '?')}"
    notes = []
    if record.fault:
        last_line = str(record.fault.get("trace", "")).strip().splitlines()[-1:]
        notes.append(
            Note(
                level="warning",
                text=f"the agent stood aside in {who} after a fault of its own in {record.fault.get('where')}: "
                f"{''.join(last_line)}; what came later is not measured, the job was not touched",
            )
        )
    if record.newer:
        notes.append(Note(level="warning", text=f"{who} wrote a record of a newer suffice, which was left out"))
    if record.damaged_lines:
        notes.append(
            Note(level="warning", text=f"{record.damaged_lines} lines of the record of {who} can't be read: left out")
        )
    if record.unrecorded_fetch:
        notes.append(
            Note(level="warning", text=f"the loader's workers left no record in {who}: {record.unrecorded_fetch}")
        )
    notes.extend(Note(text=text) for text in _inseparable_notes(record))
    if any(not math.isfinite(value) for _, value in record.losses):
        first = next(step for step, value in record.losses if not math.isfinite(value))
        notes.append(Note(level="warning", text=f"the loss of {who} was not finite from step {first} on"))
    return notes


def _inseparable_notes(record: ProcessRecord) -> list[str]:
    steps = typical(record.steps)
    if not steps:
        return []
    parts, notes = _inseparable(record, steps), []
    if "wait_for_data_s" in parts:
        why = "another thread reads the loader" if record.end.get("reading_elsewhere") else "no DataLoader is read"
        notes.append(f"data: not separable, {why}; what it takes is within `other`")
    if "forward_s" in parts:
        notes.append("forward: not separable, no module was seen to be called; what it takes is within `other`")
    if "optimiser_s" in parts:
        notes.append("optimiser: not separable, no torch optimiser was called; steps end with backward")
    return notes
