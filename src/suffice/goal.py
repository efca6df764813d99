"""suffice.toml and the command line's options -> the `Goal`: where the job runs, what it costs, what it must reach."""

from __future__ import annotations

import math
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from suffice.errors import GoalError
from suffice.records import Goal

FILE = "suffice.toml"
KINDS: dict[str, tuple[type, ...]] = {
    "region": (str,),
    "instance": (str,),
    "rate_usd_per_h": (int, float),
    "use_instance_metadata": (bool,),
    "metric": (str,),
    "lower_is_better": (bool,),
    "floor": (int, float),
    "deadline_h": (int, float),
    "budget_usd": (int, float),
    "minimise": (str,),
}
MINIMISED = ("time", "energy", "cost", "carbon")


def read_goal(folder: Path, **options: Any) -> Goal:
    """The goal of the `[goal]` table in the folder's suffice.toml, if there is one; options that are not None win.

    Raises:
        GoalError: if the file can't be read, or holds a name or a value that a goal can't have.
    """
    path = folder / FILE
    found: dict[str, Any] = {}
    if path.is_file():
        try:
            found = dict(tomllib.loads(path.read_text()).get("goal", {}))
        except (OSError, tomllib.TOMLDecodeError, TypeError, ValueError) as error:
            raise GoalError(f"{path} can't be read: {error}") from error
    for name, value in found.items():
        _check(path, name, value)
    given = {name: value for name, value in options.items() if value is not None}
    goal = Goal(**{**found, **given})
    _check_values(goal)
    return goal


def _check_values(goal: Goal) -> None:
    rate = goal.rate_usd_per_h
    if rate is not None and not (math.isfinite(rate) and rate >= 0):
        raise GoalError(f"a rate must be 0 USD an hour or more, found {rate}")
    for name in ("deadline_h", "budget_usd"):
        most = getattr(goal, name)
        if most is not None and not (math.isfinite(most) and most > 0):
            raise GoalError(f"{name} must be more than 0, found {most}")
    if goal.minimise not in MINIMISED:
        raise GoalError(f"{goal.minimise!r} can't be minimised", hint=f"these can: {', '.join(MINIMISED)}")
    if goal.floor is not None and (goal.metric is None or not math.isfinite(goal.floor)):
        raise GoalError("a floor needs a number and a metric", hint="--metric 'accuracy: ([0-9.]+)' --floor 0.90")


def _check(path: Path, name: str, value: Any) -> None:
    known = [f.name for f in fields(Goal)]
    if name not in known:
        raise GoalError(f"{path}: a goal has no {name!r}", hint=f"it has {', '.join(known)}")
    if type(value) not in KINDS[name]:
        kinds = " or ".join(kind.__name__ for kind in KINDS[name])
        raise GoalError(f"{path}: {name} must be {kinds}, found {value!r}")
