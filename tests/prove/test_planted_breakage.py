"""A real job, broken in the ways in which a technique can break one: the right test refuses each, the harmless pass.

The job is tests/jobs/breakage.py, its courses are recorded inside it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.prove.breakage import COMPILE, HARMLESS, PLANTED, Bench, Breakage

SHORT = [each for each in PLANTED if not each.long]
SHORT_HARMLESS = [each for each in HARMLESS if not each.long]
SEEDS = range(5)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The short courses of all of them."""
    return Bench(tmp_path_factory.mktemp("courses"), [*SHORT, *SHORT_HARMLESS])


@pytest.fixture(scope="module")
def long_bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The long courses of those that need them."""
    chosen = [each for each in (*PLANTED, *HARMLESS) if each.long or each.name in {"bf16 weights", "bf16 autocast"}]
    return Bench(tmp_path_factory.mktemp("long"), chosen, SEEDS)


@pytest.mark.parametrize("each", SHORT, ids=lambda each: each.name)
def test_a_planted_fault_is_refused_by_the_test_for_it(bench: Bench, each: Breakage) -> None:
    """20 steps of one seed are enough for all that a change at the same draws can break."""
    judged = bench.judge(each)
    assert judged.met is False, judged.reason
    assert each.test in {fault.test for fault in bench.faults(each)}
    assert each.name in judged.reason


@pytest.mark.parametrize("each", SHORT_HARMLESS, ids=lambda each: each.name)
def test_a_harmless_change_passes(bench: Bench, each: Breakage) -> None:
    """Nothing at all, and what only rounds: another optimiser kernel, another memory format, another type."""
    judged = bench.judge(each)
    assert judged.met is True, judged.reason


@pytest.mark.slow
@pytest.mark.parametrize("each", [e for e in PLANTED if e.long], ids=lambda each: each.name)
def test_other_draws_with_a_fault_are_refused(long_bench: Bench, each: Breakage) -> None:
    """Where the draws may differ, order, second reads and the last half of several seeds find it."""
    judged = long_bench.judge(each)
    assert judged.met is False, judged.reason
    assert each.test is not None
    assert each.test in judged.reason


@pytest.mark.slow
def test_other_draws_without_a_fault_pass(long_bench: Bench) -> None:
    """Workers draw other augmentation: nothing else has changed."""
    (workers,) = (each for each in HARMLESS if each.long)
    judged = long_bench.judge(workers)
    assert judged.met is True, judged.reason


@pytest.mark.slow
@pytest.mark.parametrize(("name", "met"), [("bf16 weights", False), ("bf16 autocast", True)])
def test_the_last_half_tells_weights_in_half_precision_from_arithmetic_in_it(
    long_bench: Bench, name: str, met: object
) -> None:
    """What small steps lose in weights of few bits adds up; rounding on the way does not."""
    (each,) = (each for each in (*PLANTED, *HARMLESS) if each.name == name)
    assert long_bench.judge_last_half(each).met is met


@pytest.mark.slow
def test_gradients_that_the_compiler_loses_are_found(tmp_path: Path) -> None:
    """Torch 2.13 compiles a plain CNN such that its convolutions never learn: the first loss is the same."""
    torch = pytest.importorskip("torch")
    if not torch.__version__.startswith("2.13."):
        pytest.skip("the fault is of torch 2.13")
    judged = Bench(tmp_path, [COMPILE]).judge(COMPILE)
    assert judged.met is False
    assert "torch.compile computes this model's backward pass wrongly; do not train with it" in judged.reason
    assert "although the first loss is the same" in judged.reason
