"""8-bit weights and activations in ONNX Runtime, calibrated on real samples, a scale for each channel of weights.

For convolutional nets. Attention masks hold infinities that it calibrates, so transformers are refused.

Practice: SUS05-BP04: quantise to 16 or 8 bits where the quality holds
Source: onnxruntime.ai, quantization: `quantize_static`, QDQ format, MinMax calibration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from suffice.change.model.rounding.units import FAST_UNITS, gain_of_8_bits, too_few_to_calibrate
from suffice.form.description import Form
from suffice.measure.model.subject import Subject

AFTER = "onnx-runtime"
RISK = "numeric"
PRACTICE = "SUS05-BP04: quantise to 16 or 8 bits where the quality holds"
FILE = "model.onnx"


def propose(subject: Subject, flags: frozenset[str]) -> list[dict[str, Any]] | str:
    """With weights of 7 bits where sums of 8-bit products overflow."""
    return too_few_to_calibrate(subject) or [{} if flags & FAST_UNITS else {"reduce_range": True}]


def gain(flags: frozenset[str]) -> float:
    """That of products in 8 bits."""
    return gain_of_8_bits(flags)


def build(source: Form, source_folder: Path, folder: Path, settings: Mapping[str, Any], samples: Path) -> Form:
    """Calibrate and quantise the graph."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from suffice.form.samples import to_calibrate

    if "Softmax" in source.settings["operators"]:
        raise ValueError("the graph has attention, whose masks hold infinities that it would calibrate")
    items = to_calibrate(samples, [port.name for port in source.inputs])

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Gives one sample after the other."""

        def __init__(self) -> None:
            self.left = iter(items)

        def get_next(self) -> Any:
            """The next one, None after the last."""
            return next(self.left, None)

    ready = folder / "prepared.onnx"
    quant_pre_process(source_folder / source.file, ready)
    quantize_static(
        ready,
        folder / FILE,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=settings.get("reduce_range", False),
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return replace(source, file=FILE, settings={**source.settings, "weights": "int8", "activations": "int8"})
