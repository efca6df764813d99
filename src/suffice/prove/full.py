"""Whole runs of the job, with a plan and without, over paired seeds -> whether the trained model is as good.

Each pair of runs shares its seeds: the job's own are shifted by the same number in both. The metric is what a run told
last, by `suffice.log` under a name, or by printing what matches a pattern with one group.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suffice.errors import GoalError, RigError
from suffice.prove.workshop import METRICS, Workshop
from suffice.records import Change

POLL_S = 0.2
EXAMPLE = "--metric 'accuracy: ([0-9.]+)', or --metric accuracy for what the job tells by suffice.log(accuracy=…)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A figure of quality: the name by which a run logs it, or the pattern that finds it in what a run prints."""

    name: str
    pattern: re.Pattern[str] | None = None
    higher_is_better: bool = True

    @staticmethod
    def parse(text: str, *, higher_is_better: bool = True) -> Metric:
        """The metric of a name or of a pattern.

        Raises:
            GoalError: if it is neither a name nor a regular expression with exactly one group.
        """
        if text.isidentifier():
            return Metric(name=text, higher_is_better=higher_is_better)
        try:
            pattern = re.compile(text)
        except re.error as error:
            raise GoalError(f"the metric's pattern {text!r} can't be read: {error}", hint=EXAMPLE) from error
        if pattern.groups != 1:
            raise GoalError(f"the metric's pattern needs one group, {text!r} has {pattern.groups}", hint=EXAMPLE)
        return Metric(name=text, pattern=pattern, higher_is_better=higher_is_better)

    def read(self, output: Path) -> float:
        """The last value that was printed into that file, or logged beside it.

        Raises:
            GoalError: if there is none, or it is no number.
        """
        if self.pattern is None:
            return self._logged(output.with_name(METRICS))
        return self._printed(self.pattern, output.read_text(errors="replace"))

    def _logged(self, path: Path) -> float:
        lines = path.read_text().splitlines() if path.exists() else []
        told = [found[self.name] for line in lines if self.name in (found := json.loads(line))]
        if not told:
            raise GoalError(f"the run told no {self.name}", hint=f"call suffice.log({self.name}=…) at its end")
        return float(told[-1])

    @staticmethod
    def _printed(pattern: re.Pattern[str], output: str) -> float:
        found = pattern.findall(output)
        if not found:
            raise GoalError(f"nothing that the run printed matches {pattern.pattern!r}", hint=EXAMPLE)
        try:
            return float(found[-1])
        except ValueError:
            raise GoalError(f"{found[-1]!r}, which {pattern.pattern!r} found, is no number") from None


class PlanFailsError(RigError):
    """A whole run failed with the changes that passed all trials, and not without them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FullPair:
    """The metric and the seconds of two whole runs with the same seeds."""

    plain: float
    changed: float
    plain_s: float
    changed_s: float


def full_pairs(
    workshop: Workshop,
    changes: Sequence[Change],
    metric: Metric,
    *,
    seeds: int,
    on_wait: Callable[[], None] = lambda: None,
) -> Iterator[FullPair]:
    """Run the job to its end without and with the changes, for one seed after the other.

    Raises:
        RigError: if a run without them fails.
        PlanFailsError: if a run with them does.
        GoalError: if a run does not print the metric.
    """
    for offset in range(seeds):
        plain, plain_s = _run(workshop, (), metric, offset, on_wait)
        try:
            changed, changed_s = _run(workshop, changes, metric, offset, on_wait)
        except RigError as error:
            raise PlanFailsError(f"with the plan {error}") from error
        yield FullPair(plain=plain, changed=changed, plain_s=plain_s, changed_s=changed_s)


def _run(
    workshop: Workshop, changes: Sequence[Change], metric: Metric, offset: int, on_wait: Callable[[], None]
) -> tuple[float, float]:
    listed = [change.order for change in changes]
    order: dict[str, Any] = {"changes": listed, "seeds": {"seed": 0, "seed_offset": offset}}
    begun_s = time.monotonic()
    process = workshop.start(order)
    try:
        while process.exit_code is None:
            on_wait()
            time.sleep(POLL_S)
    finally:
        process.stop()
    if process.exit_code:
        raise RigError(f"a whole run of the job ended with exit code {process.exit_code}: {process.tail()}")
    return metric.read(process.output), time.monotonic() - begun_s
