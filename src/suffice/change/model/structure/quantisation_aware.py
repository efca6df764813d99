"""The same layers, trained on while they are rounded to 8 bits, so that rounding them afterwards loses less.

While the user's `fine_tune` trains, weights of linear layers and convolutions (a scale for each channel) and what they
read (a range for each, which follows what is read) are rounded as the 8-bit backends do; gradients pass as if they
were not. Then the rounding is taken out again: what comes out is a model of full precision, whose 8-bit forms are the
point of it. They are built by the backends' own quantisers, and so are as quick as without.

Another model: it needs consent, a `fine_tune`, and its floor. Not where 8 bits hold the floor anyhow.

Practice: SUS05-BP04: quantise to 16 or 8 bits where the quality holds
Source: Jacob et al., Quantization and Training of Neural Networks, arXiv 1712.05877.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suffice.form.description import Form
from suffice.measure.model.subject import Subject

AFTER = None
RISK = "semantic"
PRACTICE = "SUS05-BP04: quantise to 16 or 8 bits where the quality holds"
FORMS = ("openvino", "openvino-int8", "onnx-dynamic-int8", "onnx-static-int8")
"""The others gain nothing by it."""
SPARED_BY = ("openvino-int8", "onnx-static-int8")
LAYERS = ("Linear", "Conv1d", "Conv2d", "Conv3d")
BITS = 8
MOST_SAMPLES = 64


def propose(subject: Subject, flags: frozenset[str]) -> list[dict[str, Any]] | str:
    """Where there are layers that are rounded."""
    if not subject.fine_tune:
        return "there is no fine_tune to train it by"
    if not (subject.layers or {}).keys() & {*LAYERS, "MultiheadAttention"}:
        return "it has no convolution and no linear layer"
    return [{"steps": subject.fine_tune_steps}]


def gain(flags: frozenset[str]) -> float:
    """By itself nothing: what starts from it is quicker."""
    return 1.0


def build(source: Form, source_folder: Path, folder: Path, settings: Mapping[str, Any], samples: Path) -> Form:
    """Train with rounding, and export without."""
    import copy

    from suffice.change.model.structure.attention import with_own_layers
    from suffice.change.model.structure.rounding_in_training import rounded
    from suffice.change.model.structure.student import plain_blocks, seen_by, train, written
    from suffice.form.target import load_target

    with plain_blocks():
        loaded = load_target(source.file, **source.settings)
        student, batches = copy.deepcopy(loaded.module), seen_by(samples, MOST_SAMPLES)
        with_own_layers(student)
        with rounded(student, LAYERS, batches, bits=BITS):
            train(student, loaded, settings["steps"])
        return written(student, loaded, source, folder)
