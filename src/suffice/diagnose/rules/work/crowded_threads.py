"""More threads than processors, or threads that neighbours leave no processor -> a finding."""

from __future__ import annotations

from suffice.diagnose.practices import COMPUTE_TO_FIT
from suffice.diagnose.view import View, bound_of, some
from suffice.records import Finding, measured

MATTERS = 0.30
CONTENDED = 0.30  # of the time something on the machine stalls for a processor


def crowded_threads(view: View) -> Finding | None:
    """Threads of one operation wait for the slowest of them, and spin meanwhile: a missing processor stops them all."""
    share = view.loop_share("forward_s", "backward_s", "optimiser_s")
    threads, processors = view.threads, view.processors
    if view.on_gpu or share is None or share < MATTERS or threads is None or processors is None:
        return None
    here = [rank for rank in view.world if not rank.device.startswith("cuda")] or [view.rank]
    wanted = threads * len(here)
    pressure = view.gauge("pressure_cpu")
    contended = threads > 1 and pressure is not None and pressure.value >= CONTENDED
    if wanted <= processors and not contended:
        return None
    who = f"{len(here)} ranks, each with " if len(here) > 1 else ""
    if wanted > processors:
        why = f"on {processors:g} processors"
    else:
        why = f"on processors that are short {pressure.value if pressure else 0:.0%} of the time"
    return Finding(
        id="crowded-threads",
        rung=4,
        sentence=f"{who}{threads:g} threads compute {why}; forward, backward and optimiser are {share:.0%} of the loop"
        + ("" if wanted > processors else "; OMP_WAIT_POLICY=PASSIVE lets them sleep instead of spin"),
        evidence=some(
            {
                "intra_op_threads": measured(threads, "threads"),
                "processors_allowed": measured(processors, "processors"),
                "processors_busy": view.rank.figures.get("processors_busy"),
                "pressure_cpu": pressure,
            }
        ),
        bound=bound_of(share),
        practice=COMPUTE_TO_FIT,
        cures=("intra-op-threads", "wait-policy"),
        confidence=_missing(len(here)),
    )


def _missing(ranks: int) -> str:
    told = "how long the threads queue the profile does not tell; pressure is of the whole machine, neighbours included"
    return f"{told}; the ranks are taken to share this machine" if ranks > 1 else told
