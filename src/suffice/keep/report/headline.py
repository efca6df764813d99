"""A profile -> the one sentence that answers where the time went, out of nothing but what was measured."""

from __future__ import annotations

from suffice.keep.report.numbers import quantity
from suffice.records import Profile, Rank

UNEVEN = 2.0  # times the median: beyond it the mean step is none that ever was

PARTS = {
    "wait_for_data_s": "waiting for data",
    "copy_s": "copying to the device",
    "forward_s": "forward",
    "backward_s": "backward",
    "optimiser_s": "optimiser",
    "other_s": "other",
}
RUN_PARTS = {
    "start_up_s": "start-up",
    **PARTS,
    "evaluation_s": "evaluation",
    "ending_s": "ending",
    "unseen_s": "not seen inside",
}


def shares(rank: Rank) -> list[tuple[str, float, float]]:
    """The parts of a step with their seconds and their shares, in the order of a step."""
    total_s = sum(f.value for f in rank.split.values())
    return [
        (PARTS[name], rank.split[name].value, rank.split[name].value / total_s if total_s else 0.0)
        for name in PARTS
        if name in rank.split
    ]


def headline(profile: Profile) -> str:
    """One sentence; for a run without steps, why there are none."""
    if not profile.ranks:
        reasons = [n.text for n in profile.notes if n.text.startswith("no steps")]
        return reasons[0] if reasons else "no steps were seen"
    rank = profile.ranks[0]
    parts = sorted(shares(rank), key=lambda part: part[2], reverse=True)
    if not parts:
        return "a training loop began, but no step of it was seen to end"
    name, _, share = parts[0]
    sentence = f"{share:.0%} of a training step is {name}"
    trains = next((each for each in rank.loaders if each.role == "training" and each.limited_by), None)
    if name == "waiting for data" and trains is not None and trains.limited_by not in (None, "unknown"):
        sentence += f"; the loader is limited by {trains.limited_by}"
    median, mean = rank.figures.get("step_s"), rank.figures.get("mean_step_s")
    if median and mean and mean.value > UNEVEN * median.value:
        sentence += f"; few long steps decide: the mean is {quantity(mean.value, 's')}"
        sentence += f", the median {quantity(median.value, 's')}"
    in_training = rank.figures.get("training_s")
    duration = profile.figures.get("duration_s")
    if in_training and duration and duration.value and in_training.value < duration.value / 2:
        sentence += f"; training is {in_training.value / duration.value:.0%} of the run"
    return sentence
