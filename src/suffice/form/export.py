"""A module of PyTorch -> a file of ONNX, by PyTorch's own exporter, or the older one where that fails."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch

from suffice.form.description import Port


def export(module: torch.nn.Module, inputs: Sequence[torch.Tensor], ports: Sequence[Port], path: Path) -> None:
    """Write the module, its weights in the same file; axes that the ports name are free.

    Raises:
        Exception: the older exporter's, of many kinds, where neither can write it.
    """
    names = [port.name for port in ports]
    free = {each for port in ports for each in port.shape if isinstance(each, str)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dimensions = dict.fromkeys(free, torch.export.Dim.DYNAMIC)
            torch.onnx.export(
                module,
                at_least_two(inputs, ports),
                path,
                input_names=names,
                dynamic_shapes=tuple(free_axes(port, dimensions) for port in ports),
                dynamo=True,
                external_data=False,
            )
        except Exception:  # noqa: BLE001 - its own errors are of many kinds, and the older exporter takes other models
            axes = {port.name: free_axes(port, {name: name for name in free}) for port in ports}
            torch.onnx.export(
                module, tuple(inputs), path, input_names=names, dynamic_axes=axes, dynamo=False, external_data=False
            )


def operators(path: Path) -> dict[str, int]:
    """How many of each kind the graph has."""
    model = onnx.load(path, load_external_data=False)
    nodes = [node for each in (model.graph, *model.functions) for node in each.node]
    return dict(Counter(node.op_type for node in nodes))


def free_axes(port: Port, named: Mapping[str, Any]) -> dict[int, Any]:
    """What is named for each of the port's free axes."""
    return {axis: named[each] for axis, each in enumerate(port.shape) if isinstance(each, str)}


def at_least_two(inputs: Sequence[torch.Tensor], ports: Sequence[Port]) -> tuple[torch.Tensor, ...]:
    """The inputs with two samples where there is one: an exporter takes an axis of 1 for a constant."""
    return tuple(
        given.repeat(2, *[1] * (given.dim() - 1)) if len(given) == 1 and isinstance(port.shape[0], str) else given
        for given, port in zip(inputs, ports, strict=True)
    )
