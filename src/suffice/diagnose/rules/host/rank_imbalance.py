"""Ranks that wait for a slower one of them -> a finding."""

from __future__ import annotations

from collections.abc import Mapping

from suffice.diagnose.practices import EVEN_RANKS
from suffice.diagnose.view import View, bound_of
from suffice.records import Figure, Finding, Rank

MATTERS = 0.10


def rank_imbalance(view: View) -> Finding | None:
    """Gradients are exchanged within backward: whoever has the shortest one kept the others waiting."""
    ranks = [rank for rank in view.world if "backward_s" in _split(rank)]
    if len(ranks) < 2 or len({rank.device.partition(":")[0] for rank in ranks}) > 1:
        return None
    slow = min(ranks, key=lambda rank: _split(rank)["backward_s"].value)
    waiting = max(ranks, key=lambda rank: _split(rank)["backward_s"].value)
    shortest, longest = _split(slow)["backward_s"], _split(waiting)["backward_s"]
    step_s = sum(figure.value for figure in _split(waiting).values())
    if step_s <= 0:
        return None
    step_share = max(0.0, min(1.0, (longest.value - shortest.value) / step_s))
    share = step_share * view.training_share
    if step_share < MATTERS:
        return None
    return Finding(
        id="rank-imbalance",
        rung=3,
        sentence=f"rank {waiting.rank} waits {step_share:.0%} of a step in backward for rank {slow.rank}, whose "
        f"{_longest_part(slow, waiting)} takes longer: give all of them batches of the same size, "
        "on machines that are alike",
        evidence={f"rank {slow.rank} backward_s": shortest, f"rank {waiting.rank} backward_s": longest},
        bound=bound_of(share),
        practice=EVEN_RANKS,
        confidence="what is exchanged is not timed: that the longer backward is waiting follows from the shorter one",
    )


def _split(rank: Rank) -> Mapping[str, Figure]:
    return rank.device_split or rank.split


def _longest_part(slow: Rank, waiting: Rank) -> str:
    """The part in which the slow rank spends most beyond the waiting one."""
    theirs = _split(waiting)
    beyond = {
        name: figure.value - theirs[name].value
        for name, figure in _split(slow).items()
        if name in theirs and name != "backward_s"
    }
    name = max(beyond, key=beyond.__getitem__, default="")
    return name.removesuffix("_s").replace("_", " ") or "own part"
