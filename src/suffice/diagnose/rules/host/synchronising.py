"""A host that waits in the loop for the GPU's answer, such as `.item()` at every step -> a finding."""

from __future__ import annotations

from suffice.diagnose.practices import COSTLY_CODE
from suffice.diagnose.view import View, bound_of, some, value_of
from suffice.records import Finding, measured

MATTERS = 0.10


def synchronising(view: View) -> Finding | None:
    """`other` lasts longer for the host than on the GPU's stream: only waiting for the GPU can make it so.

    The host's waiting costs what the GPU then idles, which its utilisation bounds.
    """
    busy, host, device = view.gpu_gauge("utilization_gpu"), view.rank.split, view.rank.device_split
    step_s = sum(figure.value for figure in host.values())
    beyond_s = (value_of(host, "other_s") or 0.0) - (value_of(device, "other_s") or 0.0)
    if not view.on_gpu or not device or busy is None or step_s <= 0 or beyond_s < MATTERS * step_s:
        return None
    share = max(0.0, 1 - busy.value / 100) * view.training_share
    return Finding(
        id="synchronising",
        rung=3,
        sentence=f"the host waits {beyond_s / step_s:.0%} of a step for the GPU between its parts, as `.item()`, "
        f"printing a loss or moving a result does: do it less often; the GPU is busy {busy.value:.0f} % of the time",
        evidence=some(
            {
                "other_s": host.get("other_s"),
                "device other_s": device.get("other_s"),
                "beyond_s": measured(beyond_s, "s/step", method="other of the host less other of the GPU"),
                "utilization_gpu": busy,
            }
        ),
        bound=bound_of(share),
        practice=COSTLY_CODE,
        confidence="which line waits the profile does not tell",
    )
