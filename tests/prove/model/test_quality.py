"""Scores by known answers, and floors that are kept only where the samples show it."""

import math
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suffice.errors import GoalError, ModelError
from suffice.form.samples import Batch, write_samples
from suffice.prove.model.quality import Bar, judge, value_of
from suffice.prove.model.scoring import KNOWN, distances, scores

LOGITS = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [0.0, 1.0, 4.0], [5.0, 0.0, 0.0]])
OTHER = np.array([[2.0, 1.0, 0.0], [4.0, 3.0, 1.0], [0.0, 1.0, 4.0], [5.0, 0.0, 0.0]])
GROUP = Batch(inputs=(np.zeros((4, 1)),), labels=np.array([0, 1, 0, 0]))


def test_known_scores() -> None:
    """By hand: which of four samples are right, and which are as before."""
    assert KNOWN["accuracy"](OTHER, LOGITS, GROUP).tolist() == [1, 0, 0, 1]
    assert KNOWN["same-class"](OTHER, LOGITS, GROUP).tolist() == [1, 0, 1, 1]
    agreement = KNOWN["agreement"](OTHER, LOGITS, GROUP)
    assert agreement[0] == pytest.approx(1)
    assert agreement[1] == pytest.approx((9 + 1) / math.sqrt(10 * 26))
    assert KNOWN["agreement"](np.zeros((2, 3)), np.zeros((2, 3)), GROUP).tolist() == [1, 1]
    assert KNOWN["neighbours"](LOGITS, LOGITS, GROUP).tolist() == [1, 1, 1, 1]
    squared = KNOWN["error"](
        np.array([[1.0], [2.0]]), np.zeros((2, 1)), Batch(inputs=(), labels=np.array([[1.0], [4.0]]))
    )
    assert squared.tolist() == [0, -4]


def test_perplexity_is_that_of_the_next_tokens() -> None:
    """A model that knows nothing of 8 tokens has 8; labels may be given, else the inputs are moved by one."""
    tokens = np.array([[1, 2, 3, 4]])
    logits = np.zeros((1, 4, 8))
    for labels in (None, np.array([[2, 3, 4, 5]])):
        found = KNOWN["perplexity"](logits, logits, Batch(inputs=(tokens,), labels=labels))
        assert math.exp(-found[0]) == pytest.approx(8)
    logits[0, 0, 2] = logits[0, 1, 3] = logits[0, 2, 4] = 100.0
    found = KNOWN["perplexity"](logits, logits, Batch(inputs=(tokens,), labels=None))
    assert value_of("perplexity", found.tolist()).value == pytest.approx(1)


def test_answers_are_scored_sample_by_sample(tmp_path: Path) -> None:
    """From the files that forms write; a quality that needs labels says so."""
    write_samples(tmp_path / "samples", [Batch(inputs=(np.zeros((40, 1)),), labels=np.zeros(40, int))])
    np.savez(tmp_path / "ours.npz", **{"0.0": np.tile([[1.0, 0.0]], (12, 1))})
    np.savez(tmp_path / "theirs.npz", **{"0.0": np.tile([[2.0, 0.0]], (12, 1))})
    files = {"answers": str(tmp_path / "ours.npz"), "reference": str(tmp_path / "theirs.npz")}
    assert scores({}, "accuracy", str(tmp_path / "samples"), "search", **files) == [1.0] * 12
    told = distances({}, **files)
    assert told["cosine"] == pytest.approx(1)
    assert told["error"] == pytest.approx(0.5)
    with pytest.raises(ModelError, match="no quality 'f1'"):
        scores({}, "f1", str(tmp_path / "samples"), "search", **files)
    write_samples(tmp_path / "unlabelled", [Batch(inputs=(np.zeros((40, 1)),), labels=None)])
    with pytest.raises(ModelError, match="needs labels"):
        scores({}, "accuracy", str(tmp_path / "unlabelled"), "search", **files)


def test_an_answer_of_another_shape_is_no_answer(tmp_path: Path) -> None:
    """It is told before anything is scored."""
    np.savez(tmp_path / "ours.npz", **{"0.0": np.zeros((4, 2))})
    np.savez(tmp_path / "theirs.npz", **{"0.0": np.zeros((4, 3))})
    with pytest.raises(ModelError, match=r"shape \(4, 2\), the original's \(4, 3\)"):
        distances({}, str(tmp_path / "ours.npz"), str(tmp_path / "theirs.npz"))


@pytest.mark.parametrize(
    ("text", "value", "relative", "share"),
    [("0.90", 0.9, False, False), ("-0.005", -0.005, True, False), ("-2%", -0.02, True, True)],
)
def test_floors(text: str, value: float, *, relative: bool, share: bool) -> None:
    """A value, a loss, a share of the original."""
    assert Bar.parse(text) == Bar(text=text, value=value, relative=relative, share=share)


@pytest.mark.parametrize("text", ["high", "2%", "nan", ""])
def test_what_is_no_floor_is_told(text: str) -> None:
    """With what one looks like."""
    with pytest.raises(GoalError) as caught:
        Bar.parse(text)
    assert "--floor 0.90" in str(caught.value.hint)


def test_few_samples_do_not_show_that_nothing_is_lost() -> None:
    """A hundred that agree allow a loss of some percent; two thousand show that half a percent is kept."""
    bar = Bar.parse("-0.005")
    assert judge("accuracy", [1.0] * 100, [1.0] * 100, bar).met is None
    assert judge("accuracy", [1.0] * 2_000, [1.0] * 2_000, bar).met is True
    lost = [0.0] * 60 + [1.0] * 1_940
    assert judge("accuracy", lost, [1.0] * 2_000, bar).met is False


def test_how_many_samples_show_that_nothing_is_lost() -> None:
    """Half a point is lost in 0.995^n of n samples without a trace: 598 are the first that leave less than 5 %."""
    bar = Bar.parse("-0.005")
    assert judge("same-class", [1.0] * 590, [1.0] * 590, bar).met is None
    assert judge("same-class", [1.0] * 600, [1.0] * 600, bar).met is True


def test_few_blocks_of_a_users_function_prove_nothing() -> None:
    """However alike they are; twenty allow for one sample of a block that none of them had."""
    bar = Bar.parse("-0.5%")
    assert judge("function", [0.9] * 6, [0.9] * 6, bar).met is None
    assert judge("function", [0.9] * 20, [0.9] * 20, bar).met is None
    assert judge("function", [0.9] * 20, [0.9] * 20, Bar.parse("-2%")).met is True


@pytest.mark.parametrize(
    ("ours", "labels", "says"),
    [
        (np.zeros((4, 1)), np.zeros(4, int), "an output each on the last axis"),
        (np.zeros(4), np.zeros(4, int), "an output each on the last axis"),
        (np.zeros((4, 3, 8, 8)), np.zeros((4, 8, 8), int), "don't fit classes"),
    ],
)
def test_outputs_that_name_no_classes_are_told(ours: np.ndarray, labels: np.ndarray, says: str) -> None:
    """A single output has no largest; classes are on the last axis."""
    with pytest.raises(ModelError, match=says):
        KNOWN["accuracy"](ours, ours, Batch(inputs=(), labels=labels))


def test_labels_in_a_column_and_a_single_number() -> None:
    """The first are labels like any; the second is compared by its distance, because its cosine is its sign."""
    assert KNOWN["accuracy"](LOGITS, LOGITS, Batch(inputs=(), labels=GROUP.labels[:, None])).tolist() == [1, 1, 0, 1]
    numbers = np.array([[1.0], [3.0], [5.0], [7.0]])
    found = KNOWN["agreement"](2 * numbers, numbers, GROUP)
    assert found[0] == pytest.approx(1 - 1 / numbers.std())
    assert found[3] == 0


def test_a_pair_tells_what_the_mean_hides() -> None:
    """Two models of the same accuracy that err on other samples can't be told apart within a narrow floor."""
    ours, theirs = [1.0, 0.0] * 500, [0.0, 1.0] * 500
    assert judge("accuracy", ours, theirs, Bar.parse("-0.005")).met is None


def test_absolute_floors_and_perplexity() -> None:
    """A floor for a perplexity is the largest that is allowed; a share of it is a share of the perplexity."""
    rng = Random(0)
    base = [-2 + rng.gauss(0, 0.3) for _ in range(800)]
    assert judge("perplexity", base, base, Bar.parse("8.0")).met is True
    assert judge("perplexity", base, base, Bar.parse("7.0")).met is False
    worse = [score - math.log(1.01) + rng.gauss(0, 0.01) for score in base]
    assert judge("perplexity", worse, base, Bar.parse("-2%")).met is True
    assert judge("perplexity", [score - math.log(1.03) for score in base], base, Bar.parse("-2%")).met is False
    assert judge("perplexity", [score - math.log(1.05) for score in base], base, Bar.parse("-0.5")).met is True
    assert judge("perplexity", [score - math.log(1.08) for score in base], base, Bar.parse("-0.5")).met is False
    with pytest.raises(GoalError, match="a perplexity can't be 0"):
        judge("perplexity", base, base, Bar.parse("0"))
    assert judge("accuracy", [1.0] * 950 + [0.0] * 50, [1.0] * 1_000, Bar.parse("0.9")).met is True


@settings(max_examples=60, deadline=None)
@given(lost=st.floats(0.0, 0.03), seed=st.integers(0, 10_000))
def test_a_floor_that_is_missed_is_hardly_ever_kept(lost: float, seed: int) -> None:
    """Whatever is called kept has a loss near the floor at most: 0.5 points and what the interval allows."""
    rng = Random(seed)
    original = [float(rng.random() < 0.9) for _ in range(1_500)]
    ours = [0.0 if rng.random() < lost else score for score in original]
    found = judge("accuracy", ours, original, Bar.parse("-0.005"))
    if found.met:
        assert 0.9 * lost < 0.0075


def test_the_rate_of_wrong_passes() -> None:
    """A form that loses a little more than the floor passes in one of twenty cases at most."""
    passed, rng = 0, Random(1)
    for _ in range(200):
        original = [1.0] * 1_000
        ours = [0.0 if rng.random() < 0.0101 else 1.0 for _ in original]
        passed += judge("accuracy", ours, original, Bar.parse("-0.01")).met is True
    assert passed <= 16  # 10 are expected at most, and 16 of 200 are hardly ever more than that


def test_a_cosine_tells_by_degrees() -> None:
    """Losses that are spread over decades pass wrongly in one of twenty cases at most; small ones are proven by few."""
    passed, rng = 0, Random(2)
    for _ in range(300):
        losses = [0.0055 * rng.lognormvariate(-0.5, 1.0) for _ in range(500)]
        passed += judge("agreement", [1 - each for each in losses], [1.0] * 500, Bar.parse("-0.005")).met is True
    assert passed <= 15
    small = [1 - 0.003 * rng.lognormvariate(-0.5, 1.0) for _ in range(500)]
    assert judge("agreement", small, [1.0] * 500, Bar.parse("-0.005")).met is True
    assert judge("agreement", small, [1.0] * 500, Bar.parse("0.995")).met is True
    assert judge("agreement", [*small[:-1], -1.0], [1.0] * 500, Bar.parse("-0.005")).met is None
