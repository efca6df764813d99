"""Shapes fixed for one batch size in OpenVINO: no shape is worked out in a call, and buffers are laid out once.

Worth a tenth at batch 1; the form takes no other batch any more.

Not where the user needs other batch sizes.

Practice: SUS05-BP04: optimise the model for the hardware that serves it
Source: docs.openvino.ai: dynamic shapes, `Model.reshape`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from suffice.form.description import Form, copy_model, sized
from suffice.measure.model.subject import Subject

AFTER = "openvino"
OF_BEST = True
RISK = "exact"
PRACTICE = "SUS05-BP04: optimise the model for the hardware that serves it"


def propose(subject: Subject, flags: frozenset[str]) -> list[dict[str, Any]] | str:
    """Batch 1, where the batch is the only axis that is free."""
    free = {each for port in subject.inputs for each in port.shape if isinstance(each, str)}
    if len(free) != 1:
        return f"{len(free)} axes are free, and a fixed one would serve one size of each only"
    return [{"batch": 1}]


def gain(flags: frozenset[str]) -> float:
    """Measured up to 1.15."""
    return 1.3


def build(source: Form, source_folder: Path, folder: Path, settings: Mapping[str, Any], samples: Path) -> Form:
    """The same file, read with fixed shapes."""
    copy_model(source_folder, folder)
    axis = next(each for port in source.inputs for each in port.shape if isinstance(each, str))
    inputs = sized(source.inputs, axis, settings["batch"])
    return replace(source, inputs=inputs, settings={**source.settings, "shapes": [list(port.shape) for port in inputs]})
