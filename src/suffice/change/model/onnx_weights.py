"""Weights of 4 or 8 bits in ONNX Runtime, in groups with a scale each, which its kernel multiplies in 8 bits.

For language models and others that wait for weights from memory. With 4 bits each layer's weights are rounded so as to
mend each other's errors on samples for calibration (GPTQ); where that errs clearly less, those that meet large inputs
get finer steps before (AWQ), for which the inputs are divided in each call. With 8 bits they are rounded to the
nearest.

Products of a matrix that is no weight, of weights with fewer inputs than a group, and of embeddings stay as they are.

Practice: SUS05-BP04: quantise to 16 or 8 bits where the quality holds
Source: onnxruntime.ai, contrib operators: MatMulNBits; GPTQ, arXiv 2210.17323; AWQ, arXiv 2306.00978.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from suffice.change.model.rounding.units import nothing_to_read
from suffice.form.description import Form
from suffice.measure.model.subject import Subject

AFTER = "onnx-runtime"
RISK = "numeric"
PRACTICE = "SUS05-BP04: quantise to 16 or 8 bits where the quality holds"
FILE = "model.onnx"
GROUP = 32
CLEARLY = 0.8
"""Of the error without factors: with more the multiplication is not worth it."""
FAST = 4
"""The level of MatMulNBits at which it multiplies in 8 bits."""


def propose(subject: Subject, flags: frozenset[str]) -> list[dict[str, Any]] | str:
    """4 bits and 8 bits, where there is enough to read."""
    small = nothing_to_read(subject)
    if small:
        return small
    return [{"bits": 4}, {"bits": 8}] if subject.samples.get("calibrate", 0) else [{"bits": 8}]


def gain(flags: frozenset[str]) -> float:
    """An eighth of the bytes, and products in 8 bits."""
    return 6.0


def build(source: Form, source_folder: Path, folder: Path, settings: Mapping[str, Any], samples: Path) -> Form:
    """Replace each product with weights."""
    import onnx

    from suffice.change.model.rounding.groups import to_nearest
    from suffice.change.model.rounding.products import products_of

    model = onnx.load(source_folder / source.file)
    products = [each for each in products_of(model.graph) if each.weights.shape[1] >= GROUP]
    if not products:
        raise ValueError("the graph has no product with weights of enough inputs")
    bits = settings["bits"]
    given = {each.node.input[0] for each in products}
    means = _mean_products(source_folder / source.file, source, given, samples) if bits == 4 else {}
    scaled = 0
    for each in products:
        name = each.node.input[0]
        if name in means:
            rounded, factor = _rounded(each.weights, means[name], bits)
        else:
            rounded, factor = to_nearest(each.weights, bits=bits, group=GROUP), None
        scaled += factor is not None
        _replace(model.graph, each, rounded, factor)
    if not any(opset.domain == "com.microsoft" for opset in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    _drop_unused(model.graph)
    onnx.save(model, folder / FILE)
    told = {"weights": f"int{bits}", "products": len(products), "products_with_factors": scaled}
    return replace(source, file=FILE, settings={**source.settings, **told})


def _rounded(weights: Any, products: Any, bits: int) -> tuple[Any, Any]:
    """The rounded weights, and the factors of their inputs where those help clearly."""
    import numpy as np

    from suffice.change.model.rounding.awq import factors, mended

    plain, error = mended(weights, products, np.ones(weights.shape[1]), bits=bits, group=GROUP)
    factor, left = factors(weights, products, bits=bits, group=GROUP)
    if left > CLEARLY:
        return plain, None
    rounded, less = mended(weights, products, factor, bits=bits, group=GROUP)
    return (rounded, factor) if less < CLEARLY * error else (plain, None)


def _mean_products(path: Path, form: Form, names: Iterable[str], samples: Path) -> dict[str, Any]:
    """The mean of x xᵀ of each of these values, on samples for calibration."""
    from suffice.change.model.rounding.products import rows_given

    sums: dict[str, Any] = {}
    counts: dict[str, int] = {}
    for name, rows in rows_given(path, form, names, samples):
        sums[name] = sums.get(name, 0.0) + rows.T @ rows
        counts[name] = counts.get(name, 0) + len(rows)
    return {name: sums[name] / counts[name] for name in sums}


def _replace(graph: Any, product: Any, rounded: Any, factor: Any = None) -> None:
    """MatMulNBits takes the node's place, with an addition where it had a bias, a product where there are factors."""
    import numpy as np
    import onnx

    node, name = product.node, product.node.output[0]
    outputs, inputs = rounded.codes.shape
    groups = rounded.scales.shape[1]
    padded = np.full((outputs, groups * GROUP), 2 ** (rounded.bits - 1), np.uint8)
    padded[:, :inputs] = rounded.codes
    packed = padded if rounded.bits == 8 else padded[:, ::2] | (padded[:, 1::2] << 4)
    stored = {
        f"{name}.codes": packed.reshape(outputs, groups, -1),
        f"{name}.scales": rounded.scales.astype(np.float32),
    }
    given, scaling = node.input[0], []
    if factor is not None:
        given, inverse = f"{name}.given", f"{name}.inverse_factors"
        scaling = [onnx.helper.make_node("Mul", [node.input[0], inverse], [given])]
        graph.initializer.append(onnx.numpy_helper.from_array((1 / factor).astype(np.float32), inverse))
    graph.initializer.extend(onnx.numpy_helper.from_array(array, each) for each, array in stored.items())
    summed = f"{name}.product" if product.bias else name
    settings = {"K": inputs, "N": outputs, "bits": rounded.bits, "block_size": GROUP, "accuracy_level": FAST}
    product_node = onnx.helper.make_node("MatMulNBits", [given, *stored], [summed], domain="com.microsoft", **settings)
    made = [*scaling, product_node]
    if product.bias:
        made.append(onnx.helper.make_node("Add", [summed, product.bias], [name]))
    place = list(graph.node).index(node)
    graph.node.remove(node)
    for number, each in enumerate(made):
        graph.node.insert(place + number, each)


def _drop_unused(graph: Any) -> None:
    used = {name for node in graph.node for name in node.input} | {port.name for port in graph.output}
    for each in [each for each in graph.initializer if each.name not in used]:
        graph.initializer.remove(each)
