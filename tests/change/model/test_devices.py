"""What a machine lacks for a device is told; the calls that would be made there are those that are documented.

No such device is here: `recorded/` holds the libraries' calls as their documentation has them, and none of their work.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suffice.change.model.devices.presence import lacking
from suffice.change.models import build_form, change_of, technique
from suffice.errors import ModelError
from suffice.form.backends import ON_DEVICES, open_form
from suffice.form.description import Form, Port
from suffice.measure.model.subject import Subject
from suffice.measure.model.torch_target import inspect_module

RECORDED = Path(__file__).parent / "recorded"
TARGETS = Path(__file__).parents[2] / "form" / "targets.py"
PORT = Port(name="x", dtype="float32", shape=("batch", "length", 3))
SUBJECT = Subject(
    target="target.py:model", parameters=1, weight_bytes=4, inputs=(PORT,), quality="agreement", samples={}
)
RECORDINGS = ("tensorrt", "cuda", "cuda.bindings", "cuda.bindings.runtime", "torch_neuronx")


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recordings in the place of the libraries."""
    backends = [f"suffice.form.backends.{name}" for name in ON_DEVICES]
    for name in (*RECORDINGS, *backends):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(RECORDED))
    yield
    for name in (*RECORDINGS, *backends):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("name", "nodes", "says"),
    [
        ("tensorrt", "nvidia[0-9]*", "no NVIDIA GPU (there is no /dev/nvidia[0-9]*)"),
        ("neuron", "neuron[0-9]*", "no Neuron device (there is no /dev/neuron[0-9]*)"),
    ],
)
def test_what_this_machine_lacks(name: str, nodes: str, says: str) -> None:
    """The device, and each package with the way to get it."""
    if any(Path("/dev").glob(nodes)):
        pytest.skip("this machine has one")
    told = technique(name).propose(SUBJECT, frozenset())
    assert says in told
    assert change_of(name, {}).risk == "numeric"


def test_packages_are_told_with_the_way_to_get_them(tmp_path: Path) -> None:
    """A device without its packages, then nothing that lacks."""
    (tmp_path / "neuron0").touch()
    assert lacking("device", "neuron[0-9]*", (), folder=tmp_path) == ""
    if "torch_neuronx" not in sys.modules:
        told = lacking("device", "neuron[0-9]*", ("torch_neuronx",), folder=tmp_path)
        assert told.startswith("there is no package torch_neuronx (pip install torch-neuronx neuronx-cc")


@pytest.mark.usefixtures("recorded")
def test_where_a_device_is_its_limits_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Axes without bounds for TensorRT, free ones but the batch for Neuron."""
    for node in ("nvidia0", "neuron0"):
        (tmp_path / node).touch()
    for name in ON_DEVICES:
        module = technique(name)
        monkeypatch.setattr(module, "lacking", lambda *words: lacking(*words, folder=tmp_path))
    bounded = replace(SUBJECT, bounds={"length": (2, 9)})
    assert technique("tensorrt").propose(SUBJECT, frozenset()).startswith("it needs bounds of length")
    assert technique("tensorrt").propose(bounded, frozenset()) == [{"axes": {"batch": [1, 256], "length": [2, 9]}}]
    assert technique("neuron").propose(bounded, frozenset()) == "it compiles for fixed sizes, and length is free"
    fixed = replace(SUBJECT, inputs=(replace(PORT, shape=("batch", 3)),))
    assert [each["auto_cast"] for each in technique("neuron").propose(fixed, frozenset())] == ["none", "matmult"]


@pytest.mark.usefixtures("recorded")
def test_the_calls_of_tensorrt(tmp_path: Path) -> None:
    """A graph is parsed, built with the bounds of its axes, and run on copies; other sizes and engines are refused."""
    import tensorrt  # type: ignore[import-not-found]

    source, folder = tmp_path / "source", tmp_path / "folder"
    for each in (source, folder):
        each.mkdir()
    Form(backend="onnx_runtime", file="model.onnx", inputs=(PORT,)).write(source)
    named: dict[str, Any] = {"source": str(source), "folder": str(folder), "samples": str(tmp_path)}
    (source / "model.onnx").write_bytes(b"graph")
    settings = {"axes": {"batch": [1, 4], "length": [2, 9]}}
    build_form({}, "tensorrt", settings, **named)
    assert tensorrt.CALLS == [("parse", 5), ("build", "network", {"x": [(1, 2, 3), (4, 9, 3)]})]
    session = open_form(folder, 1)
    for size in (1, 4, 2):
        given = np.random.default_rng(size).normal(size=(size, 5, 3)).astype(np.float32)
        (found,) = session([given])
        np.testing.assert_array_equal(found, 2 * given)
    assert tensorrt.CALLS[2:] == [("execute", 7)] * 3
    assert session.facts() == {"precision": "tf32", "versions": {"tensorrt": "recorded"}}
    with pytest.raises(ModelError, match=r"not compiled for the shape \(5, 5, 3\)"):
        session([np.zeros((5, 5, 3), np.float32)])
    (folder / "model.plan").write_bytes(b"of another GPU")
    with pytest.raises(ModelError, match="no engine for this GPU and TensorRT recorded"):
        open_form(folder, 1)
    (source / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ValueError, match="error 0: no graph"):
        build_form({}, "tensorrt", settings, **named)


@pytest.mark.usefixtures("recorded")
def test_the_calls_of_neuron(tmp_path: Path) -> None:
    """A module is traced for one sample, with its batch free, and what is saved answers as the module."""
    import torch_neuronx  # type: ignore[import-not-found]

    told = inspect_module({}, f"{TARGETS}:small", str(tmp_path / "samples"), trust=False, quality=None)
    source, folder = tmp_path / "source", tmp_path / "folder"
    for each in (source, folder):
        each.mkdir()
    Subject.from_json(told).form.write(source)
    named = {"source": str(source), "folder": str(folder), "samples": str(tmp_path / "samples")}
    build_form({}, "neuron", {"auto_cast": "matmult"}, **named)
    assert torch_neuronx.CALLS == [("trace", [(1, 16)], ["--auto-cast", "matmult"]), ("dynamic_batch",)]
    given = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    session = open_form(folder, 1)
    np.testing.assert_allclose(session([given])[0], open_form(source, 1)([given])[0], atol=1e-5)
    assert session.facts()["precision"] == "bf16"
    assert session.facts()["versions"]["torch_neuronx"] == "recorded"
