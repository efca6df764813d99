"""Steps of very different length whose forward and backward vary together -> a finding: batches of different size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import StatisticsError, correlation

from suffice.diagnose.practices import NO_MORE_THAN_NEEDED
from suffice.diagnose.view import View, some
from suffice.records import Finding, measured

FEWEST_STEPS = 30
UNEVEN = 2.0  # 90th over 10th percentile
TOGETHER = 0.85  # correlation of a step's forward with its own backward
BEYOND_THE_NEXT = 0.4  # by which that is more than the correlation of a backward with the next step's forward


def uneven_steps(view: View) -> Finding | None:
    """Neighbours on the machine slow a backward and the forward after it alike; a large batch ends with its step."""
    forward, backward = (view.each_step(name) for name in ("forward_s", "backward_s"))
    if min(len(forward), len(backward)) < FEWEST_STEPS or len(forward) != len(backward):
        return None
    own, next_one = _correlation(forward, backward), _correlation(forward[1:], backward[:-1])
    if min(_spread(forward), _spread(backward)) < UNEVEN or own < max(TOGETHER, next_one + BEYOND_THE_NEXT):
        return None
    step, mean = view.rank.figures.get("step_s"), view.rank.figures.get("mean_step_s")
    if step is None or step.low is None or step.high is None or step.low <= 0 or step.high < UNEVEN * step.low:
        return None
    tokens = "tokens_per_s" in view.rank.figures
    return Finding(
        id="uneven-steps",
        rung=4,
        sentence=f"a tenth of the steps takes {step.high / step.low:.1f} times as long as the shortest, forward and "
        "backward together: batches differ in size; "
        + ("group sequences of like length" if tokens else "group samples of like size")
        + ", so that none is padded to a far longer one",
        evidence=some(
            {
                "step_s": step,
                "mean_step_s": mean,
                "spread_of_forward": measured(_spread(forward), "ratio", method="90th over 10th percentile"),
                "together": measured(own, "correlation", method="of forward and backward of a step, of logarithms"),
                "with_the_next": measured(next_one, "correlation", method="of backward and the forward after it"),
            }
        ),
        bound=max(1.0, (mean or step).value / step.low),
        practice=NO_MORE_THAN_NEEDED,
        cures=("sequence-bucketing",) if tokens else (),
        confidence="samples and tokens of each step are not in the profile, nor how many of them are padding",
    )


def _correlation(ones: Sequence[float], others: Sequence[float]) -> float:
    """Of logarithms, so that few very long steps don't decide; 0 where one of them does not vary."""
    pairs = [(math.log(a), math.log(b)) for a, b in zip(ones, others, strict=True) if a > 0 and b > 0]
    try:
        return correlation(*zip(*pairs, strict=True)) if len(pairs) > 1 else 0.0
    except StatisticsError:
        return 0.0


def _spread(values: Sequence[float]) -> float:
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 10], ordered[(9 * len(ordered)) // 10]
    return high / low if low > 0 else 1.0
