"""A loader with fewer workers than the free processors, or than its waiting, would bear -> a finding."""

from __future__ import annotations

from suffice.diagnose.practices import LOADER_PROCESSES
from suffice.diagnose.view import View, bound_of, some, value_of
from suffice.measure.loading import BOTH, COMPUTE, IO, LOCKED, QUEUE_MATTERS
from suffice.records import Finding, Loader, measured

ROOM_FOR_ONE = 0.5  # of a processor: a worker takes over what the training process did itself
ROOM_FOR_MORE = 1.0
# Processor time a sample: below it a fetch is Python's cost of handling what lies in memory, and to hand it over from
# another process costs as much again; gathering whole batches spares both.
WORTH_HANDING_OVER_S = 1e-4


def few_workers(view: View) -> Finding | None:
    """Free processors and the run queue decide, not the number of cores; who waits for I/O needs neither."""
    share, loader = view.data_wait, view.loader
    if share is None or loader is None or loader.limited_by == LOCKED or not _has_room(view, loader):
        return None
    free = view.free_processors
    bound = min(bound_of(share), _by_processors(view, loader))
    waiting = f"{share:.0%} of the loop is waiting for data"
    who = "the training process fetches by itself" if loader.workers == 0 else f"{loader.workers} workers fetch"
    spare = "" if free is None else f", and {free:.1f} of {view.processors:g} processors are free"
    return Finding(
        id="few-workers",
        rung=2,
        sentence=f"{waiting}: {who}{spare}{_enough(view, loader)}",
        evidence=some(
            {
                "wait_for_data_s": view.split.get("wait_for_data_s"),
                "fetch_s": loader.figures.get("fetch_s"),
                "fetch_processor_s": loader.figures.get("fetch_processor_s"),
                "free_processors": None if free is None else measured(free, "processors", method="allowed - used"),
            }
        ),
        bound=max(1.0, bound),
        practice=LOADER_PROCESSES,
        cures=("loader-workers",),
        confidence=None if free is not None else "how many processors were free while it trained is not known",
    )


def _has_room(view: View, loader: Loader) -> bool:
    if loader.limited_by in (IO, BOTH):
        return loader.workers == 0
    if (view.queueing or 0.0) > QUEUE_MATTERS:
        return False
    each_s = value_of(loader.figures, "fetch_processor_s")
    if each_s is not None and each_s < WORTH_HANDING_OVER_S:
        return False
    free = view.free_processors
    if loader.workers == 0:
        return (view.processors or 0.0) > 1 if free is None else free >= ROOM_FOR_ONE
    return loader.limited_by == COMPUTE and free is not None and free >= ROOM_FOR_MORE


def _by_processors(view: View, loader: Loader) -> float:
    """How much faster samples can be fetched if all processors did nothing else; without end where it is not known."""
    each_s = value_of(loader.figures, "fetch_processor_s")
    rates = [value_of(rank.figures, "samples_per_s") for rank in view.profile.ranks]
    now = sum(rate for rate in rates if rate)
    return view.processors / each_s / now if view.processors and each_s and each_s > 0 and now > 0 else float("inf")


def _enough(view: View, loader: Loader) -> str:
    """How many workers could keep up with a step that never waits, if a fetch takes no longer then; a projection."""
    each_s, rate, share = value_of(loader.figures, "fetch_s"), view.seconds("samples_per_s"), view.data_wait
    if not each_s or each_s < 0 or rate <= 0 or share is None or share >= 1:
        return ""
    queued_s = max(0.0, value_of(loader.figures, "fetch_queueing_s") or 0.0)
    return f"; about {max(1, round(rate / (1 - share) * max(0.0, each_s - queued_s)))} workers could keep up"
