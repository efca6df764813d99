"""Courses of a job without a change, of its twin, and with the change -> what each test finds wrong, as a sentence.

The twin is the job with its first weights changed by a rounding error: how far it strays is the job's own chaos, and a
change that only rounds may stray `TWINS` times as far. Where chaos has tails that one twin does not show (an optimiser
that steps by the sign of a gradient, a maximum that falls on another element) there is a floor.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from suffice.records import Course

TWINS = 10.0
FIRST, SOON = 3, 20
"""Up to these steps losses are compared: at first all that differs is rounding, later what it has led to."""
FIRST_FLOOR, SOON_FLOOR = 1e-5, 1e-3
EPS_SHARE = 0.25
"""A loss is a mean over many roundings, so it differs by a part of the size of one."""
GRADIENT_FLOOR = 1e-3
LEARNT_FLOOR, BUFFER_FLOOR = 5e-2, 1e-3
"""Of parameters after the last step, and of what else the state holds, such as the statistics of a batch norm."""
HALF_BITS = 11
"""Half-precision numbers have so many significant bits at most."""
LOSSES_FOR_PRECISION = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What one test found: its name, and a sentence that says what is wrong with the numbers."""

    test: str
    sentence: str


def changes_of(course: Course) -> str:
    """What was changed, as a sentence names it."""
    return " and ".join(course.changes) or "the change"


def several(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def end(baseline: Course, changed: Course) -> Iterator[Fault]:
    """The change must not end or break the job, nor make the loss a "not a number"."""
    name, ours, theirs = changes_of(changed), len(changed.losses), len(baseline.losses)
    if ours < theirs:
        why = f": {changed.notes[0]}" if changed.notes else ""
        yield Fault(test="end", sentence=f"with {name} the job ended after {ours} steps, without it made {theirs}{why}")
    for step, (mine, other) in enumerate(zip(changed.losses, baseline.losses, strict=False), start=1):
        if math.isfinite(other) and not math.isfinite(mine):
            yield Fault(test="end", sentence=f"with {name} the loss of step {step} is {mine}, without it {other:.6g}")
            return


def inputs(baseline: Course, twin: Course, changed: Course) -> Iterator[Fault]:
    """The model must receive the same; where the twin's inputs differ they depend on the weights, and tell nothing."""
    name = changes_of(changed)
    differ = _differing(baseline.indices, twin.indices, changed.indices)
    if differ:
        yield Fault(test="order", sentence=f"with {name} the samples come in another order from step {differ[0]} on")
    differ = _differing(baseline.inputs, twin.inputs, changed.inputs)
    if differ:
        of = f"{len(differ)} of {len(baseline.inputs)} steps differ"
        yield Fault(
            test="inputs", sentence=f"with {name} the model receives other inputs from step {differ[0]} on ({of})"
        )


def losses(baseline: Course, twin: Course, changed: Course) -> Iterator[Fault]:
    """The losses may differ by rounding, and later by what it led to; `rms` over the steps, so no one step decides."""
    name = changes_of(changed)
    mine, twins = relative_errors(baseline, changed), relative_errors(baseline, twin)
    for test, steps, floor in (("loss", FIRST, FIRST_FLOOR), ("later loss", SOON, SOON_FLOOR)):
        found, twins_found = rms(mine[:steps]), rms(twins[:steps])
        allowed = max(floor, EPS_SHARE * twin.twin_eps, TWINS * twins_found)
        if found > allowed and math.isfinite(found):
            told = f"the loss of steps 1 to {min(steps, len(mine))} differs by a relative {found:.1e} with {name}"
            rounding = f"rounding explains {allowed:.1e} (a rounding of the weights: {twins_found:.1e})"
            yield Fault(test=test, sentence=f"{told}; {rounding}")
            return


def precision(baseline: Course, changed: Course) -> Iterator[Fault]:
    """Losses that all are numbers of half precision were computed in it, and lost what their logarithms need."""
    mine, theirs = _finite(changed.losses), _finite(baseline.losses)
    if len(mine) >= LOSSES_FOR_PRECISION and all(map(_is_half, mine)) and not all(map(_is_half, theirs)):
        told = f"with {changes_of(changed)} every loss has {HALF_BITS} significant bits at most ({mine[0]!r}, …)"
        yield Fault(test="precision", sentence=f"{told}: it is computed in half precision, and must stay in float32")


def gradients(baseline: Course, twin: Course, changed: Course) -> Iterator[Fault]:
    """Each parameter's gradient at step 1: a loss that is right proves nothing of the way back."""
    name, compiled = changes_of(changed), any(each.split(" ")[0] == "compile" for each in changed.changes)
    culprit = "torch.compile" if compiled else name
    zero = [each for each in changed.zero_gradients if each not in twin.zero_gradients]
    if zero:
        error = max((changed.gradient_errors.get(each, 1.0) for each in zero), default=1.0)
        yield Fault(
            test="gradients",
            sentence=f"the {'gradient' if len(zero) == 1 else 'gradients'} of {several(zero)} "
            f"{'is' if len(zero) == 1 else 'are'} zero with {name} (relative error {error:.1f}), "
            f"{_first_loss(baseline, changed)}: {culprit} computes this model's backward pass wrongly; "
            "do not train with it",
        )
        return
    floors = dict.fromkeys(changed.gradient_errors, GRADIENT_FLOOR)
    if worst := _worst(changed.gradient_errors, twin.gradient_errors, floors):
        names, error, allowed = worst
        what = "gradient" if len(names) == 1 else "gradients"
        found = f"with {name} the {what} of {several(names)} {_differ(names, error, 1, allowed, changed)}"
        yield Fault(test="gradients", sentence=f"{found}, {_first_loss(baseline, changed)}")


def state(twin: Course, changed: Course) -> Iterator[Fault]:
    """Parameters and buffers after the last step: what an evaluation would use.

    A buffer is made from what the weights made, so it may stray as far as the weights may and did.
    """
    learnt_errors = [error for each, error in changed.state_errors.items() if each in changed.gradient_errors]
    followed = min(LEARNT_FLOOR, max(learnt_errors, default=0.0))
    buffer_floor = max(BUFFER_FLOOR, followed)
    floors = {each: LEARNT_FLOOR if each in changed.gradient_errors else buffer_floor for each in changed.state_errors}
    if worst := _worst(changed.state_errors, twin.state_errors, floors):
        names, error, allowed = worst
        learnt = names[0] in changed.gradient_errors
        what = "the weights" if learnt else "what the evaluated model keeps besides its weights"
        found = f"{several(names)} {_differ(names, error, len(changed.losses), allowed, changed)}"
        yield Fault(test="state", sentence=f"with {changes_of(changed)} {what} are others: {found}")


def reads(baseline: Course, twin: Course, changed: Course) -> Iterator[Fault]:
    """Samples that are read again must look as they do without the change, where the twin's do."""
    known = {i: list(each) for i, each in baseline.reads.items() if list(twin.reads.get(i, ())) == list(each)}
    differ = [i for i, each in known.items() if i in changed.reads and list(changed.reads[i]) != each]
    if not differ:
        return
    name, found = changes_of(changed), f"{len(differ)} of {len(known)} samples"
    held = [i for i in differ if len(set(changed.reads[i])) < len(set(known[i]))]
    if held:
        told = f"with {name} {len(held)} of {len(known)} samples come out the same when they are read again"
        sentence = f"{told}, without it they are drawn anew: what is random in the data is frozen or lost"
    else:
        sentence = f"with {name} {found} are other data when they are read again"
    yield Fault(test="reads", sentence=sentence)


def starts_alike(baseline: Course, changed: Course) -> bool:
    """Whether the first loss is the same: what goes wrong then comes from the way back, which is told first."""
    first = relative_errors(baseline, changed)[:1]
    return bool(first) and first[0] <= FIRST_FLOOR


def relative_errors(baseline: Course, changed: Course) -> list[float]:
    """|difference| / |loss| of each step that both made; infinity where only one is a number, 0 where neither is."""
    scale = 1e-3 * max(map(abs, _finite(baseline.losses)), default=0.0)
    return [_relative_error(mine, other, scale) for mine, other in zip(changed.losses, baseline.losses, strict=False)]


def rms(errors: Sequence[float]) -> float:
    """The root of the mean of the squares; 0 of none."""
    return math.sqrt(sum(each * each for each in errors) / len(errors)) if errors else 0.0


def _relative_error(mine: float, other: float, scale: float) -> float:
    if math.isfinite(mine) and math.isfinite(other):
        return 0.0 if mine == other else abs(mine - other) / max(abs(other), scale)
    return 0.0 if math.isfinite(mine) == math.isfinite(other) else math.inf


def _finite(values: Sequence[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _differing(baseline: Sequence[str], twin: Sequence[str], changed: Sequence[str]) -> list[int]:
    """The steps, counted from 1, at which both are known and differ although the twin's is the baseline's."""
    steps = enumerate(zip(baseline, twin, changed, strict=False), start=1)
    return [step for step, (plain, again, other) in steps if plain and other and plain == again != other]


def _worst(
    found: Mapping[str, float], twins: Mapping[str, float], floors: Mapping[str, float]
) -> tuple[list[str], float, float] | None:
    """The names whose errors exceed what rounding explains, the worst first, with its error and what is explained.

    One twin may by luck leave a tensor almost alone, so at least the median of its errors is taken.
    """
    finite = _finite(list(twins.values()))
    usual = median(finite) if finite else 0.0
    allowed = {name: max(floors[name], TWINS * max(twins.get(name, 0.0), usual)) for name in found}
    over = sorted((name for name in found if found[name] > allowed[name]), key=lambda name: -found[name])
    return (over, found[over[0]], allowed[over[0]]) if over else None


def _first_loss(baseline: Course, changed: Course) -> str:
    if starts_alike(baseline, changed):
        return "although the first loss is the same"
    first = relative_errors(baseline, changed)[:1]
    return f"and the first loss by {first[0]:.1e}" if first else "and no loss is known"


def _differ(names: Sequence[str], error: float, step: int, allowed: float, changed: Course) -> str:
    """By how much; where tensors can't be compared at all, the recorder has noted why."""
    if math.isinf(error):
        why = "; ".join(changed.notes) or "it has another shape, or is no number"
        return f"can't be compared at step {step} ({why})"
    verb = "differs" if len(names) == 1 else "differ"
    return f"{verb} at step {step} by a relative {error:.1e}, where rounding explains {allowed:.1e}"


def _is_half(value: float) -> bool:
    """Whether a half-precision number, of either kind, is just this."""
    bits = int.from_bytes(struct.pack("<d", value), "little")
    return bits & ((1 << (53 - HALF_BITS)) - 1) == 0
