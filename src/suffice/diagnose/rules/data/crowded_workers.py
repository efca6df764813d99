"""A loader whose workers queue for too few processors -> a finding."""

from __future__ import annotations

from suffice.diagnose.practices import COMPUTE_TO_FIT
from suffice.diagnose.view import View, bound_of, some
from suffice.measure.loading import QUEUE_MATTERS
from suffice.records import Finding


def crowded_workers(view: View) -> Finding | None:
    """More workers than processors that wait in the run queue; fewer that queue suffer from others instead."""
    share, loader, queue = view.data_wait, view.loader, view.queueing
    if share is None or loader is None or queue is None or view.processors is None:
        return None
    if queue <= QUEUE_MATTERS or loader.workers <= view.processors:
        return None
    return Finding(
        id="crowded-workers",
        rung=2,
        sentence=f"{share:.0%} of the loop is waiting for data: {loader.workers} workers are too many for "
        f"{view.processors:g} processors, {queue:.0%} of a fetch is queueing for one",
        evidence=some({"wait_for_data_s": view.split.get("wait_for_data_s"), **loader.figures}),
        bound=bound_of(share),
        practice=COMPUTE_TO_FIT,
        cures=("loader-workers",),
    )
