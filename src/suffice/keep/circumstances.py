"""A machine and a run -> the facts that a proof rests on; a plan and such facts -> why its proof may not hold here."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from math import isclose

from suffice.keep.home import redacted
from suffice.keep.plan import MachineFacts, Plan
from suffice.keep.report.numbers import digits
from suffice.measure.machine import Machine
from suffice.records import Profile
from suffice.tables import processor_fields, recognise_processor

LOAD_APART = 0.25
"""Of the processors: so much more or less load than when it was proven is another machine, as far as time goes."""


def facts_of(machine: Machine, profile: Profile | None = None) -> MachineFacts:
    """What a proof that was made in that run rests on; without a run, what the machine alone tells."""
    ranks = profile.ranks if profile else ()
    facts = ranks[0].facts if ranks else {}
    others = profile.figures.get("processors_used_by_others") if profile else None
    gpus = profile.machine.get("gpus") if profile else None
    threads = facts.get("intra_op_threads")
    return MachineFacts(
        processor=_processor(machine.cpuinfo),
        flags=machine.flags,
        gpus=None if gpus is None else tuple(str(gpu.get("name", "unknown")) for gpu in gpus),
        processors_allowed=machine.processors_allowed,
        intra_op_threads=int(threads) if threads else None,
        torch=facts.get("torch"),
        python=facts.get("python"),
        load=round(others.value, 2) if others else None,
    )


def _processor(cpuinfo: str) -> str | None:
    """The name that the processor gives itself, and what it is taken for: a virtual machine may hear half a name."""
    own, known = processor_fields(cpuinfo).get("model name"), recognise_processor(cpuinfo).name
    names = [name for name in (own, known) if name and name != "unknown"]
    return ", ".join(names) or None


def differs(plan: Plan, machine: MachineFacts, command: Sequence[str] | None = None) -> list[str]:
    """Why the plan's proof may not hold, a sentence each, and last of all how to prove it here; empty where it holds.

    What one of the two does not know is left out.
    """
    found = [*_machines(plan.machine, machine), *_programs(plan.machine, machine), *_edits(plan)]
    if command is not None and redacted(command) != plan.command:
        found.append(f"the plan was proven on another command: {shlex.join(plan.command)}")
    if not found:
        return []
    run = shlex.join(redacted(command) if command is not None else plan.command)
    return [*found, f"to prove it here: suffice improve -- {run}"]


def _machines(then: MachineFacts, now: MachineFacts) -> Iterator[str]:
    if then.processor and now.processor and then.processor != now.processor:
        yield f"the plan was proven on a {then.processor}, this is a {now.processor}"
    if then.flags and now.flags:
        lost, new = (sorted(set(a) - set(b)) for a, b in ((then.flags, now.flags), (now.flags, then.flags)))
        if lost:
            yield f"the processor that the plan was proven on has {', '.join(lost)}, which this one lacks"
        if new:
            yield f"this processor has {', '.join(new)}, which the one lacks that the plan was proven on"
    if then.gpus is not None and now.gpus is not None and then.gpus != now.gpus:
        yield f"the plan was proven with {_list(then.gpus)}, here {_verb(now.gpus)} {_list(now.gpus)}"
    allowed = then.processors_allowed, now.processors_allowed
    if allowed[0] and allowed[1] and not isclose(allowed[0], allowed[1], rel_tol=0.01):
        yield f"the plan was proven on {allowed[0]:g} processors, here the job may use {allowed[1]:g}"
    yield from other_load(then, now)


def other_load(then: MachineFacts, now: MachineFacts) -> Iterator[str]:
    """A sentence if other programs take much more, or much less, of the processors than they did."""
    processors = now.processors_allowed or then.processors_allowed
    if then.load is None or now.load is None or not processors:
        return
    if abs(now.load - then.load) > LOAD_APART * processors:
        yield (
            f"other programs keep {digits(now.load)} processors busy, {digits(then.load)} when the plan was proven: "
            "what pays on idle processors can cost on busy ones, and the other way round"
        )


def _programs(then: MachineFacts, now: MachineFacts) -> Iterator[str]:
    if then.torch and now.torch and then.torch != now.torch:
        yield f"the plan was proven with torch {then.torch}, this is {now.torch}"
    if then.python and now.python and _minor(then.python) != _minor(now.python):
        yield f"the plan was proven with Python {then.python}, this is {now.python}"
    threads = then.intra_op_threads, now.intra_op_threads
    if threads[0] and threads[1] and threads[0] != threads[1]:
        yield f"an operation had {threads[0]} threads when the plan was proven, here it has {threads[1]}"


def _edits(plan: Plan) -> Iterator[str]:
    yield from (f"the plan was edited: {edit}" for edit in plan.edits)
    for planned in plan.changes:
        if planned.proof is None:
            yield f"{planned.change.name} was written into the plan without a proof"


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _list(names: Sequence[str]) -> str:
    counted = {name: names.count(name) for name in names}
    return ", ".join(f"{count} x {name}" for name, count in counted.items()) or "no GPU"


def _verb(names: Sequence[str]) -> str:
    return "are" if len(names) > 1 else "is"
