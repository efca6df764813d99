"""A loader whose workers queue for too few processors -> a finding."""

from __future__ import annotations

from suffice.diagnose.practices import COMPUTE_TO_FIT
from suffice.diagnose.view import View, bound_of, some, value_of
from suffice.measure.loading import LOCKED, QUEUE_MATTERS
from suffice.records import Finding

OFF_MATTERS = 0.25


def crowded_workers(view: View) -> Finding | None:
    """More workers than processors that wait in the run queue; fewer that queue suffer from others instead.

    They hold the loop up where it waits for them, and where they take the processors that it would train on.
    """
    loader, queue = view.loader, view.queueing
    if loader is None or queue is None or view.processors is None or loader.limited_by == LOCKED:
        return None
    share, off = view.data_wait, _off_the_processor(view)
    if queue <= QUEUE_MATTERS or loader.workers <= view.processors or (share is None and off < OFF_MATTERS):
        return None
    if share is not None:
        what = f"{share:.0%} of the loop is waiting for data"
    else:
        what = f"the training process is without a processor for {off:.0%} of a step, and not for want of data"
    return Finding(
        id="crowded-workers",
        rung=2,
        sentence=f"{what}: {loader.workers} workers are too many for "
        f"{view.processors:g} processors, {queue:.0%} of a fetch is queueing for one",
        evidence=some(
            {
                "wait_for_data_s": view.split.get("wait_for_data_s"),
                "processors_busy": view.rank.figures.get("processors_busy"),
                **loader.figures,
            }
        ),
        bound=bound_of(off * view.training_share if share is None else share),
        practice=COMPUTE_TO_FIT,
        cures=("loader-workers",),
        confidence=None if share is not None else "neighbours on the machine may take a part of it",
    )


def _off_the_processor(view: View) -> float:
    busy = value_of(view.rank.figures, "processors_busy")
    if view.on_gpu or busy is None:
        return 0.0
    return max(0.0, 1 - max(0.0, busy) - (view.step_share("wait_for_data_s") or 0.0))
