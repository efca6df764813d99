"""Simulated machines whose truth is known: a seed in, paired step times out, as noisy as a shared machine or less."""

from __future__ import annotations

import math
from random import Random

from suffice.prove.trial import Arm

STEP_S = 0.01
KINDS = ("steady", "heavy", "drifting", "autocorrelated", "shared")


class Machine:
    """Steps whose logarithms scatter by about `spread`; the changed ones are `1 + gain` times as fast.

    `steady`: independent and normal. `heavy`: Student's t with two degrees of freedom, so without a variance.
    `drifting`: steps get slower by half over a hundred pairs, in waves. `autocorrelated`: each step keeps 95 % of the
    last one's deviation. `shared`: all of it, with neighbours that start and slow several steps down up to tenfold.
    """

    def __init__(self, kind: str, *, gain: float, spread: float, seed: int) -> None:
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no kind of noise; there are {', '.join(KINDS)}")
        self._kind, self._gain, self._spread = kind, gain, spread
        self._rng = Random(f"machine {kind} {seed}")
        self._steps, self._level, self._neighbour = 0, 0.0, 0.0

    def __call__(self, first: Arm) -> tuple[float, float]:
        """A pair: the seconds of the plain step and of the changed one, the `first` of them measured first."""
        ahead, behind = self._step(), self._step()
        plain, changed = (ahead, behind) if first is Arm.PLAIN else (behind, ahead)
        return plain, changed / (1 + self._gain)

    def _step(self) -> float:
        self._steps += 1
        noise = self._rng.gauss(0, self._spread)
        if self._kind == "heavy" or (self._kind == "shared" and self._rng.random() < 0.1):
            noise /= math.sqrt(self._rng.expovariate(1.0))
        if self._kind in {"drifting", "shared"}:
            noise += 0.002 * self._steps + 0.2 * math.sin(self._steps / 7)
        if self._kind in {"autocorrelated", "shared"}:
            self._level = 0.95 * self._level + noise * 0.3
            noise += self._level
        if self._kind == "shared":
            started = self._rng.random() < 0.03
            self._neighbour = self._rng.uniform(0.1, 2.3) if started else 0.6 * self._neighbour
            noise += self._neighbour
        return STEP_S * math.exp(noise)


def log_ratios(kind: str, pairs: int, *, gain: float, spread: float, seed: int) -> list[float]:
    """The logarithms of plain over changed of so many pairs, each in an order that a coin decided."""
    machine, coin = Machine(kind, gain=gain, spread=spread, seed=seed), Random(seed)
    times = [machine(coin.choice((Arm.PLAIN, Arm.CHANGED))) for _ in range(pairs)]
    return [math.log(plain / changed) for plain, changed in times]
