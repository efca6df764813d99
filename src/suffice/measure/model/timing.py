"""Forms that are open in workers -> the seconds of their calls, in short slices by turns and in random order.

What else the machine does hits all of them alike that way; a ratio is that of the slices of one round.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from suffice.records import Figure, measured
from suffice.run.worker import Worker

SLICE_S = 0.1
FEWEST_CALLS = 3
RESAMPLES = 500
TIE = 0.05
TOKENS = 16


@dataclass(kw_only=True, slots=True)
class Times:
    """The seconds of each call of a form, slice by slice, and the processor seconds of each slice."""

    slices: list[list[float]] = field(default_factory=list)
    processor_s: list[float] = field(default_factory=list)

    @property
    def calls(self) -> list[float]:
        """All of them, the quickest first."""
        return sorted(second for each in self.slices for second in each)

    @property
    def processor_s_per_call(self) -> float:
        """The median over slices."""
        each = zip(self.processor_s, self.slices, strict=True)
        return statistics.median(used_s / len(calls) for used_s, calls in each)

    def latency(self, share: float) -> Figure:
        """The time within which this share of the calls ended; its range is that of the slices' medians."""
        calls = self.calls
        value = calls[min(len(calls) - 1, int(share * len(calls)))]
        medians = [statistics.median(each) for each in self.slices]
        low, high = min(*medians, value), max(*medians, value)
        return measured(value, "s", low=low, high=high, method=f"{len(calls)} calls in {len(medians)} slices")


def by_turns(
    workers: Mapping[str, Worker], size: int, *, rounds: int, rng: Random, fewest: int = FEWEST_CALLS
) -> dict[str, Times]:
    """Time calls with `size` samples of each, round by round; a slice has `fewest` calls at least.

    Raises:
        WorkerError: if one of them fails.
    """
    found = {name: Times() for name in workers}
    for _ in range(rounds):
        for name in rng.sample(list(workers), len(workers)):
            told = workers[name].call("suffice.form.calls:time_calls", size, SLICE_S, fewest=fewest)
            found[name].slices.append(told["calls"])
            found[name].processor_s.append(told["processor_s"])
    return found


def tokens_by_turns(
    workers: Mapping[str, Worker], *, rounds: int, rng: Random
) -> tuple[dict[str, Times], dict[str, list[float]]]:
    """Of each language model the times of further tokens, a slice for each round, and the seconds to the first one.

    Raises:
        WorkerError: if one of them fails.
    """
    found: dict[str, Times] = {name: Times() for name in workers}
    first: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(rounds):
        for name in rng.sample(list(workers), len(workers)):
            told = workers[name].call("suffice.form.calls:time_tokens", TOKENS)
            found[name].slices.append(told["calls"])
            found[name].processor_s.append(told["processor_s"])
            first[name].append(told["first_s"])
    return found, first


def ratio(slow: Times, fast: Times, rng: Random) -> Figure:
    """How many times as fast: the median over rounds, with the 95 % interval of its bootstrap."""
    each = [
        statistics.median(first) / statistics.median(second)
        for first, second in zip(slow.slices, fast.slices, strict=True)
    ]
    medians = sorted(statistics.median(rng.choices(each, k=len(each))) for _ in range(RESAMPLES))
    low, high = medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES) - 1]
    value = statistics.median(each)
    method = f"median of {len(each)} rounds by turns, bootstrap of 95 %"
    return measured(value, "x", low=min(low, value), high=max(high, value), method=method)


def fastest(times: Mapping[str, Times], simplicity: Mapping[str, Any]) -> str:
    """The quickest form; of those within a tie of it the simplest (the least), and of the simplest the quickest."""
    medians = {name: statistics.median(each.calls) for name, each in times.items()}
    tied = [name for name, median in medians.items() if median <= min(medians.values()) * (1 + TIE)]
    return min(tied, key=lambda name: (simplicity[name], medians[name]))
