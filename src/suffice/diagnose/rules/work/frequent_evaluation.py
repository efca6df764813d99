"""A loop that evaluates for much of its time -> a finding."""

from __future__ import annotations

from suffice.diagnose.practices import NO_MORE_THAN_NEEDED
from suffice.diagnose.view import View, bound_of, some
from suffice.records import Finding

MATTERS = 0.25


def frequent_evaluation(view: View) -> Finding | None:
    """Evaluation's share of the loop; how often it must be, only the user can tell."""
    share = 1 - view.training_share
    if share < MATTERS:
        return None
    return Finding(
        id="frequent-evaluation",
        rung=4,
        sentence=f"{share:.0%} of the loop is evaluation: evaluate less often, or on fewer samples",
        evidence=some({n: view.rank.figures.get(n) for n in ("evaluation_s", "training_s")}),
        bound=bound_of(share),
        practice=NO_MORE_THAN_NEEDED,
        confidence="a run of a few steps evaluates more often, in proportion, than a long one may",
    )
