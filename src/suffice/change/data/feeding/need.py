"""A profile -> why making samples faster would gain nothing; empty where it may."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from suffice.records import Profile

WAIT_MATTERS = 0.05
WORK_MATTERS = 0.1  # of the processors
NO_LOADER = "no DataLoader feeds the training"


def wait_share(profile: Profile) -> float | None:
    """The share of its steps that the first rank waits for data; None where no DataLoader feeds the training."""
    rank = profile.ranks[0] if profile.ranks else None
    if rank is None or not any(each.role == "training" for each in rank.loaders):
        return None
    step_s = sum(figure.value for figure in rank.split.values())
    wait = rank.split.get("wait_for_data_s")
    return wait.value / step_s if wait is not None and step_s > 0 else 0.0


def why_not(profile: Profile) -> str:
    """Samples must be waited for, or take much of the processors."""
    share = wait_share(profile)
    if share is None:
        return NO_LOADER
    rank = profile.ranks[0]
    loaders = [each for each in rank.loaders if each.role == "training"]
    rate = rank.figures.get("samples_per_s")
    work = max(
        (each.figures["fetch_processor_s"].value for each in loaders if "fetch_processor_s" in each.figures), default=0
    )
    processors = profile.machine.get("processors_allowed") or 1
    busy = work * rate.value / processors if rate is not None else 0.0
    if share >= WAIT_MATTERS or busy >= WORK_MATTERS:
        return ""
    return f"the loop waits for data {share:.1%} of its time, and making samples takes {busy:.1%} of the processors"
