"""Steps of very different length, with nobody else to blame -> a finding: batches of very different size."""

from __future__ import annotations

from collections.abc import Sequence

from suffice.diagnose.practices import NO_MORE_THAN_NEEDED
from suffice.diagnose.view import View, some
from suffice.records import Finding, measured

FEWEST_STEPS = 30
UNEVEN = 2.0  # 90th over 10th percentile
QUIET = 0.10  # of the time something on the machine stalls for a processor


def uneven_steps(view: View) -> Finding | None:
    """Forward varies as much as the step does, on a GPU's own process or on a machine without pressure."""
    pressure = view.gauge("pressure_cpu")
    if pressure is None or pressure.value > QUIET:
        return None
    forward, backward = (view.each_step(name) for name in ("forward_s", "backward_s"))
    if min(len(forward), len(backward)) < FEWEST_STEPS or _spread(forward) < UNEVEN or _spread(backward) < UNEVEN:
        return None
    step, mean = view.rank.figures.get("step_s"), view.rank.figures.get("mean_step_s")
    if step is None or step.low is None or step.high is None or step.low <= 0 or step.high < UNEVEN * step.low:
        return None
    tokens = "tokens_per_s" in view.rank.figures
    return Finding(
        id="uneven-steps",
        rung=4,
        sentence=f"a tenth of the steps takes {step.high / step.low:.1f} times as long as the shortest, forward and "
        "backward alike: batches differ in size; "
        + ("group sequences of like length" if tokens else "group samples of like size")
        + ", so that none is padded to a far longer one",
        evidence=some(
            {
                "step_s": step,
                "mean_step_s": mean,
                "spread_of_forward": measured(_spread(forward), "ratio", method="90th over 10th percentile"),
                "pressure_cpu": pressure,
            }
        ),
        bound=max(1.0, (mean or step).value / step.low),
        practice=NO_MORE_THAN_NEEDED,
        confidence="samples and tokens of each step are not in the profile, nor how many of them are padding",
    )


def _spread(values: Sequence[float]) -> float:
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 10], ordered[(9 * len(ordered)) // 10]
    return high / low if low > 0 else 1.0
