"""What a user hands over is looked at before anything is built: a model that can't be compared with is refused."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from suffice.errors import ModelError
from suffice.form.samples import SPLITS, Batch, in_batches, of_size, read_samples, write_samples
from suffice.measure.model.onnx_target import inspect_onnx
from suffice.measure.model.subject import Subject
from suffice.measure.model.torch_target import _usual_quality, inspect_module

TARGETS = Path(__file__).parents[2] / "form" / "targets.py"


def inspected(name: str, folder: Path, **options: object) -> Subject:
    """The subject of one of the targets."""
    named = {"trust": False, "quality": None, **options}
    return Subject.from_json(inspect_module({}, f"{TARGETS}:{name}", str(folder), **named))


def test_a_classifier_is_understood(tmp_path: Path) -> None:
    """Its sizes, its free axis, its labels; all samples are in one of the three parts, none in two."""
    subject = inspected("small", tmp_path)
    assert subject.parameters == 16 * 32 + 32 + 32 * 32 + 32 + 32 * 4 + 4
    assert subject.weight_bytes == 4 * subject.parameters
    assert [(port.name, port.dtype, port.shape) for port in subject.inputs] == [("input", "float32", ("batch", 16))]
    assert subject.quality == "accuracy"
    assert subject.chance == pytest.approx(0.25, abs=0.05)
    assert subject.samples == {"calibrate": 200, "search": 300, "held-out": 500}
    rows = [tuple(row) for split in SPLITS for batch in read_samples(tmp_path, split) for row in batch.inputs[0]]
    assert len(set(rows)) == len(rows) == 1_000


def test_several_inputs_and_free_axes(tmp_path: Path) -> None:
    """Without labels the quality is the agreement with the original."""
    subject = inspected("two_inputs", tmp_path)
    assert [port.name for port in subject.inputs] == ["values", "mask"]
    assert subject.inputs[1].shape == ("batch", "length")
    assert (subject.quality, subject.chance) == ("agreement", None)


def test_a_function_judges(tmp_path: Path) -> None:
    """Where the user has one."""
    assert inspected("judged", tmp_path).quality == "function"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("restless", "another answer to the same inputs each time"),
        ("not_finite", "samples hold values that are not finite"),
        ("no_dict_key", "returns modle"),
        ("no_module", "must be a torch.nn.Module, found builtin"),
        ("nothing", "has no function 'nothing'"),
    ],
)
def test_what_can_not_be_compared_with_is_refused(tmp_path: Path, name: str, says: str) -> None:
    """With what was found."""
    with pytest.raises(ModelError, match=says):
        inspected(name, tmp_path)


def test_what_a_factory_raises_goes_on(tmp_path: Path) -> None:
    """It is the user's own error."""
    with pytest.raises(RuntimeError, match="the weights are elsewhere"):
        inspected("fails", tmp_path)


def test_a_file_of_pickle_needs_trust(tmp_path: Path) -> None:
    """A module that `torch.save` wrote runs code when it is loaded; TorchScript does not."""
    model = torch.nn.Linear(2, 2)
    model.example_input_array = torch.ones(1, 2)
    torch.save(model, tmp_path / "model.pt")
    program = torch.export.export(model.eval(), (torch.ones(1, 2),))
    torch.export.save(program, tmp_path / "model.pt2")
    for name in ("model.pt", "model.pt2"):
        with pytest.raises(ModelError, match="would run code") as caught:
            inspect_module({}, str(tmp_path / name), str(tmp_path / "samples"), trust=False, quality=None)
        assert "--trust" in str(caught.value.hint)
    told = inspect_module({}, str(tmp_path / "model.pt"), str(tmp_path / "samples"), trust=True, quality=None)
    assert told["parameters"] == 6


@pytest.mark.parametrize(("dynamic", "axis"), [(None, 2), ({0: torch.export.Dim.DYNAMIC}, "batch")])
def test_an_exported_program(tmp_path: Path, dynamic: dict[int, object] | None, axis: int | str) -> None:
    """It brings its example inputs along, and says which axes are free; samples come beside it."""
    shapes = None if dynamic is None else (dynamic,)
    program = torch.export.export(torch.nn.Linear(2, 3).eval(), (torch.ones(2, 2),), dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "model.pt2")
    np.savez(tmp_path / "eval.npz", x=np.ones((40, 2)), labels=np.zeros(40, np.int64))
    told = inspect_module(
        {},
        str(tmp_path / "model.pt2"),
        str(tmp_path / "samples"),
        quality=None,
        trust=True,
        samples=str(tmp_path / "eval.npz"),
    )
    assert told["parameters"] == 9
    assert told["inputs"][0]["shape"] == [axis, 2]
    assert (told["quality"], sum(told["samples"].values())) == ("accuracy", 40)


def test_torchscript_with_samples(tmp_path: Path) -> None:
    """It is no pickle; the first samples are its example inputs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(torch.nn.Linear(2, 3).eval(), torch.ones(1, 2)).save(str(tmp_path / "model.ts"))
    np.savez(tmp_path / "eval.npz", x=np.ones((40, 2), np.float32))
    places = (str(tmp_path / "model.ts"), str(tmp_path / "samples"))
    told = inspect_module({}, *places, quality=None, samples=str(tmp_path / "eval.npz"))
    assert told["quality"] == "agreement"


@pytest.mark.parametrize(
    ("answer", "labels", "quality"),
    [
        (torch.zeros(2, 3), [], "agreement"),
        (torch.zeros(2, 3), [np.zeros(5, np.int64)], "accuracy"),
        (torch.zeros(2, 1), [np.zeros(5, np.int64)], "error"),
        (torch.zeros(2), [np.zeros(5, np.float32)], "error"),
        (torch.zeros(2, 3), [np.zeros(5, np.float32)], "agreement"),
    ],
)
def test_the_usual_quality(answer: torch.Tensor, labels: list[np.ndarray], quality: str) -> None:
    """Whole numbers name classes only where there is an output for each."""
    assert _usual_quality(answer, labels) == quality


def test_samples_are_given_in_the_formats_that_the_model_takes(tmp_path: Path) -> None:
    """Whatever numpy made of them."""
    assert inspected("wide_samples", tmp_path).inputs[0].dtype == "float32"
    assert {batch.inputs[0].dtype for batch in read_samples(tmp_path, "search")} == {np.dtype(np.float32)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An ONNX file that doubles its input."""
    helper = onnx.helper
    ports = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 3]) for name in ("x", "y")]
    two = onnx.numpy_helper.from_array(np.array([2.0], np.float32), "two")
    graph = helper.make_graph([helper.make_node("Mul", ["x", "two"], ["y"])], "double", [ports[0]], [ports[1]], [two])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / "double.onnx")
    return tmp_path / "double.onnx"


def test_an_onnx_file(file: Path, tmp_path: Path) -> None:
    """Its samples come as an .npz, by the names of its inputs."""
    np.savez(tmp_path / "eval.npz", x=np.ones((40, 3), np.float32), labels=np.zeros(40, np.int64))
    told = inspect_onnx({}, str(file), str(tmp_path / "samples"), samples=str(tmp_path / "eval.npz"), quality=None)
    subject = Subject.from_json(told)
    assert [(port.name, port.dtype, port.shape) for port in subject.inputs] == [("x", "float32", ("N", 3))]
    assert (subject.parameters, subject.quality, subject.chance) == (1, "accuracy", 1.0)
    assert subject.form.backend == "onnx_runtime"


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({}, "without samples"),
        ({"y": np.ones((2, 3), np.float32)}, "has no x"),
        ({"x": np.full((2, 3), np.nan, np.float32)}, "not finite"),
    ],
)
def test_samples_that_do_not_fit_an_onnx_file(file: Path, tmp_path: Path, arrays: dict[str, object], says: str) -> None:
    """Each with what is there."""
    path = tmp_path / "eval.npz"
    if arrays:
        np.savez(path, **arrays)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=says):
        inspect_onnx({}, str(file), str(tmp_path / "s"), samples=str(path) if arrays else None, quality=None)


def test_samples_of_several_shapes_stay_together(tmp_path: Path) -> None:
    """Each shape is a group of its own, and every batch has one shape."""
    batches = [Batch(inputs=(np.full((10, length), length),), labels=None) for length in (3, 5, 3)]
    counts = write_samples(tmp_path, batches)
    assert sum(counts.values()) == 30
    groups = read_samples(tmp_path, "search")
    assert {group.inputs[0].shape[1:] for group in groups} == {(3,), (5,)}
    assert sum(len(each) for each in in_batches(groups, 4)) == 9
    assert max(len(each) for each in in_batches(groups, 4)) <= 4
    assert len(of_size(groups, 8)) == 8


def test_inputs_and_labels_of_another_number_are_refused(tmp_path: Path) -> None:
    """As is a model without samples."""
    with pytest.raises(ModelError, match=r"as many samples each, found \[3, 4\]"):
        write_samples(tmp_path, [Batch(inputs=(np.ones((3, 2)),), labels=np.ones(4))])
    with pytest.raises(ModelError, match="no samples"):
        write_samples(tmp_path, [])


def test_shapes_that_occur_once_are_in_every_part(tmp_path: Path) -> None:
    """A hundred sequences of as many lengths are split as a hundred samples are."""
    counts = write_samples(tmp_path, [Batch(inputs=(np.ones((1, length)),), labels=None) for length in range(1, 101)])
    assert counts == {"calibrate": 20, "search": 30, "held-out": 50}


def test_very_few_samples_are_in_every_part(tmp_path: Path) -> None:
    """They can show what a form answers, and prove nothing."""
    counts = write_samples(tmp_path, [Batch(inputs=(np.ones((2, 3)),), labels=None)])
    assert counts == {"calibrate": 2, "search": 2, "held-out": 2}
