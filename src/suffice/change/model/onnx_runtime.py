"""ONNX Runtime: the model exported to ONNX, in float32.

Its fused kernels and its small memory mostly beat PyTorch's own on a processor, above all at small batches, and it is
where OpenVINO and the quantisers start from. Exported with PyTorch's own exporter, with the older one where that fails.

Not for models whose control flow depends on values: an export follows one path, and is refused where another batch
size gives other numbers.

Practice: SUS05-BP04: optimise the model for the hardware that serves it
Source: torch.onnx.export (dynamo=True); onnxruntime.ai.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suffice.form.description import Form
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

    from suffice.form.export import export, operators

    path = folder / FILE
    if source.backend == "onnx_runtime":
        onnx.save(onnx.load(source.file), path)
    else:
        from suffice.form.target import load_target

        loaded = load_target(source.file, **source.settings)
        export(loaded.module, loaded.example_inputs, source.inputs, path)
    return Form(backend="onnx_runtime", file=FILE, inputs=source.inputs, settings={"operators": operators(path)})
