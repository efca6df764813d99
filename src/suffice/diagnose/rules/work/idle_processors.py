"""A job that computes on few of the processors that it may use -> a finding."""

from __future__ import annotations

from suffice.diagnose.practices import COMPUTE_TO_FIT
from suffice.diagnose.view import View, some
from suffice.records import Finding, measured

MATTERS = 0.50
SHORT_S = 0.01  # below it an operation is too small to be shared out
QUIET = 0.10  # of the time something on the machine stalls for a processor


def idle_processors(view: View) -> Finding | None:
    """At most half of the processors by setting, the rest free by measurement, and nobody else who wants them."""
    share, threads, free = view.loop_share("forward_s", "backward_s"), view.threads, view.free_processors
    step, pressure = view.rank.figures.get("step_s"), view.gauge("pressure_cpu")
    if view.on_gpu or share is None or threads is None or free is None or step is None or pressure is None:
        return None
    processors = view.processors or 1.0
    if share < MATTERS or len(view.world) > 1 or step.value < SHORT_S or pressure.value > QUIET:
        return None
    if threads > processors / 2 or free < 0.4 * processors:
        return None
    left = 1 - share + share * threads / processors
    return Finding(
        id="idle-processors",
        rung=4,
        sentence=f"operations use {threads:g} of {processors:g} processors, {free:.1f} were free while it trained",
        evidence=some(
            {
                "intra_op_threads": measured(threads, "threads"),
                "free_processors": measured(free, "processors", method="allowed - used"),
                "pressure_cpu": pressure,
            }
        ),
        bound=max(1.0, 1 / left),
        practice=COMPUTE_TO_FIT,
        cures=("intra-op-threads",),
        confidence="whether the operations are large enough to be shared out only a trial can tell",
    )
