"""In a worker: an ONNX file and samples in an `.npz` -> its `Subject`, with the samples in a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from suffice.errors import ModelError
from suffice.form.description import Port
from suffice.form.samples import Batch, write_samples
from suffice.measure.model.subject import Subject
from suffice.records import as_json

LABELS = "labels"
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN")


def inspect_onnx(_: dict[str, Any], target: str, folder: str, *, samples: str | None, quality: str | None) -> Any:
    """Tell what the model is; the arrays of the samples are named as its inputs, and `labels`.

    Raises:
        ModelError: if the samples are missing, or don't fit the inputs.
    """
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    inputs = tuple(
        Port(name=each.name, dtype=_dtype(each.type), shape=tuple(_axes(each.name, each.shape)))
        for each in session.get_inputs()
    )
    if samples is None:
        raise ModelError(f"{target} comes without samples", hint="--samples eval.npz, with an array for each input")
    with np.load(samples, allow_pickle=False) as arrays:
        missing = [port.name for port in inputs if port.name not in arrays.files]
        if missing:
            raise ModelError(f"{samples} has no {', '.join(missing)}", hint=f"it has {', '.join(arrays.files)}")
        labels = arrays[LABELS] if LABELS in arrays.files else None
        batch = Batch(inputs=tuple(arrays[port.name].astype(port.dtype) for port in inputs), labels=labels)
    if not all(np.isfinite(each).all() for each in batch.inputs if each.dtype.kind == "f"):
        raise ModelError(f"{samples} holds values that are not finite")
    counts = write_samples(Path(folder), [batch])
    graph = onnx.load(target, load_external_data=True).graph
    weights = graph.initializer
    chance = None
    if labels is not None and labels.dtype.kind in "iu" and labels.ndim == 1:
        chance = float(np.unique(labels, return_counts=True)[1].max() / len(labels))
    subject = Subject(
        target=target,
        parameters=sum(int(np.prod(each.dims)) for each in weights),
        weight_bytes=sum(onnx.numpy_helper.to_array(each).nbytes for each in weights),
        inputs=inputs,
        quality=quality or ("agreement" if chance is None else "accuracy"),
        samples=counts,
        chance=chance,
        layers=_layers(graph),
    )
    return as_json(subject)


def _layers(graph: Any) -> dict[str, int]:
    """How many nodes have weights, by their kind."""
    known = {each.name for each in graph.initializer}
    return dict(Counter(node.op_type for node in graph.node if node.op_type in LAYERS and known & set(node.input[1:2])))


def _dtype(kind: str) -> str:
    """The array's format for ONNX Runtime's `tensor(float)`."""
    name = kind.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(name, name)


def _axes(name: str, shape: Sequence[int | str | None]) -> Iterator[int | str]:
    """The sizes; an axis that is free and has no name is the batch where it is the first, else the input's own."""
    for axis, size in enumerate(shape):
        yield size or ("batch" if axis == 0 else f"{name}.axis{axis}")
