"""Courses that differ in a known way: what is the same passes, and each fault is refused by the test that is for it."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suffice.prove.equality import judge_exact, judge_long, judge_numeric, judge_stochastic, numeric_faults
from suffice.records import Course
from tests.prove.made_courses import (
    BUFFERS,
    PARAMETERS,
    ROUNDING,
    STEPS,
    STEPS_OF_PASS,
    changed,
    compared,
    plain,
    rounded,
    scaled_pairs,
    twin,
)

BASE = plain()
SEEDS = range(5)
LOGS = st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=8)
FROZEN = {index: [seen[0]] * 3 for index, seen in BASE.reads.items()}


NUMERIC_FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "a first loss that is off": ("loss", {"losses": rounded(BASE.losses, 1e-4)}),
    "a later loss that is off": ("later loss", {"losses": rounded(BASE.losses, 1e-2, since=5)}),
    "a gradient that is off": ("gradients", {"gradient_errors": {**dict.fromkeys(PARAMETERS, 0.0), "head.bias": 4e-3}}),
    "a gradient that is missing": ("gradients", {"zero_gradients": ("head.bias",)}),
    "statistics updated twice": ("state", {"state_errors": {BUFFERS[0]: 0.01, BUFFERS[1]: 1.0}}),
    "weights of another training": ("state", {"state_errors": {"head.weight": 0.3}}),
    "weights of another type": ("state", {"state_errors": {"head.weight": math.inf}}),
    "other inputs": ("inputs", {"inputs": (*BASE.inputs[:12], "x", *BASE.inputs[13:])}),
    "another order": ("order", {"indices": ("0:x", *BASE.indices[1:])}),
    "frozen samples": ("reads", {"reads": FROZEN}),
    "other samples": ("reads", {"reads": {**BASE.reads, "3": ["x", "y", "z"]}}),
    "an early end": ("end", {"losses": BASE.losses[:7]}),
    "a loss that is no number": ("end", {"losses": (*BASE.losses[:9], math.nan, *BASE.losses[10:])}),
    "a loss in half precision": ("precision", {"losses": tuple(round(loss * 64) / 64 for loss in BASE.losses)}),
}


@pytest.mark.parametrize(("weights", "met"), [(1e-7, False), (6e-3, True), (0.3, False)])
def test_a_buffer_may_stray_as_far_as_the_weights_may_and_did(weights: float, met: object) -> None:
    """What they made from other weights is other as well, as long as the weights are no others by far."""
    errors = {**dict.fromkeys(PARAMETERS, weights), BUFFERS[0]: 5e-3, BUFFERS[1]: 0.0}
    assert judge_numeric(BASE, twin(BASE), changed(BASE, state_errors=errors)).met is met


@pytest.mark.parametrize(("test", "fields"), NUMERIC_FAULTS.values(), ids=NUMERIC_FAULTS)
def test_each_fault_is_found_by_the_test_for_it(test: str, fields: dict[str, Any]) -> None:
    """Of a change that should only round, and of one that should be exact, whatever its rounding is."""
    course = changed(BASE, **fields)
    assert test in {fault.test for fault in numeric_faults(BASE, twin(BASE), course)}
    judged = judge_numeric(BASE, twin(BASE), course)
    assert judged.met is False
    assert "fused" in judged.reason
    assert judge_exact(BASE, compared(BASE), changed(BASE, 0.0, **fields)).met is False


@given(st.floats(0, 1), st.sampled_from(["gradient_errors", "state_errors"]))
def test_what_differs_by_rounding_passes(share: float, part: str) -> None:
    """Whatever errors are no larger than the twin's are rounding, though they are not exact."""
    course = changed(BASE, share * ROUNDING)
    errors = {name: share * ROUNDING * index for index, name in enumerate(getattr(course, part))}
    judged = judge_numeric(BASE, twin(BASE), replace(course, **{part: errors}))
    assert judged.met is True, judged.reason


@given(st.sampled_from((*PARAMETERS, *BUFFERS)), st.floats(1.01, 1e6), st.floats(1e-8, 1e-2))
def test_a_tensor_that_is_off_by_more_is_named(name: str, factor: float, rounding: float) -> None:
    """Whichever tensor strays further than ten twins and the floor, the reason names it."""
    part, floor = ("gradient_errors", 1e-3) if name in PARAMETERS else ("state_errors", 1e-3)
    course = changed(BASE, rounding)
    errors = {**getattr(course, part), name: factor * max(floor, 10 * rounding)}
    judged = judge_numeric(BASE, twin(BASE, rounding), replace(course, **{part: errors}))
    assert judged.met is False
    assert name in judged.reason


def test_gradients_that_vanish_under_compile_are_told_in_words() -> None:
    """The first loss is the same and the twin's gradients are there: the compiler is named, and what to do."""
    errors = {**dict.fromkeys(PARAMETERS, 1e-7), "features.0.weight": 1.0, "features.0.bias": 1.0}
    zero = "features.0.weight", "features.0.bias"
    course = changed(BASE, 0.0, by=("compile (mode=default)",), gradient_errors=errors, zero_gradients=zero)
    assert judge_numeric(BASE, twin(BASE), course).reason == (
        "the gradients of features.0.weight and 1 more are zero with compile (mode=default) (relative error 1.0), "
        "although the first loss is the same: torch.compile computes this model's backward pass wrongly; "
        "do not train with it"
    )


def test_a_gradient_that_is_zero_in_the_twin_as_well_is_no_fault() -> None:
    """Where a rounding of the weights lets it vanish, rounding explains it."""
    also = replace(twin(BASE), zero_gradients=("features.0.bias",))
    assert judge_numeric(BASE, also, changed(BASE, zero_gradients=("features.0.bias",))).met is True


def test_one_bit_is_too_much_for_an_exact_change() -> None:
    """A loss that differs in its last bit refuses an exact change, and is rounding for a numeric one."""
    losses = (*BASE.losses[:7], math.nextafter(BASE.losses[7], 9), *BASE.losses[8:])
    again, course = compared(BASE), changed(BASE, 0.0, losses=losses)
    judged = judge_exact(BASE, again, course)
    assert judged.met is False
    assert "step 8" in judged.reason
    assert judge_numeric(BASE, twin(BASE), course).met is True


@pytest.mark.parametrize("part", ["gradient_errors", "state_errors"])
def test_the_smallest_error_of_a_tensor_is_too_much_for_an_exact_change(part: str) -> None:
    """Gradients and state must have the same bits."""
    course = changed(BASE, 0.0)
    course = replace(course, **{part: {**getattr(course, part), "head.weight": 1e-12}})
    judged = judge_exact(BASE, compared(BASE), course)
    assert judged.met is False
    assert "head.weight" in judged.reason


def test_an_exact_change_passes_and_says_what_was_compared() -> None:
    """All that is equal is counted, so that the reader knows what the verdict stands on."""
    judged = judge_exact(BASE, compared(BASE), changed(BASE, 0.0))
    assert judged.met is True
    assert judged.reason == (
        "bitwise equal over 20 steps: 20 losses, 20 inputs, 4 gradients, 6 tensors of the state, 32 samples read again"
    )


def test_a_job_that_cannot_be_repeated_allows_for_rounding() -> None:
    """Two runs without a change differ: as much is allowed to the change, and more is not."""
    again = compared(BASE, 1e-6)
    near, far = changed(BASE, 5e-6), changed(BASE, losses=rounded(BASE.losses, 1e-3))
    assert judge_exact(BASE, again, near).met is True
    assert "can't be repeated" in judge_exact(BASE, again, near).reason
    assert judge_exact(BASE, again, far).met is False


def test_inputs_that_hang_on_the_weights_are_not_compared() -> None:
    """Where the twin's inputs differ too (a critic judging generated samples), they prove nothing."""
    others = tuple(f"other {each}" for each in BASE.inputs)
    also = replace(twin(BASE), inputs=others)
    assert judge_numeric(BASE, also, changed(BASE, inputs=tuple(f"third {each}" for each in BASE.inputs))).met is True


@pytest.mark.parametrize(
    "fields",
    [{"gradient_errors": {}}, {"state_errors": {}}, {"reads": {}}, {"gradient_errors": {}, "notes": ("no room",)}],
)
def test_what_was_not_compared_is_not_held_to_be_equal(fields: dict[str, Any]) -> None:
    """Losses alone prove nothing: without gradients, state and second reads there is no verdict; a note is told."""
    course = changed(BASE, 0.0, **fields)
    for judged in (judge_exact(BASE, compared(BASE), course), judge_numeric(BASE, twin(BASE), course)):
        assert judged.met is None
        assert all(note in judged.reason for note in course.notes)


def test_losses_that_are_unknown_in_both_are_no_difference() -> None:
    """A job that never calls `backward` shows no loss; its gradients and state still count."""
    unknown = replace(BASE, losses=(math.nan,) * STEPS)
    assert judge_exact(unknown, compared(unknown), changed(unknown, 0.0)).met is True
    assert judge_numeric(unknown, twin(unknown), changed(unknown)).met is True


@given(st.lists(st.floats(0.015625, 1024, width=16), min_size=3, max_size=8))
def test_losses_of_half_precision_are_recognised(losses: list[float]) -> None:
    """Whatever numbers half precision holds; those of the baseline have more bits."""
    baseline = replace(BASE, losses=tuple(loss * (1 + 1e-5) for loss in losses))
    course = changed(baseline, losses=tuple(losses))
    tests = {fault.test for fault in numeric_faults(baseline, twin(baseline), course)}
    assert "precision" in tests


# ---- the last half


@given(LOGS)
def test_the_last_half_is_judged_alike_from_both_sides(logs: list[float]) -> None:
    """A loss that is lower by a factor is judged as one that is higher by it."""
    there = judge_long(scaled_pairs([math.exp(each) for each in logs]))
    back = judge_long(scaled_pairs([math.exp(-each) for each in logs]))
    assert there.met == back.met


@given(LOGS, st.floats(1e-3, 1e3))
def test_the_unit_of_the_loss_does_not_matter(logs: list[float], factor: float) -> None:
    """Losses in another unit are judged alike."""
    pairs = scaled_pairs([math.exp(each) for each in logs])
    scaled = [tuple(replace(c, losses=tuple(x * factor for x in c.losses)) for c in pair) for pair in pairs]
    assert judge_long(pairs).met == judge_long(scaled).met  # type: ignore[arg-type]  # pairs are what was taken apart


@pytest.mark.parametrize(
    ("logs", "met"),
    [
        ([0.0] * 5, True),
        ([0.002, -0.001, 0.003, 0.0, 0.001], True),
        ([0.010, 0.016, 0.012, 0.015, 0.013], False),
        ([-0.36, -0.40, -0.38, -0.41, -0.37], False),
        ([0.86, 0.9, 0.8, 0.85, 0.9], False),
        ([0.05, -0.06, 0.02, -0.03, 0.04], None),
        ([0.009, 0.009, 0.009, 0.0091, 0.009], True),
        ([0.001], None),
        ([], None),
    ],
)
def test_the_last_half_over_paired_seeds(logs: list[float], met: object) -> None:
    """No difference passes, a small but sure one does not, a better loss does not, and noise decides nothing."""
    assert judge_long(scaled_pairs([math.exp(each) for each in logs])).met is met


def test_an_undecided_last_half_says_how_many_seeds_would_do() -> None:
    """The reader learns what it would take."""
    judged = judge_long(scaled_pairs([math.exp(each) for each in (0.05, -0.06, 0.02, -0.03, 0.04)]))
    assert "seeds usually show it" in judged.reason


def test_a_chaotic_job_has_a_wider_margin() -> None:
    """Where a rounding of the weights alone moves the last half by 5 %, 2 % prove nothing against a change."""
    logs = (0.03, -0.02, 0.025, -0.03, 0.01, 0.02)
    pairs = scaled_pairs([math.exp(each) for each in logs])
    twins = scaled_pairs([1.05, 0.95, 1.04, 0.96, 1.05, 0.97])
    assert judge_long(pairs).met is None
    assert judge_long(pairs, twins=twins).met is True


def test_losses_below_zero_are_compared_by_their_difference() -> None:
    """A log-likelihood may be negative."""
    pairs = [tuple(replace(c, losses=tuple(x - 9 for x in c.losses)) for c in p) for p in scaled_pairs([1.0, 1.0])]
    assert judge_long(pairs).met is True  # type: ignore[arg-type]  # pairs are what was taken apart


def test_a_course_that_breaks_off_or_diverges_is_refused() -> None:
    """Whatever the other seeds say."""
    good = scaled_pairs([1.0, 1.0, 1.0])
    base = good[0][0]
    for losses in (base.losses[:5], (*base.losses[:-1], math.inf)):
        judged = judge_long([*good, (base, changed(base, losses=losses))])
        assert judged.met is False


# ---- other draws


def other_draws(seed: int, **fields: Any) -> Course:
    """A course with a change that draws other numbers of the same distribution."""
    course = plain(seed=seed, steps=160, draws="other")
    return changed(course, by=("loader-workers (workers=2)",), losses=course.losses, **fields)


BASELINES = [plain(seed=seed, steps=160) for seed in SEEDS]


def test_other_draws_of_the_same_distribution_pass() -> None:
    """Other inputs, other losses, but the same order, fresh samples, and the same loss on average."""
    judged = judge_stochastic(BASELINES, [other_draws(seed) for seed in SEEDS])
    assert judged.met is True, judged.reason
    assert "160 of them are drawn anew" in judged.reason


def frozen_reads(seed: int) -> dict[str, list[str]]:
    """Each sample looks the same each time."""
    return {index: [each[0]] * 3 for index, each in other_draws(seed).reads.items()}


STOCHASTIC_FAULTS: dict[str, tuple[str, Any]] = {
    "frozen": ("frozen or lost", lambda seed: {"reads": frozen_reads(seed)}),
    "another order": ("another order", lambda seed: {"indices": ("0:x", *plain(seed=seed, steps=160).indices[1:])}),
    "no later shuffle": (
        "shuffled anew",
        lambda seed: {"indices": tuple(f"{i // STEPS_OF_PASS}:{seed} {i % STEPS_OF_PASS}" for i in range(160))},
    ),
    "a batch twice": ("a second time", lambda seed: {"inputs": (f"{seed}", "b") * 80}),
    "a better loss": ("lower loss", lambda seed: {"losses": rounded(other_draws(seed).losses, -0.3)}),
}


@pytest.mark.parametrize(("words", "fields"), STOCHASTIC_FAULTS.values(), ids=STOCHASTIC_FAULTS)
def test_other_draws_that_are_not_of_the_same_distribution_are_refused(words: str, fields: Any) -> None:
    """What is frozen, left out of order, repeated, or trains otherwise is found."""
    judged = judge_stochastic(BASELINES, [replace(other_draws(seed), **fields(seed)) for seed in SEEDS])
    assert judged.met is False
    assert words in judged.reason


@given(st.integers(0, 2**32), st.sampled_from([0.3, 0.5, 0.9]))
def test_samples_that_are_seldom_changed_are_not_taken_for_frozen(seed: int, share: float) -> None:
    """A flip with a probability leaves some samples as they were, in both arms alike."""
    rng = Random(seed)

    def flipped() -> dict[str, list[str]]:
        return {str(i): [f"{i} {rng.random() < share}" for _ in range(3)] for i in range(64)}

    base = [replace(course, reads=flipped()) for course in BASELINES[:2]]
    judged = judge_stochastic(base, [replace(other_draws(course.seed), reads=flipped()) for course in base])
    assert "frozen" not in judged.reason


def test_data_without_randomness_must_stay_what_they_are() -> None:
    """Samples that look alike at each read must look so with the change."""
    fixed = {str(index): [f"{index}"] * 3 for index in range(32)}
    base = [replace(course, reads=fixed) for course in BASELINES]
    same = [replace(other_draws(seed), reads=fixed) for seed in SEEDS]
    other = [replace(course, reads={**fixed, "4": ["x"] * 3}) for course in same]
    assert judge_stochastic(base, same).met is True
    assert judge_stochastic(base, other).met is False


def test_courses_without_a_common_seed_are_not_judged() -> None:
    """Nothing can be said of their order, and little of their losses."""
    assert judge_stochastic(BASELINES, [other_draws(99)]).met is None
    assert judge_stochastic(BASELINES, [replace(other_draws(0), reads={})]).met is None
