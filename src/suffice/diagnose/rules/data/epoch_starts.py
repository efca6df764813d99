"""A loop that waits at few steps, and long -> a finding: workers that start anew, most likely with each epoch."""

from __future__ import annotations

from statistics import fmean, median

from suffice.diagnose.practices import LOADER_PROCESSES
from suffice.diagnose.view import View, bound_of, some, value_of
from suffice.records import Finding, measured

FEWEST_STEPS = 40
RARE = 0.05  # of the steps; a loader of W workers that can't keep up waits at every W-th, or oftener
MOST = 0.8  # of the wait
ALIKE = 0.3  # of the first batch's wait, which is a start of workers and nothing else


def epoch_starts(view: View) -> Finding | None:
    """Rare waits, each about as long as that for the very first batch, by a loader that has workers."""
    share, loader, waits = view.data_wait, view.loader, view.each_step("wait_for_data_s")
    if share is None or loader is None or loader.workers < 1 or len(waits) < FEWEST_STEPS:
        return None
    usual, mean = median(waits), fmean(waits)
    long = [wait for wait in waits if wait > 2 * mean]
    first_s = value_of(loader.figures, "first_wait_s")
    if not long or first_s is None or len(long) > min(RARE, 0.5 / loader.workers) * len(waits):
        return None
    if sum(long) - usual * len(long) < MOST * sum(waits) or median(long) < ALIKE * first_s:
        return None
    each = measured(median(long), "s", method=f"median of the {len(long)} longest waits of {len(waits)}")
    return Finding(
        id="epoch-starts",
        rung=2,
        sentence=f"{share:.0%} of the loop is waiting for data, nearly all of it at {len(long)} of {len(waits)} steps "
        f"of about {each.value:.2g} s: the {loader.workers} workers start anew; persistent ones would start once",
        evidence=some(
            {
                "wait_for_data_s": view.split.get("wait_for_data_s"),
                "first_wait_s": loader.figures.get("first_wait_s"),
                "long_wait_s": each,
            }
        ),
        bound=bound_of(share),
        practice=LOADER_PROCESSES,
        cures=("loader-workers",),
        confidence="that an epoch begins at these steps is inferred from their rarity and length",
    )
