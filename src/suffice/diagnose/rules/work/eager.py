"""An uncompiled model on a busy GPU that computes far below the GPU's peak -> a finding."""

from __future__ import annotations

from suffice.diagnose.practices import COSTLY_CODE
from suffice.diagnose.view import View, bound_of, some
from suffice.records import Finding

BELOW = 0.40  # of the peak


def eager(view: View) -> Finding | None:
    """Between matrix products an eager model reads and writes memory; on a processor compiling seldom pays."""
    reached = view.rank.figures.get("share_of_peak")
    share = view.loop_share("forward_s", "backward_s")
    if not view.on_gpu or view.rank.facts.get("compiled") is not False:
        return None
    if reached is None or share is None or not 0 < reached.value < BELOW:
        return None
    return Finding(
        id="eager",
        rung=4,
        sentence=f"the model runs uncompiled and does {reached.value:.0%} of the operations that this GPU can",
        evidence=some(
            {"share_of_peak": reached, **{name: view.split.get(name) for name in ("forward_s", "backward_s")}}
        ),
        bound=max(1.0, min(bound_of(share), 1 / reached.value)),
        practice=COSTLY_CODE,
        cures=("compile", "channels-last"),
        confidence="compiling takes minutes at first: it pays in long runs; which operations there are is not told",
    )
