"""Copies from the host to the GPU that the GPU waits for -> a finding."""

from __future__ import annotations

from suffice.diagnose.practices import TRANSFERS
from suffice.diagnose.view import View, bound_of, some
from suffice.records import Finding

MATTERS = 0.10


def copies(view: View) -> Finding | None:
    """What lies between the delivery of a batch and the model's call, on the GPU's own clock."""
    if not view.on_gpu or not view.rank.device_split:
        return None
    step, share = view.step_share("copy_s"), view.loop_share("copy_s")
    if step is None or share is None or step < MATTERS:
        return None
    return Finding(
        id="copies",
        rung=3,
        sentence=f"{share:.0%} of the loop the GPU is between the delivery of a batch and the model: copying; "
        "pinned memory and copies with `non_blocking=True` would overlap with the computing",
        evidence=some({"copy_s": view.split.get("copy_s")}),
        bound=bound_of(share),
        practice=TRANSFERS,
        cures=("pinned-memory",),
        confidence="this part holds whatever the loop does there besides copying; whether memory is pinned is not told",
    )
