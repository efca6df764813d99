"""A large part of each step that no mark tells of -> a finding that says what it may be."""

from __future__ import annotations

from statistics import fmean, median

from suffice.diagnose.practices import COSTLY_CODE
from suffice.diagnose.view import View, bound_of, some
from suffice.records import Finding

MATTERS = 0.25  # a loss over many classes lies in `other` as well


def other_work(view: View) -> Finding | None:
    """`other` in every step; where forward or data could not be told, they lie within it and it proves nothing."""
    step, share = view.step_share("other_s"), view.loop_share("other_s")
    if step is None or share is None or step < MATTERS or view.on_gpu:
        return None
    others = view.each_step("other_s")
    if others and median(others) < 0.5 * fmean(others):
        return None  # gaps.py
    unseen = [words for part, words in HIDDEN.items() if part not in view.rank.split]
    return Finding(
        id="other-work",
        rung=3,
        sentence=f"{share:.0%} of the loop lies outside forward, backward, optimiser and loader: the loss function, "
        "logging, metrics and Python of the loop" + "".join(f", or {words}" for words in unseen),
        evidence=some({"other_s": view.split.get("other_s")}),
        bound=bound_of(share),
        practice=COSTLY_CODE,
        confidence="which of them takes the time the profile does not tell, so no cure is offered",
    )


HIDDEN = {
    "wait_for_data_s": "batches that the loop cuts by itself",
    "forward_s": "a forward pass that no module's call shows",
}
