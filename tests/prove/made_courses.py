"""Courses of a made job: its losses fall, its data are random, and rounding makes a known difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

from suffice.records import Course

PARAMETERS = ("features.0.weight", "features.0.bias", "head.weight", "head.bias")
BUFFERS = ("features.1.running_mean", "features.1.num_batches_tracked")
STEPS, STEPS_OF_PASS, SAMPLES = 20, 8, 32
ROUNDING = 1e-7


def plain(*, seed: int = 0, steps: int = STEPS, draws: str = "") -> Course:
    """A course without a change; with other `draws` the data and the losses are others of the same distribution."""
    rng = Random(f"{seed} {draws}")
    level = Random(seed).gauss(0, 0.08)
    return Course(
        changes=(),
        seed=seed,
        steps=steps,
        losses=tuple(2 * math.exp(level - step / 100 + rng.gauss(0, 0.05)) for step in range(steps)),
        inputs=tuple(f"{seed} {draws} {step}" for step in range(steps)),
        indices=tuple(f"{step // STEPS_OF_PASS}:{seed} {step}" for step in range(steps)),
        reads={str(index): [f"{index} {rng.random()}" for _ in range(3)] for index in range(SAMPLES)},
    )


def compared(course: Course, rounding: float = 0.0, **fields: Any) -> Course:
    """The course as it is told when it was held against the baseline: it differs by this rounding."""
    errors = {
        "gradient_errors": dict.fromkeys(PARAMETERS, rounding),
        "state_errors": dict.fromkeys((*PARAMETERS, *BUFFERS), rounding),
        "losses": rounded(course.losses, rounding),
    }
    return replace(course, **{**errors, **fields})


def twin(course: Course, rounding: float = ROUNDING) -> Course:
    """The twin of a course."""
    return compared(course, rounding, twin_eps=rounding)


def changed(course: Course, rounding: float = ROUNDING, *, by: Sequence[str] = ("fused",), **fields: Any) -> Course:
    """The course with a change that rounds, unless `fields` say otherwise."""
    return compared(course, rounding, changes=tuple(by), **fields)


def rounded(losses: Sequence[float], by: float, *, since: int = 0) -> tuple[float, ...]:
    """The losses, from some step on larger by so much of themselves."""
    return tuple(loss * (1 + by) if step >= since else loss for step, loss in enumerate(losses))


def scaled_pairs(ratios: Sequence[float], *, steps: int = 16) -> list[tuple[Course, Course]]:
    """A pair of courses a ratio, the losses of the second being so many times those of the first."""
    baselines = [plain(seed=seed, steps=steps) for seed in range(len(ratios))]
    return [
        (course, changed(course, losses=tuple(loss * ratio for loss in course.losses)))
        for course, ratio in zip(baselines, ratios, strict=True)
    ]
