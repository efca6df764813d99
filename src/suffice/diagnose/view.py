"""A profile -> what the rules ask of it: shares of the loop, gauges while it trained; None for what it does not tell.

A GPU is judged by its own split: while it still works, the host's waiting costs nothing. Shares that bound a gain are
of the whole loop, evaluation included, so that the bounds of different rungs can be held against each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from suffice.measure.loading import WAIT_MATTERS
from suffice.records import Figure, Loader, Profile, Rank, Series, measured

LARGEST_SHARE = 0.999  # a split has no finer grain, and a bound must be a number


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """One rank of a profile: the one that the rules look at."""

    profile: Profile
    rank: Rank

    @property
    def on_gpu(self) -> bool:
        """Whether the model lay on a GPU."""
        return self.rank.device.startswith("cuda")

    @property
    def split(self) -> Mapping[str, Figure]:
        """The seconds of a step by part: the GPU's own where there are any, else the host's."""
        return self.rank.device_split or self.rank.split

    def step_share(self, *parts: str) -> float | None:
        """The share of a step that these parts take; None if none of them can be told."""
        total_s = sum(f.value for f in self.split.values())
        told = [self.split[p].value for p in parts if p in self.rank.split and p in self.split]
        return _share(sum(told) / total_s) if told and total_s > 0 else None

    def loop_share(self, *parts: str) -> float | None:
        """The same of the loop: of training and evaluation together."""
        share = self.step_share(*parts)
        return None if share is None else share * self.training_share

    @property
    def training_share(self) -> float:
        """Training's share of the loop; 1 where there is no evaluation."""
        training, evaluation = self.seconds("training_s"), self.seconds("evaluation_s")
        return _share(training / (training + evaluation)) if training > 0 and evaluation > 0 else 1.0

    @property
    def data_wait(self) -> float | None:
        """The share of the loop that waits for data, where it matters."""
        share = self.step_share("wait_for_data_s")
        return None if share is None or share < WAIT_MATTERS else share * self.training_share

    @property
    def loader(self) -> Loader | None:
        """The training loader that was waited for longest."""
        loaders = [each for each in self.rank.loaders if each.role == "training"]
        return max(loaders, key=lambda each: value_of(each.figures, "wait_s") or 0.0, default=None)

    @property
    def queueing(self) -> float | None:
        """The share of a fetch that queues for a processor: what tells whether there are free ones."""
        loader = self.loader
        queue, fetch = (value_of(loader.figures if loader else {}, n) for n in ("fetch_queueing_s", "fetch_s"))
        return None if queue is None or not fetch or fetch < 0 else _share(queue / fetch)

    @property
    def processors(self) -> float | None:
        """Processors that the job may use, by affinity and quota."""
        return _number(self.profile.machine.get("processors_allowed"))

    @property
    def threads(self) -> float | None:
        """Threads that one operation of this rank may use."""
        return _number(self.rank.facts.get("intra_op_threads"))

    @property
    def free_processors(self) -> float | None:
        """Processors that the job may use and that neither it nor, where they are seen, neighbours used.

        Beside neighbours `queueing` tells more, because they are counted over the whole run.
        """
        used, machine = self.gauge("processors_used"), _number(self.profile.machine.get("processors"))
        if used is None or self.processors is None:
            return None
        others = value_of(self.profile.figures, "processors_used_by_others") or 0.0
        # Of a machine with more processors than the job's own, neighbours use the rest first.
        theirs = max(0.0, others - max(0.0, (machine or 0.0) - self.processors))
        return max(0.0, self.processors - used.value - theirs)

    @property
    def world(self) -> tuple[Rank, ...]:
        """The ranks that train one model together."""
        return tuple(r for r in self.profile.ranks if (_number(r.facts.get("world_size")) or 1) > 1)

    def seconds(self, name: str) -> float:
        """A figure of the rank, 0 where it is absent."""
        return value_of(self.rank.figures, name) or 0.0

    def each_step(self, name: str) -> Sequence[float]:
        """A series of this rank, step by step, without the first one."""
        series = self._series(name, self.rank.rank)
        return series.values[1:] if series else ()

    def gauge(self, name: str) -> Figure | None:
        """The median of a quantity of the job or the machine while this rank trained; None without a reading."""
        series = self._series(name, None)
        read = [value for _, value in self.readings(name)]
        if series is None or not read:
            return None
        return measured(median(read), series.unit, method=f"median of {len(read)} readings in the loop")

    def readings(self, name: str) -> list[tuple[float, float]]:
        """The readings of such a quantity while this rank trained: (seconds, value)."""
        series, steps = self._series(name, None), self._series("step_s", self.rank.rank)
        if series is None:
            return []
        since, until = (steps.at_s[0], steps.at_s[-1]) if steps and steps.at_s else (float("-inf"), float("inf"))
        return [(at_s, value) for at_s, value in zip(series.at_s, series.values, strict=True) if since <= at_s <= until]

    def gpu_gauge(self, name: str) -> Figure | None:
        """The lowest gauge of the used GPUs, e.g. `utilization_gpu` in %; the run's mean where there is no series."""
        found = []
        for gpu in self.profile.machine.get("gpus", ()):
            key = f"gpu{gpu.get('index')}_{name}"
            figure = self.gauge(key) or self.profile.figures.get(key)
            found += [figure] if figure else []
        return min(found, key=lambda figure: figure.value, default=None)

    def _series(self, name: str, rank: int | None) -> Series | None:
        return next((s for s in self.profile.series if s.name == name and s.rank == rank and s.values), None)


def view_of(profile: Profile) -> View | None:
    """The rank to look at: the one that waits most for data if one does, else the one that trained longest."""
    views = [View(profile=profile, rank=rank) for rank in profile.ranks if rank.split]
    waiting = [view for view in views if view.data_wait is not None]
    if waiting:
        return max(waiting, key=lambda view: view.data_wait or 0.0)
    return max(views, key=lambda view: view.seconds("training_s"), default=None)


def bound_of(share: float) -> float:
    """Amdahl's bound: the most that is gained when this share of the time vanishes."""
    return 1 / (1 - min(_share(share), LARGEST_SHARE))


def value_of(figures: Mapping[str, Figure], name: str) -> float | None:
    """The value of a figure, or None."""
    figure = figures.get(name)
    return None if figure is None else figure.value


def some(figures: Mapping[str, Figure | None]) -> dict[str, Figure]:
    """Those that are known."""
    return {name: figure for name, figure in figures.items() if figure is not None}


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and value > 0 else None
