"""Two live jobs -> what a step takes in each, by blocks of steps in turn, while the other waits for orders."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import psutil

from suffice.measure.meters.tree import ProcessTree
from suffice.prove.rig import Rig
from suffice.prove.trial import Arm

BLOCKS, FIRST_STEPS = 4, 5
LOOK_S, STILL_S, PATIENCE_S = 0.05, 0.011, 2.0
"""A job that used a tick of processor time at most between two looks waits; one that never does is not waited for."""


def in_turn(rigs: Mapping[Arm, Rig], order: Sequence[Arm], steps: int) -> dict[Arm, list[float]]:
    """Seconds of blocks of steps by the three clocks of `Pairs`, made in this order, in the other, and so on."""
    told: dict[Arm, list[float]] = {arm: [0.0, 0.0, 0.0] for arm in Arm}
    still = _Stillness(rigs.values())
    for number in range(BLOCKS):
        for arm in order if number % 2 == 0 else reversed(order):
            still.wait()
            told[arm] = [sum(both) for both in zip(told[arm], _one_block(rigs[arm], steps), strict=True)]
    return told


def _one_block(rig: Rig, steps: int) -> tuple[float, float, float]:
    """In one process: where the script came to its end, the next one's first steps don't count."""
    warm_up = 1
    while True:
        starts = rig.starts
        found = rig.block(steps, warm_up=warm_up)
        if rig.starts == starts:
            return found
        warm_up = FIRST_STEPS


class _Stillness:
    """Waits until jobs that wait for orders use no processor: threads spin for a while, workers fetch ahead."""

    def __init__(self, rigs: Iterable[Rig]) -> None:
        self.rigs = list(rigs)
        self.trees: dict[int, ProcessTree] = {}

    def wait(self) -> None:
        """Until then, or until patience ends."""
        until_s, used_s = time.monotonic() + PATIENCE_S, self._used_s()
        while time.monotonic() < until_s:
            time.sleep(LOOK_S)
            before_s, used_s = used_s, self._used_s()
            if used_s - before_s <= STILL_S:
                return

    def _used_s(self) -> float:
        pids = [rig.process.process.pid for rig in self.rigs if rig.process is not None]
        trees = [self.trees.setdefault(pid, ProcessTree(pid)) for pid in pids]
        total_s = 0.0
        for process in (process for tree in trees for process in tree.refresh()):
            with suppress(psutil.Error):
                times = process.cpu_times()
                total_s += times.user + times.system
        return total_s
