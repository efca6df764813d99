"""An optimiser that takes much of a step -> a finding."""

from __future__ import annotations

from suffice.diagnose.practices import COSTLY_CODE
from suffice.diagnose.view import View, bound_of, some
from suffice.records import Finding

MATTERS = 0.15


def slow_optimiser(view: View) -> Finding | None:
    """Its share of the loop; many small tensors updated one by one are the usual cause."""
    share = view.loop_share("optimiser_s")
    if share is None or share < MATTERS:
        return None
    names = [str(name) for name in view.rank.facts.get("optimisers") or ()]
    return Finding(
        id="slow-optimiser",
        rung=4,
        sentence=f"{share:.0%} of the loop is the optimiser" + (f", {' and '.join(names)}" if names else ""),
        evidence=some({"optimiser_s": view.split.get("optimiser_s")}),
        bound=bound_of(share),
        practice=COSTLY_CODE,
        cures=("fused-optimiser", "foreach-optimiser"),
        confidence="whether it is fused already, and how many tensors it updates, the profile does not tell",
    )
