"""A job that fills the memory that it may use -> a finding."""

from __future__ import annotations

from suffice.diagnose.practices import MEMORY
from suffice.diagnose.view import View, bound_of, some
from suffice.records import Finding

FULL = 0.90
STALLS = 0.10  # of the time: below it the job fits, and recomputing would only cost


def memory_pressure(view: View) -> Finding | None:
    """The peak against the limit; the machine's stalls for memory bound what room would gain."""
    peak, limit = view.profile.figures.get("memory_peak_bytes"), view.profile.machine.get("memory_limit_gib")
    if peak is None or not isinstance(limit, int | float) or limit <= 0 or peak.value < FULL * limit * 2**30:
        return None
    stalls = view.gauge("pressure_memory")
    stalling = stalls is not None and stalls.value >= STALLS
    return Finding(
        id="memory-pressure",
        rung=4,
        sentence=f"the job took {peak.value / 2**30:.3g} of the {limit:.3g} GiB that it may use"
        + (f"; something stalled for memory {stalls.value:.0%} of the time" if stalls else "")
        + ("" if stalling else "; should it need more, smaller batches or checkpointing of gradients make room"),
        evidence=some({"memory_peak_bytes": peak, "pressure_memory": stalls}),
        bound=bound_of(stalls.value if stalls else 0.0),
        practice=MEMORY,
        cures=("gradient-checkpointing",) if stalling else (),
        confidence="whose memory it is, and whether pages were swapped, is not told; stalls are of the whole machine",
    )
