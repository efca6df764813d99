"""A graph of ONNX -> its products with weights, and what they are given on samples for calibration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from suffice.form.description import Form
from suffice.form.samples import in_batches, read_samples

MOST_SAMPLES = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Product:
    """A node of the graph that multiplies with weights (outputs, inputs)."""

    node: Any
    weights: Any
    bias: str | None


def products_of(graph: Any) -> Iterator[Product]:
    """Its matrix products with weights, in their order."""
    known = {each.name: each for each in graph.initializer}
    for node in graph.node:
        if node.op_type not in {"MatMul", "Gemm"} or len(node.input) < 2 or node.input[1] not in known:
            continue
        weights = onnx.numpy_helper.to_array(known[node.input[1]])
        attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        plain = all(attributes.get(name, 1.0) == 1.0 for name in ("alpha", "beta")) and not attributes.get("transA")
        if weights.ndim == 2 and plain:
            outputs_first = weights if attributes.get("transB") else weights.T
            yield Product(node=node, weights=outputs_first, bias=node.input[2] if len(node.input) > 2 else None)


def rows_given(path: Path, form: Form, names: Iterable[str], samples: Path) -> Iterator[tuple[str, Any]]:
    """Each of the named values as rows (n, inputs), sample by sample."""
    model, names = onnx.load(path), sorted(names)
    known = {port.name for port in (*model.graph.input, *model.graph.output)}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    batches = in_batches(read_samples(samples, "calibrate"), 1)
    for batch, _ in zip(batches, range(MOST_SAMPLES), strict=False):
        feed = dict(zip([port.name for port in form.inputs], batch.inputs, strict=True))
        asked = [name for name in names if name not in feed]
        found = dict(zip(asked, session.run(asked, feed) if asked else [], strict=True)) | feed
        for name in names:
            yield name, np.asarray(found[name], np.float64).reshape(-1, found[name].shape[-1])
