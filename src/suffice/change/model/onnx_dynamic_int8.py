"""8-bit weights in ONNX Runtime, a scale for each channel; activations are scaled anew in each call.

The cheapest form of plain multi-layer perceptrons, and it needs no calibration. Without VNNI sums of 8-bit products
overflow, so weights are held to 7 bits there.

Not for convolutions, which have no fast kernel for it and stay in float32.

Practice: SUS05-BP04: quantise to 16 or 8 bits where the quality holds
Source: onnxruntime.ai, quantization: `quantize_dynamic`, `reduce_range`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from suffice.change.model.rounding.units import FAST_UNITS, gain_of_8_bits
from suffice.form.description import Form
from suffice.measure.model.subject import Subject

AFTER = "onnx-runtime"
RISK = "numeric"
PRACTICE = "SUS05-BP04: quantise to 16 or 8 bits where the quality holds"
FILE = "model.onnx"
PRODUCTS = ("MatMul", "Gemm", "Attention", "Gather", "LSTM")


def propose(subject: Subject, flags: frozenset[str]) -> list[dict[str, Any]]:
    """With weights of 7 bits where sums of 8-bit products overflow."""
    return [{} if flags & FAST_UNITS else {"reduce_range": True}]


def gain(flags: frozenset[str]) -> float:
    """That of products in 8 bits."""
    return gain_of_8_bits(flags)


def build(source: Form, source_folder: Path, folder: Path, settings: Mapping[str, Any], samples: Path) -> Form:
    """Quantise the graph; where its preparation fails, as it is."""
    kinds = [each for each in PRODUCTS if each in source.settings["operators"]]
    if not kinds:
        raise ValueError(f"the graph has none of {', '.join(PRODUCTS)}")
    quantise(prepared(source_folder / source.file, folder), folder / FILE, kinds, settings)
    return replace(source, file=FILE, settings={**source.settings, "weights": "int8", "activations": "int8, dynamic"})


def quantise(
    path: Path, out: Path, kinds: Sequence[str], settings: Mapping[str, Any], exclude: Sequence[str] = ()
) -> None:
    """Nodes of these kinds, but for those that are named."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        path,
        out,
        op_types_to_quantize=[*kinds, "MatMul"],  # with it, a Gemm becomes one
        per_channel=True,
        reduce_range=settings.get("reduce_range", False),
        weight_type=QuantType.QInt8,
        nodes_to_exclude=list(exclude),
    )


def prepared(path: Path, folder: Path) -> Path:
    """The graph with the shapes that the quantiser wants; the graph itself where that fails."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    ready = folder / "prepared.onnx"
    try:
        quant_pre_process(path, ready)
    except Exception:  # noqa: BLE001 - it fails on symbolic shapes in several ways, where the quantiser does without
        return path
    return ready
