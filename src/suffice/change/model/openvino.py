"""OpenVINO: the ONNX graph in OpenVINO's own format, in float32, stated as such: its default differs by processor.

On processors it won or tied convolutional nets and transformers wherever it was tried; plain multi-layer perceptrons it
lost. Weights are stored in full: halves would be another model.

Not where the graph has an operator that it lacks, which the build says.

Practice: SUS05-BP04: optimise the model for the hardware that serves it
Source: docs.openvino.ai: CPU device; `save_model(compress_to_fp16=False)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suffice.form.description import Form
from suffice.measure.model.subject import Subject

AFTER = "onnx-runtime"
RISK = "exact"
PRACTICE = "SUS05-BP04: optimise the model for the hardware that serves it"
FILE = "model.xml"


def propose(subject: Subject, flags: frozenset[str]) -> list[dict[str, Any]] | str:
    """Always worth a build."""
    return [{}]


def gain(flags: frozenset[str]) -> float:
    """Layouts and fusions of its own."""
    return 4.0


def build(source: Form, source_folder: Path, folder: Path, settings: Mapping[str, Any], samples: Path) -> Form:
    """Convert the graph."""
    import openvino

    model = openvino.convert_model(str(source_folder / source.file))
    openvino.save_model(model, str(folder / FILE), compress_to_fp16=False)
    kept = {name: value for name, value in source.settings.items() if name == "operators"}
    return Form(backend="openvino", file=FILE, inputs=source.inputs, settings={"precision": "f32", **kept})
