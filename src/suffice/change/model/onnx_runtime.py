"""ONNX Runtime: the model exported to ONNX, in float32.

Its fused kernels and its small memory mostly beat PyTorch's own on a processor, above all at small batches, and it is
where OpenVINO and the quantisers start from. Exported with PyTorch's own exporter, with the older one where that fails.

Not for models whose control flow depends on values: an export follows one path, and is refused where another batch
size gives other numbers.

Practice: SUS05-BP04: optimise the model for the hardware that serves it
Source: torch.onnx.export (dynamo=True); onnxruntime.ai.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suffice.form.description import Form, Port
from suffice.measure.model.subject import Subject

AFTER = None
RISK = "exact"
PRACTICE = "SUS05-BP04: optimise the model for the hardware that serves it"
FILE = "model.onnx"


def propose(subject: Subject, flags: frozenset[str]) -> list[dict[str, Any]] | str:
    """Always worth a build."""
    return [{}]


def gain(flags: frozenset[str]) -> float:
    """Small models spend most of a call in PyTorch's dispatch."""
    return float("inf")


def build(source: Form, source_folder: Path, folder: Path, settings: Mapping[str, Any], samples: Path) -> Form:
    """Export the model; one that is ONNX already is written anew, with the weights in the same file."""
    import onnx

    path = folder / FILE
    if source.backend == "onnx_runtime":
        onnx.save(onnx.load(source.file), path)
    else:
        _export(source, path)
    return Form(backend="onnx_runtime", file=FILE, inputs=source.inputs, settings={"operators": operators(path)})


def operators(path: Path) -> dict[str, int]:
    """How many of each kind the graph has."""
    import onnx

    graph = onnx.load(path, load_external_data=False)
    nodes = [node for each in (graph.graph, *graph.functions) for node in (each.node)]
    return dict(Counter(node.op_type for node in nodes))


def _export(source: Form, path: Path) -> None:
    import torch

    from suffice.form.target import load_target

    loaded = load_target(source.file, trust=source.settings.get("trust", False))
    inputs, names = loaded.example_inputs, [port.name for port in source.inputs]
    free = {each for port in source.inputs for each in port.shape if isinstance(each, str)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dimensions = dict.fromkeys(free, torch.export.Dim.DYNAMIC)
            torch.onnx.export(
                loaded.module,
                _at_least_two(inputs, source.inputs),
                path,
                input_names=names,
                dynamic_shapes=tuple(_free_axes(port, dimensions) for port in source.inputs),
                dynamo=True,
                external_data=False,
            )
        except Exception:  # noqa: BLE001 - its own errors are of many kinds, and the older exporter takes other models
            axes = {port.name: _free_axes(port, {name: name for name in free}) for port in source.inputs}
            torch.onnx.export(
                loaded.module, inputs, path, input_names=names, dynamic_axes=axes, dynamo=False, external_data=False
            )


def _free_axes(port: Port, named: Mapping[str, Any]) -> dict[int, Any]:
    return {axis: named[each] for axis, each in enumerate(port.shape) if isinstance(each, str)}


def _at_least_two(inputs: Any, ports: tuple[Port, ...]) -> Any:
    """The inputs with two samples where there is one: an exporter takes an axis of 1 for a constant."""
    return tuple(
        given.repeat(2, *[1] * (given.dim() - 1)) if len(given) == 1 and isinstance(port.shape[0], str) else given
        for given, port in zip(inputs, ports, strict=True)
    )
