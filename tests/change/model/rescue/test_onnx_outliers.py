"""Products whose few large inputs stay precise: found by samples, and right where 8 bits for all are not."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from suffice.change.model import onnx_dynamic_int8
from suffice.change.model.rescue import onnx_outliers
from suffice.form.description import Form, Port
from suffice.form.samples import Batch, write_samples

INPUTS, OUTPUTS = 64, 48
LARGE = (3, 17, 40)


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    """A product with a bias and one without, the first with planted outliers; its samples and answers."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(INPUTS, OUTPUTS), torch.nn.Tanh(), torch.nn.Linear(OUTPUTS, 8, bias=False)
    )
    x = np.random.default_rng(0).normal(size=(300, INPUTS)).astype(np.float32)
    x[:, LARGE] *= 150
    with torch.no_grad():
        model[0].weight[:, LARGE] *= 0.01
    write_samples(tmp_path / "samples", [Batch(inputs=(x,), labels=None)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = {"x": {0: "batch"}}
        torch.onnx.export(
            model,
            (torch.from_numpy(x[:2]),),
            tmp_path / "model.onnx",
            input_names=["x"],
            dynamic_axes=axes,
            dynamo=False,
        )
    port = Port(name="x", dtype="float32", shape=("batch", INPUTS))
    form = Form(
        backend="onnx_runtime", file="model.onnx", inputs=(port,), settings={"operators": {"Gemm": 1, "MatMul": 1}}
    )
    return {"form": form, "folder": tmp_path, "x": x, "answers": model(torch.from_numpy(x)).detach().numpy()}


def error(technique: Any, given: dict[str, Any], name: str) -> float:
    """The mean error of its form's answers, in the original's scale; the graph lies in a folder of this name."""
    folder = given["folder"]
    (folder / name).mkdir()
    made = technique.build(given["form"], folder, folder / name, {"reduce_range": True}, folder / "samples")
    found = onnxruntime.InferenceSession(folder / name / made.file).run(None, {"x": given["x"]})[0]
    return float(np.abs(found - given["answers"]).mean() / np.abs(given["answers"]).mean())


def test_outliers_stay_precise(given: dict[str, Any]) -> None:
    """The form errs a tenth as much as that with 8 bits for all; one product is split, the other as it was."""
    plain, split = error(onnx_dynamic_int8, given, "plain"), error(onnx_outliers, given, "split")
    assert plain > 0.1
    assert split < 0.1 * plain
    graph = onnx.load(given["folder"] / "split" / "model.onnx").graph
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("MatMulInteger") == 2
    assert kinds.count("MatMul") == 1
    (places,) = (onnx.numpy_helper.to_array(each) for each in graph.initializer if each.name.endswith(".places"))
    assert tuple(places) == LARGE


def test_without_outliers_it_is_refused(given: dict[str, Any]) -> None:
    """There is nothing to split."""
    folder = given["folder"]
    x = np.random.default_rng(1).normal(size=(300, INPUTS)).astype(np.float32)
    write_samples(folder / "even", [Batch(inputs=(x,), labels=None)])
    (folder / "out").mkdir()
    with pytest.raises(ValueError, match="no product has inputs of 6 times"):
        onnx_outliers.build(given["form"], folder, folder / "out", {}, folder / "even")
