"""Two bundles are compared by what they answer to the same samples, and only where they can be."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from suffice.errors import ModelError
from suffice.prove.model.difference import DiffTerms, difference
from suffice.prove.model.quality import difference_of
from suffice.prove.model.scoring import gaps
from suffice.records import BundleDifference
from tests.conftest import TIMEOUT_S
from tests.form.made_bundles import by_hand

ONCE = DiffTerms(batches=(1,), rounds=2)
WIDE = 1024


def node(kind: str, *inputs: str, to: str = "y") -> onnx.NodeProto:
    """One operation of a graph."""
    return onnx.helper.make_node(kind, list(inputs), [to])


def same(folder: Path) -> Path:
    """It gives back what it is given."""
    return by_hand(folder, [node("Identity", "x")], {})


def compared(first: Path, second: Path, place: Path, **terms: object) -> BundleDifference:
    """The difference, timed in a few rounds."""
    place.mkdir()
    settings = {name: getattr(ONCE, name) for name in ONCE.__dataclass_fields__}
    return difference(first, second, place, DiffTerms(**{**settings, **terms}))


def samples(path: Path, x: object, **labels: object) -> Path:
    """An .npz of the user's."""
    np.savez(path, x=np.asarray(x, np.float64), **labels)  # type: ignore[arg-type]
    return path


def test_answers_that_are_known_apart(tmp_path: Path) -> None:
    """One has 3 added to the second entry, so that ten samples of a hundred change their class, and are wrong."""
    second = by_hand(tmp_path / "b", [node("Add", "x", "more")], {"more": [0.0, 3.0]})
    given = samples(tmp_path / "eval.npz", [[4.0, 0.0]] * 90 + [[2.0, 0.0]] * 10, labels=np.zeros(100, int))
    found = compared(same(tmp_path / "a"), second, tmp_path / "place", samples=given)
    (gap,) = found.outputs
    assert gap.largest == 3
    assert gap.cosine == pytest.approx(0.9 * 4 / 5 + 0.1 * 2 / np.sqrt(13))
    assert gap.same_class == pytest.approx(0.9)
    assert found.samples == 100
    assert set(found.differs) == {"target"}
    change = found.quality_difference
    assert found.quality == "accuracy"
    assert (found.figures_a["quality"].value, found.figures_b["quality"].value) == (1, 0.9)
    assert change is not None
    assert change.value == pytest.approx(-0.1)
    assert change.low is not None
    assert change.high is not None
    assert -0.2 < change.low < -0.1 < change.high < 0


def test_equal_scores_prove_no_equality() -> None:
    """Where no sample differs, so many may hide a few that would; too few of numbers have no interval at all."""
    found = difference_of("accuracy", [1.0] * 100, [1.0] * 100)
    assert found.low == pytest.approx(0.025**0.01 - 1)
    assert found.high == pytest.approx(1 - 0.025**0.01)
    assert "too few" in str(difference_of("error", [-1.0] * 5, [-2.0] * 5).method)
    assert difference_of("error", [-1.0] * 50, [-2.0] * 50).value == -1
    assert difference_of("perplexity", [-2.0] * 50, [-1.0] * 50).value == pytest.approx(np.e)


def test_what_is_not_finite_is_counted(tmp_path: Path) -> None:
    """The samples that both answer with numbers are compared all the same, whatever their shapes."""
    ours, theirs = np.ones((3, 2)), np.array([[np.nan, 1.0], [1.0, 3.0], [1.0, 1.0]])
    np.savez(tmp_path / "a.npz", **{"0.0": theirs, "1.0": np.ones((2, 5))})
    np.savez(tmp_path / "b.npz", **{"0.0": ours, "1.0": np.full((2, 5), np.inf)})
    (gap,) = gaps({}, str(tmp_path / "b.npz"), str(tmp_path / "a.npz"))
    assert (gap["not_finite_a"], gap["not_finite_b"]) == (1, 2)
    assert gap["largest"] == 2
    assert gap["same_class"] == 0.5
    np.savez(tmp_path / "a.npz", **{"0.0": ours * np.nan})
    np.savez(tmp_path / "b.npz", **{"0.0": ours})
    assert gaps({}, str(tmp_path / "b.npz"), str(tmp_path / "a.npz")) == [
        {"output": 0, "not_finite_a": 3, "not_finite_b": 0}
    ]


def test_more_work_is_slower(tmp_path: Path) -> None:
    """For sure; and its file is larger. Their own samples, which are the same, count once."""
    weights = np.zeros((2, WIDE)), np.zeros((WIDE, WIDE)), np.zeros((WIDE, 2))
    chain = [
        node("MatMul", "x", "w0", to="h0"),
        node("MatMul", "h0", "w1", to="h1"),
        node("MatMul", "h1", "w2", to="h2"),
        node("Add", "x", "h2"),
    ]
    second = by_hand(tmp_path / "b", chain, {f"w{number}": each for number, each in enumerate(weights)})
    found = compared(same(tmp_path / "a"), second, tmp_path / "place")
    speed = found.speed[1]
    assert speed.high is not None
    assert speed.high < 1
    assert found.figures_b["latency_p50_s"].value > found.figures_a["latency_p50_s"].value
    assert found.figures_b["size_bytes"].value > 4 * WIDE * WIDE > found.figures_a["size_bytes"].value
    assert found.outputs[0].largest == 0
    assert found.samples == 1


def test_two_forms_of_one_model(tmp_path: Path) -> None:
    """By the command: another backend, the same answers."""
    nodes = [node("MatMul", "x", "w", to="h"), node("Softmax", "h", to="s"), node("Sub", "s", "half")]
    constants = {"w": [[1.0, 2.0], [3.0, 4.0]], "half": [0.5]}
    by_hand(tmp_path / "a", nodes, constants, flags=("sse",))
    by_hand(tmp_path / "b", nodes, constants, flags=("sse", "avx"), then="openvino")
    command = [sys.executable, "-m", "suffice", "diff", "a", "b", "--threads", "1", "--batches", "1", "--json", "-"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["differs"]["backend"] == ["onnx_runtime", "openvino"]
    assert told["differs"]["flags"] == ["", "avx"]
    assert told["outputs"][0]["largest"] < 1e-3
    assert told["outputs"][0]["same_class"] == 1
    assert told["speed"]["1"]["low"] <= told["speed"]["1"]["value"] <= told["speed"]["1"]["high"]
    assert "answers to 1 samples of their self-tests" in done.stderr


def test_the_same_model_is_told(tmp_path: Path) -> None:
    """Byte for byte; and a call of another number of samples can't be timed beside."""
    found = compared(same(tmp_path / "a"), same(tmp_path / "b"), tmp_path / "place")
    assert "byte for byte" in found.notes[0].text
    fixed = [by_hand(tmp_path / str(size), [node("Identity", "x")], {}, batch=size) for size in (2, 3)]
    found = compared(*fixed, tmp_path / "fixed")
    assert found.speed == {}
    assert found.outputs[0].largest == 0
    assert any("no speed is told" in note.text for note in found.notes)


@pytest.mark.parametrize(
    ("settings", "says"), [({"width": 3}, r"x float32 \(batch, 2\), but .* x float32 \(batch, 3\)")]
)
def test_other_inputs(tmp_path: Path, settings: dict[str, int], says: str) -> None:
    """Both are told."""
    second = by_hand(tmp_path / "b", [node("Identity", "x")], {}, **settings)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=says):
        compared(same(tmp_path / "a"), second, tmp_path / "place")


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"z": np.zeros((3, 2))}, r"an array for each input \(x\), and has z"),
        ({"x": np.zeros((3, 2)), "labels": np.zeros(4)}, "as many samples each"),
        ({"x": np.zeros((3, 5))}, r"must have the shape \('batch', 2\), found \(3, 5\)"),
    ],
)
def test_samples_that_do_not_fit(tmp_path: Path, arrays: dict[str, np.ndarray], says: str) -> None:
    """What was asked for and what was found."""
    np.savez(tmp_path / "eval.npz", **arrays)
    with pytest.raises(ModelError, match=says):
        compared(same(tmp_path / "a"), same(tmp_path / "b"), tmp_path / "place", samples=tmp_path / "eval.npz")


def test_a_damaged_bundle_is_not_opened(tmp_path: Path) -> None:
    """The other one neither: no process is started."""
    first, second = same(tmp_path / "a"), same(tmp_path / "b")
    (second / "model.onnx").write_bytes(b"another")
    with pytest.raises(ModelError, match="its hash is another"):
        compared(first, second, tmp_path / "place")
    assert list((tmp_path / "place").iterdir()) == []
