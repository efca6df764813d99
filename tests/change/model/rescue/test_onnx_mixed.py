"""Dynamic 8 bits but for the products that bear them least: the planted one stays precise, whatever its node is."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from suffice.change.model import onnx_dynamic_int8
from suffice.change.model.rescue import onnx_mixed
from suffice.form.description import Form, Port
from suffice.form.samples import Batch, write_samples
from tests.form.targets import planted

SETTINGS = {"reduce_range": True, "precise": 0.34}


def exported(model: torch.nn.Module, folder: Path) -> Form:
    """As ONNX, with its samples."""
    x = planted()["samples"][0]
    write_samples(folder / "samples", [Batch(inputs=(x.numpy(),), labels=None)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = {"input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}}
        torch.onnx.export(model, (x[:2],), folder / "model.onnx", dynamo=False, **names)
    port = Port(name="x", dtype="float32", shape=("batch", x.shape[1]))
    return Form(
        backend="onnx_runtime", file="model.onnx", inputs=(port,), settings={"operators": {"Gemm": 3, "Relu": 2}}
    )


def test_the_planted_product_stays_precise(tmp_path: Path) -> None:
    """One of three; the answers err a tenth as much as with 8 bits for all."""
    model, x = planted()["model"], planted()["samples"][0]
    form, errors = exported(model, tmp_path), []
    for technique in (onnx_dynamic_int8, onnx_mixed):
        folder = tmp_path / technique.__name__
        folder.mkdir()
        made = technique.build(form, tmp_path, folder, SETTINGS, tmp_path / "samples")
        found = onnxruntime.InferenceSession(folder / made.file).run(None, {"x": x.numpy()})[0]
        errors.append(float(np.abs(found - model(x).detach().numpy()).mean()))
    assert made.settings["activations"] == "int8, dynamic, 1 of 3 float32"
    assert errors[1] < 0.1 * errors[0]
    kinds = [node.op_type for node in onnx.load(folder / "model.onnx").graph.node]
    assert kinds.count("MatMulInteger") == 2


def test_a_single_product_is_refused(tmp_path: Path) -> None:
    """There is nothing between all and none."""
    form = exported(torch.nn.Linear(16, 4), tmp_path)
    with pytest.raises(ValueError, match="no two products"):
        onnx_mixed.build(form, tmp_path, tmp_path, SETTINGS, tmp_path / "samples")
