"""A loader limited by the work of preparing samples -> a finding."""

from __future__ import annotations

from suffice.diagnose.practices import LESS_PREPARATION
from suffice.diagnose.view import View, bound_of, some
from suffice.measure.loading import COMPUTE, QUEUE_MATTERS
from suffice.records import Finding


def loader_compute(view: View) -> Finding | None:
    """The loop waits, and its fetches are mostly on the processor, or in its queue."""
    share, loader = view.data_wait, view.loader
    if share is None or loader is None or loader.limited_by != COMPUTE:
        return None
    missing = "which transform takes how long, and whether it is the same every epoch, the profile does not tell"
    if (view.queueing or 0.0) > QUEUE_MATTERS and loader.workers <= (view.processors or 0.0):
        missing += "; part of the wait may be the neighbours'"
    return Finding(
        id="loader-compute",
        rung=2,
        sentence=f"{share:.0%} of the loop is waiting for data, and the loader computes: "
        f"{loader.reason or 'why is not known'}",
        evidence=some({"wait_for_data_s": view.split.get("wait_for_data_s"), **loader.figures}),
        bound=bound_of(share),
        practice=LESS_PREPARATION,
        # Random samples can't be kept; then another process is all that helps, even beside neighbours.
        cures=("sample-cache", "batch-gather")
        if loader.workers
        else ("sample-cache", "batch-gather", "loader-workers"),
        confidence=missing,
    )
