"""Forms for a small device: which holds too much memory, and of those of one size which starts soonest."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from random import Random

from suffice.prove.model.forms import Forms, Made
from suffice.records import measured
from suffice.run.worker import WorkerError

EDGE = "edge"
STARTS, MIB = 3, 2**20


def holds_too_much(made: Made, most_bytes: float) -> str | None:
    """Why a form that was opened is too large, or None."""
    held = made.figures["memory_bytes"].value
    if held <= most_bytes:
        return None
    allowed = f"{most_bytes / MIB:.0f} MiB are allowed"
    return f"its process held {held / MIB:.0f} MiB when it was opened and called once, {allowed}"


def soonest(tied: Sequence[Made], forms: Forms, rng: Random, say: Callable[[str], None]) -> Made:
    """The one that is opened and gives its first answer soonest: the medians of a few starts of each, by turns."""
    seconds: dict[str, list[float]] = {made.name: [] for made in tied}
    for _ in range(STARTS):
        for made in rng.sample(tied, len(tied)):
            say(f"{made.name}: opening it")
            try:
                with forms.open(made):
                    seconds[made.name].append(made.figures["load_s"].value + made.figures["first_s"].value)
            except WorkerError:
                seconds[made.name].append(math.inf)
    for made in tied:
        each = sorted(seconds[made.name])
        if each[-1] < math.inf:
            made.figures["cold_start_s"] = measured(
                statistics.median(each), "s", low=each[0], high=each[-1], method=f"{STARTS} starts by turns"
            )
    return min(tied, key=lambda made: statistics.median(seconds[made.name]))
