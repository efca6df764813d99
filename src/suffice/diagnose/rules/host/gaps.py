"""Few steps whose `other` is far longer than usual -> a finding: checkpoints if as much was written, else logging."""

from __future__ import annotations

from statistics import fmean, median

from suffice.diagnose.practices import NO_MORE_THAN_NEEDED
from suffice.diagnose.view import View, bound_of, some, value_of
from suffice.records import Finding, measured

COMPUTING = ("forward_s", "backward_s")
MATTERS = 0.05
FEWEST_STEPS = 20
RARE = 0.34  # of the steps: what happens at every second step is no gap
BYTES_OF_A_WEIGHT = 4
MOST = 0.5  # of the weights; a checkpoint holds at least one copy of them in float32, or half of it in float16


def gaps(view: View) -> Finding | None:
    """The excess of the long steps over the usual one, as a share of the loop."""
    others = view.each_step("other_s")
    step_s = sum(figure.value for figure in view.rank.split.values())
    if len(others) < FEWEST_STEPS or step_s <= 0:
        return None
    usual = median(others)
    excess_s = fmean(others) - usual * _disturbed(view)
    long = [other for other in others if other > usual + 3 * max(excess_s, 1e-6)]
    share = max(0.0, min(1.0, excess_s / step_s)) * view.training_share
    if share < MATTERS or not long or len(long) > RARE * len(others):
        return None
    saved = _saved(view, len(long), len(others))
    what = (
        "as much is written as checkpoints hold: save them less often, or beside the training"
        if saved
        else "logging, printing or the like: do it less often, or beside the training"
    )
    return Finding(
        id="gaps",
        rung=3,
        sentence=f"{share:.0%} of the loop is gaps: about every {len(others) / len(long):.0f} steps one of "
        f"{median(long):.2g} s in what is neither forward, backward nor optimiser: {what}",
        evidence=some(
            {
                "other_s": view.rank.split.get("other_s"),
                "gap_s": measured(median(long), "s", method=f"the {len(long)} longest of {len(others)}, median"),
                "disk_written_bytes": view.profile.figures.get("disk_written_bytes"),
            }
        ),
        bound=bound_of(share),
        practice=NO_MORE_THAN_NEEDED,
        confidence="what the loop does in a gap the profile does not tell; bytes written are of the whole run",
    )


def _disturbed(view: View) -> float:
    """How much neighbours on the machine lengthen the mean of a part over its median: they spare none of the parts."""
    ratios = [fmean(each) / median(each) for name in COMPUTING if (each := view.each_step(name)) and median(each) > 0]
    return max(1.0, min(ratios, default=1.0))


def _saved(view: View, gaps_seen: int, steps_seen: int) -> bool:
    """Whether the run wrote at least half the weights for each gap that it must have had."""
    weights, written = view.rank.facts.get("parameters"), value_of(view.profile.figures, "disk_written_bytes")
    if not isinstance(weights, int) or weights <= 0 or written is None:
        return False
    in_run = gaps_seen * max(1.0, view.seconds("steps") / steps_seen)
    return written >= MOST * BYTES_OF_A_WEIGHT * weights * in_run
