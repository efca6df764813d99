"""Courses of a job without a change and with it -> whether it still draws at random what it drew at random before.

Of a change that may draw other numbers neither inputs nor losses can be held against the baseline's. What remains: the
samples come in the same order while that hangs on the seed alone, later passes are shuffled anew, and a sample that
looked different each time it was read still does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from suffice.prove.faults import Fault, changes_of
from suffice.records import Course

CHANCE = 1e-5
"""How seldom samples may happen to look frozen that are not."""


def order(baseline: Course, changed: Course) -> Iterator[Fault]:
    """The first pass comes in the same order; a later one is shuffled anew as before.

    Later passes may differ: where the data set drew from the generator that shuffles, others draw now.
    """
    name, plain, mine = changes_of(changed), _passes(baseline.indices), _passes(changed.indices)
    first = [(a, b) for a, b in zip(plain.get("0", ()), mine.get("0", ()), strict=False) if a and b]
    differ = sum(a != b for a, b in first)
    if differ:
        told = f"with {name} the samples come in another order from the first pass on ({differ} of {len(first)} steps)"
        yield Fault(test="order", sentence=told)
    for number in plain.keys() & mine.keys() - {"0"}:
        if _repeats(mine, number) and not _repeats(plain, number):
            told = f"with {name} pass {int(number) + 1} comes in the order of the first, without it it is shuffled anew"
            yield Fault(test="order", sentence=told)
            return


def repeated_inputs(pairs: Sequence[tuple[Course, Course]]) -> Iterator[Fault]:
    """The model must not receive the very same batch twice where it never did."""
    if any(_repeated(plain.inputs) for plain, _ in pairs):
        return
    again = sum(_repeated(changed.inputs) for _, changed in pairs)
    if again:
        told = f"with {changes_of(pairs[0][1])} the model receives {again} batches a second time, bit by bit"
        yield Fault(test="frozen", sentence=f"{told}; without it, it never does")


def frozen(pairs: Sequence[tuple[Course, Course]]) -> Iterator[Fault]:
    """Samples that were drawn anew at each read still are, and the others are what they were."""
    both = [
        (plain.reads[index], changed.reads[index])
        for plain, changed in pairs
        for index in plain.reads.keys() & changed.reads.keys()
        if min(len(plain.reads[index]), len(changed.reads[index])) > 1
    ]
    if not both:
        return
    name, varied = changes_of(pairs[0][1]), sum(_varies(before) for before, _ in both)
    vary = sum(_varies(after) for _, after in both)
    if _so_few(vary, varied, len(both)) < CHANCE:
        told = f"with {name} {vary} of {len(both)} samples differ when they are read again, without it {varied} do"
        yield Fault(test="frozen", sentence=f"{told}: what is random in the data is frozen or lost")
    elif not varied:
        wrong = sum(set(after) != set(before) for before, after in both)
        if wrong:
            told = f"with {name} {wrong} of {len(both)} samples are other data, although nothing in them is random"
            yield Fault(test="reads", sentence=told)


def redrawn(courses: Sequence[Course]) -> int:
    """How many samples differed when they were read again."""
    return sum(_varies(seen) for course in courses for seen in course.reads.values())


def not_shown(baseline: Course, changed: Course) -> str | None:
    """What must be known before other draws are held to be harmless, and is not."""
    name, notes = changes_of(changed), "".join(f"; {note}" for note in changed.notes[:2])
    if not changed.losses:
        return f"the job made no step with {name}{notes}"
    if any(baseline.indices) and not any(changed.indices):
        return f"with {name} the order of the samples could not be seen{notes}"
    if baseline.reads and not changed.reads:
        return f"with {name} no sample could be read again, to see whether it is still drawn anew{notes}"
    return None


def _passes(indices: Sequence[str]) -> dict[str, list[str]]:
    """The fingerprints of each pass in their order, by the pass's number."""
    passes: dict[str, list[str]] = {}
    for each in indices:
        number, _, told = each.partition(":")
        passes.setdefault(number, []).append(told)
    return passes


def _repeats(passes: dict[str, list[str]], number: str) -> bool:
    """Whether a pass comes in the order of the first, as far as it was seen."""
    return all(a == b for a, b in zip(passes[number], passes.get("0", ()), strict=False))


def _repeated(inputs: Sequence[str]) -> int:
    known = [each for each in inputs if each]
    return len(known) - len(set(known))


def _varies(seen: Sequence[str]) -> bool:
    return len(set(seen)) > 1


def _so_few(mine: int, theirs: int, of: int) -> float:
    """The probability that of equally many of both so few are mine, or fewer, by chance: Fisher's exact test."""
    ways = [math.comb(of, k) * math.comb(of, mine + theirs - k) for k in range(max(0, mine + theirs - of), mine + 1)]
    return sum(ways) / math.comb(2 * of, mine + theirs)
