"""Memory that grows for as long as the job trains -> a finding: a leak, or a cache without a limit."""

from __future__ import annotations

from itertools import pairwise
from statistics import fmean

from suffice.diagnose.practices import MEMORY
from suffice.diagnose.view import View, some
from suffice.records import Finding, measured

FEWEST_READINGS = 18
TENTHS = 10
STEADY = 8  # of the nine steps from tenth to tenth go up
LEAST_GIB, LEAST_RATIO = 0.2, 1.2


def memory_growth(view: View) -> Finding | None:
    """Resident memory tenth by tenth of the loop, its first third left out, where buffers and caches fill.

    What is loaded before the loop, for a minute on a busy machine, is no growth.
    """
    read = view.readings("memory_gib")
    if len(read) < FEWEST_READINGS:
        return None
    at_s, values = zip(*read[len(read) // 3 :], strict=True)
    size = len(values) / TENTHS
    means = [fmean(values[int(i * size) : max(int(i * size) + 1, int((i + 1) * size))]) for i in range(TENTHS)]
    rises = sum(later > earlier for earlier, later in pairwise(means))
    grown, took_s = means[-1] - means[0], at_s[-1] - at_s[0]
    if rises < STEADY or grown < LEAST_GIB or means[-1] < LEAST_RATIO * means[0] or took_s <= 0:
        return None
    rate = grown / took_s * 3600
    limit = view.profile.machine.get("memory_limit_gib")
    left = (limit - values[-1]) / rate if isinstance(limit, int | float) else None
    held = (
        "; look for what is kept each step, such as losses with their graphs: `.item()` or `.detach()` lets go of them"
    )
    return Finding(
        id="memory-growth",
        rung=4,
        sentence=f"memory grows all the time, by {rate:.2g} GiB an hour"
        + (f": at this pace it is full in {left:.2g} hours" if left is not None and left > 0 else "")
        + held,
        evidence=some(
            {
                "memory_peak_bytes": view.profile.figures.get("memory_peak_bytes"),
                "growth_gib": measured(grown, "GiB", method=f"last tenth over first, in {took_s:.0f} s"),
            }
        ),
        bound=1.0,
        practice=MEMORY,
        confidence="what holds it is not told; it slows nothing yet",
    )
