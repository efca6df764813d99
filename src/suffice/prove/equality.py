"""Courses of a job -> a `Judgement`: whether a change leaves the training what it was, as its risk demands.

`exact`: bitwise equal, where the job itself is. `numeric`: it differs by no more than rounding does. `stochastic`:
other draws of the same distribution. A lower loss is another training as well: all tests have two sides. Of a
`semantic` change no more can be told than that it trains; the rest is for whole runs and the user's metric.

A course is made by `agent/rig/course`: of 20 steps and more for `judge_exact` and `judge_numeric`, of 150 for
`judge_long`. The twin's `twin_eps` is the size of the change's rounding: see `TWIN_EPS`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean, stdev

from suffice.prove import draws, faults
from suffice.prove.criteria import runs_for
from suffice.prove.faults import Fault, changes_of, rms
from suffice.prove.statistics import student_quantile
from suffice.records import Course, Judgement

TWIN_EPS = {"float32": 2.0**-23, "tensorfloat32": 2.0**-11, "float16": 2.0**-11, "bfloat16": 2.0**-9}
"""The weights of a twin are changed by so much of themselves, for a change that computes in this type."""
MARGIN = 0.03
"""The difference of the last half's loss that does not matter."""
LEAST_DIFFERENCE = 0.01
"""A difference this small is no fault, however sure it is."""
MOST_SPREAD = 3.0
"""Where courses scatter by more than so many margins, no number of seeds is worth naming."""
SURE, USUAL = 0.01, 0.05
"""How often a difference is found where there is none; how often an interval misses the truth."""


def judge_exact(baseline: Course, again: Course, changed: Course) -> Judgement:
    """Whether losses, inputs, gradients and state are bitwise equal.

    Args:
        baseline: A course without the change.
        again: Another one: where it differs, the job can't be repeated, and the change is judged like one that rounds.
        changed: The course with the change; all have the same seed.
    """
    differs = next(exact_faults(baseline, again), None)
    if differs is not None:
        numeric = judge_numeric(baseline, again, changed)
        told = "this job can't be repeated bitwise (two runs without any change differ), so rounding is allowed for"
        return replace(numeric, reason=f"{told}: {numeric.reason}")
    equal = f"bitwise equal over {len(changed.losses)} steps: {_compared(changed)}"
    return _judgement(baseline, changed, list(exact_faults(baseline, changed)), equal)


def judge_numeric(baseline: Course, twin: Course, changed: Course) -> Judgement:
    """Whether all that differs is rounding.

    Args:
        baseline: A course without the change.
        twin: One without the change whose first weights were rounded (`TWIN_EPS`).
        changed: The course with the change; all have the same seed.
    """
    first, soon = (rms(faults.relative_errors(baseline, changed)[:n]) for n in (faults.FIRST, faults.SOON))
    worst = max(changed.gradient_errors.values(), default=0.0)
    told = f"losses within {first:.1e} at first and {soon:.1e} later, gradients within {worst:.1e}"
    alike = f"the same but for rounding over {len(changed.losses)} steps ({told}): {_compared(changed)}"
    return _judgement(baseline, changed, list(numeric_faults(baseline, twin, changed)), alike)


def judge_long(
    pairs: Sequence[tuple[Course, Course]],
    *,
    twins: Sequence[tuple[Course, Course]] = (),
    margin: float = MARGIN,
) -> Judgement:
    """Whether the loss of the last half is the same, over pairs of courses of one seed each.

    Args:
        pairs: (without the change, with it).
        twins: (without the change, twin), where the job's own chaos may be larger than the margin.
        margin: The relative difference that does not matter.
    """
    if not pairs:
        return Judgement(met=None, reason="no courses were made whose last half could be compared")
    chaos = rms([_difference(plain, twin) for plain, twin in twins])
    for plain, changed in pairs:
        if broken := next(faults.end(plain, changed), None):
            return Judgement(met=False, reason=broken.sentence)
    differences = [_difference(plain, changed) for plain, changed in pairs]
    return _two_sided(changes_of(pairs[0][1]), differences, max(margin, 2 * chaos))


def judge_stochastic(baselines: Sequence[Course], changed: Sequence[Course], *, margin: float = MARGIN) -> Judgement:
    """Whether other draws were made of the same distribution: nothing frozen, lost or left out, and the same loss.

    Courses of one seed share what the change leaves alone: the first weights, and the order of the samples. Other draws
    move the loss about as much as another seed does, so twice what seeds do is allowed for, where that is more than the
    margin. What stays below it must be found by the other tests.

    Args:
        baselines: Courses without the change, of several seeds.
        changed: Courses with it, of the same seeds.
        margin: The relative difference of the last half's loss that does not matter.
    """
    plain = {course.seed: course for course in baselines}
    pairs = [(plain[course.seed], course) for course in changed if course.seed in plain]
    if not pairs:
        return Judgement(met=None, reason="no two courses have the same seed, so none can be compared")
    found = list(stochastic_faults(pairs))
    if found:
        return _refused(found)
    if missing := next(filter(None, (draws.not_shown(*pair) for pair in pairs)), None):
        return Judgement(met=None, reason=missing)
    levels = [math.log(level) for course in baselines if (level := _level(course)) > 0]
    seeds = stdev(levels) if len(levels) > 1 else 0.0
    long = judge_long(pairs, margin=max(margin, 2 * seeds))
    told = f"the order of the samples is the same, and {draws.redrawn(changed)} of them are drawn anew when read again"
    return replace(long, reason=f"{told}; {long.reason}") if long.met else long


def judge_semantic(baseline: Course, changed: Course) -> Judgement:
    """Whether the other training trains at all, with losses that are numbers; it may make fewer steps of its data."""
    if not changed.losses:
        return Judgement(met=False, reason=f"the job made no step with {changes_of(changed)}")
    known = [loss for loss in baseline.losses if math.isfinite(loss)]
    broken = next((step for step, loss in enumerate(changed.losses, start=1) if not math.isfinite(loss)), None)
    if known and broken is not None:
        return Judgement(met=False, reason=f"with {changes_of(changed)} the loss of step {broken} is no number")
    return Judgement(met=True, reason="another training, which whole runs must show to be as good")


def exact_faults(baseline: Course, changed: Course) -> Iterator[Fault]:
    """What is not bitwise equal, test by test."""
    yield from faults.end(baseline, changed)
    yield from faults.inputs(baseline, baseline, changed)
    large = list(faults.gradients(baseline, baseline, changed))
    losses, gradients = _other_losses(baseline, changed), large or _not_bitwise("gradients", changed)
    for found in (gradients, losses) if faults.starts_alike(baseline, changed) else (losses, gradients):
        yield from found
    large = list(faults.state(baseline, changed))
    yield from large or _not_bitwise("state", changed)
    yield from faults.reads(baseline, baseline, changed)


def numeric_faults(baseline: Course, twin: Course, changed: Course) -> Iterator[Fault]:
    """What differs by more than rounding, test by test."""
    yield from faults.end(baseline, changed)
    yield from faults.inputs(baseline, twin, changed)
    yield from faults.precision(baseline, changed)
    losses, gradients = faults.losses(baseline, twin, changed), faults.gradients(baseline, twin, changed)
    for found in (gradients, losses) if faults.starts_alike(baseline, changed) else (losses, gradients):
        yield from found
    yield from faults.state(twin, changed)
    yield from faults.reads(baseline, twin, changed)


def stochastic_faults(pairs: Sequence[tuple[Course, Course]]) -> Iterator[Fault]:
    """What other draws of the same distribution don't explain, test by test; the losses are compared elsewhere."""
    for plain, changed in pairs:
        yield from faults.end(plain, changed)
        yield from draws.order(plain, changed)
    yield from draws.repeated_inputs(pairs)
    yield from draws.frozen(pairs)


def _other_losses(baseline: Course, changed: Course) -> Iterator[Fault]:
    for step, (mine, other) in enumerate(zip(changed.losses, baseline.losses, strict=False), start=1):
        if mine != other and not (math.isnan(mine) and math.isnan(other)):
            told = f"the loss of step {step} is {mine!r} with {changes_of(changed)} and {other!r} without it"
            yield Fault(test="loss", sentence=f"{told}: not bitwise equal")
            return


def _not_bitwise(test: str, changed: Course) -> Iterator[Fault]:
    errors = changed.gradient_errors if test == "gradients" else changed.state_errors
    if wrong := sorted((each for each in errors if errors[each] > 0), key=lambda each: -errors[each]):
        what = f"the gradient of {faults.several(wrong)}" if test == "gradients" else faults.several(wrong)
        step = 1 if test == "gradients" else len(changed.losses)
        differs = f"differs at step {step} by a relative {errors[wrong[0]]:.1e} with {changes_of(changed)}"
        yield Fault(test=test, sentence=f"{what} {differs}: not bitwise equal")


def _judgement(baseline: Course, changed: Course, found: Sequence[Fault], alike: str) -> Judgement:
    if found:
        return _refused(found)
    if missing := _not_compared(baseline, changed):
        return Judgement(met=None, reason=missing)
    return Judgement(met=True, reason=alike)


def _refused(found: Sequence[Fault]) -> Judgement:
    """The first fault tells most; of the others only the names are told."""
    others = list(dict.fromkeys(fault.test for fault in found[1:] if fault.test != found[0].test))
    also = f" (also wrong: {', '.join(others)})" if others else ""
    return Judgement(met=False, reason=found[0].sentence + also)


def _not_compared(baseline: Course, changed: Course) -> str | None:
    """What must be known before a change is held to be harmless, and is not."""
    name, notes = changes_of(changed), "".join(f"; {note}" for note in changed.notes[:2])
    if not changed.losses:
        return f"the job made no step with {name}{notes}"
    if not changed.gradient_errors or not changed.state_errors:
        return f"gradients and state could not be compared with {name}, and losses alone prove nothing{notes}"
    if baseline.reads and not changed.reads:
        return f"with {name} no sample could be read again, to see whether it is still what it was{notes}"
    return None


def _compared(changed: Course) -> str:
    """How many of each were compared."""
    parts = {
        "losses": sum(map(math.isfinite, changed.losses)),
        "inputs": sum(map(bool, changed.inputs)),
        "gradients": len(changed.gradient_errors),
        "tensors of the state": len(changed.state_errors),
        "samples read again": len(changed.reads),
    }
    return ", ".join(f"{count} {what}" for what, count in parts.items() if count)


def _difference(plain: Course, changed: Course) -> float:
    """The logarithm of the ratio of the last halves' mean losses; of losses below 0 their relative difference.

    Courses of different lengths are compared as far as both go.
    """
    steps = min(len(plain.losses), len(changed.losses))
    before, after = _level(plain, steps), _level(changed, steps)
    if before > 0 and after > 0:
        return math.log(after / before)
    return (after - before) / abs(before) if before else math.copysign(math.inf, after)


def _level(course: Course, steps: int | None = None) -> float:
    """The mean loss of the last half."""
    losses = course.losses[:steps]
    known = [loss for loss in losses[len(losses) // 2 :] if not math.isnan(loss)]
    return fmean(known) if known else math.nan


def _two_sided(name: str, differences: Sequence[float], margin: float) -> Judgement:
    """Whether logarithms of ratios have a mean within the margin."""
    runs = len(differences)
    if not all(map(math.isfinite, differences)):
        return Judgement(met=None, reason=f"the losses with {name} and without it can't be compared: one is no number")
    if runs < 2:
        return Judgement(met=None, reason="one pair of courses shows no difference of losses; two are needed at least")
    mean, spread = fmean(differences), stdev(differences)
    error = spread / math.sqrt(runs)
    half = student_quantile(1 - USUAL / 2, runs - 1) * error
    low, high = mean - half, mean + half
    found = f"with {name} the last half's loss differs by {mean:+.2%} ({low:+.2%} to {high:+.2%}, {runs} paired seeds)"
    sure = abs(mean) > student_quantile(1 - SURE / 2, runs - 1) * error and abs(mean) > LEAST_DIFFERENCE
    if sure or low > margin or high < -margin:
        better = "; a lower loss is another training as well" if mean < 0 else ""
        return Judgement(met=False, reason=f"{found}: more than chance explains{better}")
    if -margin <= low and high <= margin:
        return Judgement(met=True, reason=f"{found}: within {margin:.1%}")
    few = spread < MOST_SPREAD * margin
    needed = f"{runs_for(margin, spread)} seeds usually show it" if few else "its noise would take too many seeds"
    return Judgement(met=None, reason=f"{found}: not shown to be within {margin:.1%}; {needed}")
