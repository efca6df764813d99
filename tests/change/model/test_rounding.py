"""Weights in few bits: the error of rounding, what mends it, and kernels that compute what a float64 reference says."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from suffice.change.model import onnx_weights
from suffice.change.model.rounding.awq import factors, mended
from suffice.change.model.rounding.gptq import error_of, mending
from suffice.change.model.rounding.groups import middle, to_nearest
from suffice.change.model.rounding.outliers import decomposed, product8
from suffice.form.description import Form, Port
from suffice.form.samples import Batch, write_samples

OUTPUTS, INPUTS = 48, 96


def correlated(rng: np.random.Generator, samples: int = 400) -> np.ndarray:
    """Inputs of which each is much like others, as those of real layers are."""
    return rng.normal(size=(samples, 12)) @ rng.normal(size=(12, INPUTS)) + 0.3 * rng.normal(size=(samples, INPUTS))


def exported(model: torch.nn.Module, x: np.ndarray, path: Path, axes: dict[int, str]) -> None:
    """The model as ONNX; the exporter warns of itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(), (torch.from_numpy(x),), path, input_names=["x"], dynamic_axes={"x": axes}, dynamo=False
        )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), bits=st.sampled_from([2, 3, 4, 8]), group=st.sampled_from([16, 32, 40, 96]))
def test_the_nearest_code_is_half_a_step_away_at_most(seed: int, bits: int, group: int) -> None:
    """A whole one at the end of the range where there is a code less; and the largest weight is exact."""
    weights = np.random.default_rng(seed).normal(size=(5, INPUTS))
    rounded = to_nearest(weights, bits=bits, group=group)
    assert rounded.codes.max() < 2**bits
    steps = np.abs(np.repeat(rounded.scales, group, axis=1)[:, :INPUTS])
    assert (np.abs(rounded.weights - weights) <= steps + 1e-12).all()
    assert np.median(np.abs(rounded.weights - weights) / steps) <= 0.5
    for start in range(0, INPUTS, group):
        part = weights[:, start : start + group]
        place = np.abs(part).argmax(axis=1)
        np.testing.assert_allclose(rounded.weights[np.arange(5), start + place], part[np.arange(5), place], rtol=1e-9)


def test_zeros_stay_zeros() -> None:
    """A group of nothing has no scale to divide by."""
    assert not to_nearest(np.zeros((3, INPUTS)), bits=4, group=32).weights.any()


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_errors_are_mended(bits: int, seed: int) -> None:
    """At the same bits and groups the outputs err less than by rounding to the nearest; on other samples too."""
    rng = np.random.default_rng(seed)
    weights, x = rng.normal(size=(OUTPUTS, INPUTS)), correlated(np.random.default_rng(seed + 100))
    products, unseen = x[:300].T @ x[:300] / 300, x[300:].T @ x[300:] / 100
    plain, mended = to_nearest(weights, bits=bits, group=32), mending(weights, products, bits=bits, group=32)
    assert error_of(weights, mended, products) < 0.6 * error_of(weights, plain, products)
    assert error_of(weights, mended, unseen) < 0.8 * error_of(weights, plain, unseen)


@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_large_inputs_get_finer_steps(bits: int, seed: int) -> None:
    """Where a few inputs are much larger than the others, outputs err less with factors, mended or not, and unseen."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(OUTPUTS, INPUTS))
    x = correlated(np.random.default_rng(seed + 100)) * np.where(rng.random(INPUTS) < 0.08, 12.0, 1.0)
    products, unseen = x[:300].T @ x[:300] / 300, x[300:].T @ x[300:] / 100
    factor, left = factors(weights, products, bits=bits, group=32)
    assert left < 0.7
    assert factor.max() > 1.5 * factor.min()
    plain, scaled = to_nearest(weights, bits=bits, group=32), to_nearest(weights * factor, bits=bits, group=32)
    for seen in (products, unseen):
        divided = seen / np.outer(factor, factor)
        assert error_of(weights * factor, scaled, divided) < 0.7 * error_of(weights, plain, seen)
    _, error = mended(weights, products, factor, bits=bits, group=32)
    assert error < error_of(weights * factor, scaled, products / np.outer(factor, factor))


def test_alike_inputs_need_no_factors() -> None:
    """The error without them is what is reached: the factors are near one."""
    weights = np.random.default_rng(0).normal(size=(OUTPUTS, INPUTS))
    factor, left = factors(weights, np.eye(INPUTS), bits=4, group=32)
    assert left == 1
    np.testing.assert_allclose(factor, 1.0)


def test_inputs_that_have_nothing_in_common_are_rounded_to_the_nearest() -> None:
    """There is nothing to mend: the products are a diagonal."""
    weights = np.random.default_rng(0).normal(size=(OUTPUTS, INPUTS))
    mended, plain = mending(weights, np.eye(INPUTS), bits=4, group=32), to_nearest(weights, bits=4, group=32)
    np.testing.assert_array_equal(mended.codes, plain.codes)


def test_an_input_that_is_always_zero_breaks_nothing() -> None:
    """Its products are zero, and nothing can be divided by them."""
    x = correlated(np.random.default_rng(1))
    x[:, 5] = 0
    weights = np.random.default_rng(2).normal(size=(OUTPUTS, INPUTS))
    assert np.isfinite(mending(weights, x.T @ x / len(x), bits=4, group=32).weights).all()


def test_outliers_stay_precise() -> None:
    """Six of 96 inputs a hundred times as large: plain 8 bits lose what the others say, the decomposition keeps it."""
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(200, INPUTS)), rng.normal(size=(OUTPUTS, INPUTS)) / np.sqrt(INPUTS)
    large = rng.choice(INPUTS, 6, replace=False)
    x[:, large] *= 100
    weights[:, large] *= 0.01  # they are large and yet not all that matters
    exact = x @ weights.T
    errors = [
        np.abs(found - exact).mean() / np.abs(exact).mean() for found in (product8(x, weights), decomposed(x, weights))
    ]
    assert errors[0] > 0.1
    assert errors[1] < 0.02
    np.testing.assert_allclose(decomposed(100 * x, weights), 100 * exact, rtol=1e-9)


@pytest.mark.parametrize("bits", [4, 8])
def test_the_kernel_computes_what_the_codes_say(bits: int, tmp_path: Path) -> None:
    """ONNX Runtime's product with packed weights, with and without a bias, against float64."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(INPUTS, OUTPUTS), torch.nn.ReLU(), torch.nn.Linear(OUTPUTS, 32, bias=False)
    )
    x = correlated(np.random.default_rng(0)).astype(np.float32)
    write_samples(tmp_path / "samples", [Batch(inputs=(x,), labels=None)])
    (tmp_path / "out").mkdir()
    exported(model, x[:2], tmp_path / "model.onnx", {0: "batch"})
    form = Form(
        backend="onnx_runtime",
        file="model.onnx",
        inputs=(Port(name="x", dtype="float32", shape=("batch", INPUTS)),),
        settings={"operators": {}},
    )
    made = onnx_weights.build(form, tmp_path, tmp_path / "out", {"bits": bits}, tmp_path / "samples")
    assert made.settings["weights"] == f"int{bits}"
    graph = onnx.load(tmp_path / "out" / "model.onnx").graph
    assert [node.op_type for node in graph.node] == ["MatMulNBits", "Add", "Relu", "MatMulNBits"]
    stored = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    first = graph.node[0]
    codes, scales = (stored[name] for name in first.input[1:])
    flat = codes.reshape(OUTPUTS, -1)
    if bits == 4:
        flat = np.stack([flat & 15, flat >> 4], axis=2).reshape(OUTPUTS, -1)
    weights = (flat[:, :INPUTS].astype(float) - middle(bits)) * np.repeat(scales, 32, axis=1)[:, :INPUTS]
    hidden = np.maximum(x @ weights.T + model[0].bias.detach().double().numpy(), 0)
    found = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx").run(None, {"x": x})[0]
    second = graph.node[3]
    codes, scales = (stored[name] for name in second.input[1:])
    flat = codes.reshape(32, -1)
    if bits == 4:
        flat = np.stack([flat & 15, flat >> 4], axis=2).reshape(32, -1)
    exact = hidden @ ((flat[:, :OUTPUTS].astype(float) - middle(bits)) * np.repeat(scales, 32, axis=1)[:, :OUTPUTS]).T
    # The kernel may round its inputs to 8 bits as well.
    assert np.abs(found - exact).max() / np.abs(exact).max() < 0.03
    with torch.no_grad():
        original = model(torch.from_numpy(x)).numpy()
    cosine = (found * original).sum() / np.linalg.norm(found) / np.linalg.norm(original)
    assert cosine > (0.9999 if bits == 8 else 0.99)


def test_inputs_are_divided_by_their_factors(tmp_path: Path) -> None:
    """Where that helps clearly; the graph's answers are the model's but for the rounding."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(INPUTS, OUTPUTS))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, INPUTS)) * np.where(rng.random(INPUTS) < 0.08, 30.0, 1.0)
    x = x.astype(np.float32)
    write_samples(tmp_path / "samples", [Batch(inputs=(x,), labels=None)])
    exported(model, x[:2], tmp_path / "model.onnx", {0: "batch"})
    port = Port(name="x", dtype="float32", shape=("batch", INPUTS))
    form = Form(backend="onnx_runtime", file="model.onnx", inputs=(port,), settings={"operators": {}})
    (tmp_path / "out").mkdir()
    made = onnx_weights.build(form, tmp_path, tmp_path / "out", {"bits": 4}, tmp_path / "samples")
    assert (made.settings["products"], made.settings["products_with_factors"]) == (1, 1)
    graph = onnx.load(tmp_path / "out" / "model.onnx").graph
    assert [node.op_type for node in graph.node] == ["Mul", "MatMulNBits", "Add"]
    found = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx").run(None, {"x": x})[0]
    original = model(torch.from_numpy(x)).detach().numpy()
    assert np.abs(found - original).mean() < 0.1 * np.abs(original).mean()


def test_a_graph_without_weights_is_told(tmp_path: Path) -> None:
    """Its products are too small for a group."""
    exported(torch.nn.Linear(8, 8), np.zeros((2, 8), np.float32), tmp_path / "model.onnx", {})
    form = Form(backend="onnx_runtime", file="model.onnx", inputs=(Port(name="x", dtype="float32", shape=(2, 8)),))
    with pytest.raises(ValueError, match="no product with weights of enough inputs"):
        onnx_weights.build(form, tmp_path, tmp_path, {"bits": 8}, tmp_path)
