"""A loop that waits for data, and nothing that says why -> a finding that says so."""

from __future__ import annotations

from suffice.diagnose.practices import LOADER_PROCESSES
from suffice.diagnose.view import View, bound_of, some
from suffice.measure.loading import BOTH, COMPUTE, IO, LOCKED
from suffice.records import Finding

KNOWN = (IO, COMPUTE, BOTH, LOCKED)


def loader_unknown(view: View) -> Finding | None:
    """The wait is measured, its cause is not: workers left no record, or no loader of the training was recognised."""
    share, loader = view.data_wait, view.loader
    if share is None or (loader is not None and loader.limited_by in KNOWN):
        return None
    return Finding(
        id="loader-unknown",
        rung=2,
        sentence=f"{share:.0%} of the loop is waiting for data; what holds the loader back is not known",
        evidence=some({"wait_for_data_s": view.split.get("wait_for_data_s"), **(loader.figures if loader else {})}),
        bound=bound_of(share),
        practice=LOADER_PROCESSES,
        cures=("loader-workers", "sample-cache"),
        confidence=(loader.reason if loader else None) or "no loader of the training was recognised",
    )
