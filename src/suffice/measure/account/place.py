"""A goal in, the region that the job runs in out, with the reason: named, asked for, or not known; never guessed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from suffice.aws.instance_metadata import InstanceMetadata, NoInstanceMetadataError, read_instance_metadata
from suffice.errors import GoalError
from suffice.records import Goal
from suffice.tables import Region, find_region, world


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a job runs; `region` is the world's row and `known` false where nobody said."""

    region: Region
    known: bool
    reason: str
    instance: str | None = None
    life_cycle: str | None = None


def find_place(goal: Goal, ask: Callable[[], InstanceMetadata] = read_instance_metadata) -> Place:
    """The place that the goal names, else the one the instance's metadata names if the goal allows asking, else none.

    Raises:
        GoalError: if the goal names a region that the table does not have.
    """
    if not goal.use_instance_metadata:
        return _without_metadata(goal, hint="; name it, or allow the instance's metadata to be asked")
    try:
        metadata = ask()
    except NoInstanceMetadataError as error:
        return _without_metadata(goal, hint=f": {error}")
    return _with_metadata(goal, metadata)


def _without_metadata(goal: Goal, hint: str) -> Place:
    if goal.region is not None:
        reason = f"the goal names {goal.region}"
        return Place(region=_named(goal.region), known=True, reason=reason, instance=goal.instance)
    reason = f"the region is not known, so the range is the world's{hint}"
    return Place(region=world(), known=False, reason=reason, instance=goal.instance)


def _with_metadata(goal: Goal, metadata: InstanceMetadata) -> Place:
    if goal.region is not None:
        region, known = _named(goal.region), True
    else:
        region, known = _listed(metadata.region)
    return Place(
        region=region,
        known=known,
        reason=_reason(goal, metadata, known=known),
        instance=goal.instance or metadata.instance_type,
        life_cycle=metadata.life_cycle,
    )


def _named(code: str) -> Region:
    try:
        return find_region(code)
    except ValueError as error:
        raise GoalError(str(error), hint="without a region the carbon is given with the world's range") from error


def _listed(code: str) -> tuple[Region, bool]:
    """The region and whether the table has it: AWS opens regions faster than tables are refreshed."""
    try:
        return find_region(code), True
    except ValueError:
        return world(), False


def _reason(goal: Goal, metadata: InstanceMetadata, *, known: bool) -> str:
    if not known:
        return (
            f"the instance's metadata names {metadata.region}, which the table of regions does not have yet, so the "
            "range is the world's"
        )
    if goal.region is None:
        return f"the instance's metadata names {metadata.region}"
    if goal.region == metadata.region:
        return f"the goal names {goal.region}, and so does the instance's metadata"
    return f"the goal names {goal.region}; the instance's metadata names {metadata.region}, and the goal has the say"
