"""A GPU that idles while its data are there -> a finding: the host does not feed it fast enough."""

from __future__ import annotations

from suffice.diagnose.practices import ACCELERATORS
from suffice.diagnose.view import View, bound_of, some
from suffice.records import Finding

BUSY = 90.0  # %


def host_bound(view: View) -> Finding | None:
    """Utilisation counts the time in which any kernel ran, so what is missing to 100 % is all that feeding can gain."""
    busy = view.gpu_gauge("utilization_gpu")
    if not view.on_gpu or busy is None or busy.value >= BUSY:
        return None
    share = max(0.0, 1 - busy.value / 100)
    cures = ("fused-optimiser",) if view.rank.facts.get("compiled") else ("compile", "fused-optimiser")
    several = len(view.world) > 1
    return Finding(
        id="host-bound",
        rung=3,
        sentence=f"the GPU runs a kernel in {busy.value:.0f} % of the time and does not wait for data: "
        "Python and the launching of kernels hold it up, which a larger batch would spread"
        + (", or other ranks do" if several else ""),
        evidence=some({"utilization_gpu": busy, **{f"device {n}": f for n, f in view.rank.device_split.items()}}),
        bound=bound_of(share),
        practice=ACCELERATORS,
        cures=cures,
        confidence="launches are not counted; the GPU's readings span evaluation too"
        + ("; what a rank waits for others is not told apart from its kernels" if several else ""),
    )
