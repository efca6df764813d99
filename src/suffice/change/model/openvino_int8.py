"""8-bit weights and activations in OpenVINO, calibrated on real samples by NNCF.

The cheapest form of most models on processors with VNNI or AMX, and of fewer without. Attention needs its own recipe
(SmoothQuant, no 8-bit sums of attention), which a graph with a Softmax gets.

Not for language models that decode one token at a time: there weights alone are what is read. Not without samples.

Practice: SUS05-BP04: quantise to 16 or 8 bits where the quality holds
Source: NNCF, `nncf.quantize`; SmoothQuant, arXiv 2211.10438.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from suffice.change.model.rounding.units import gain_of_8_bits, too_few_to_calibrate
from suffice.form.description import Form
from suffice.measure.model.subject import Subject

AFTER = "openvino"
RISK = "numeric"
PRACTICE = "SUS05-BP04: quantise to 16 or 8 bits where the quality holds"
FILE = "model.xml"


def propose(subject: Subject, flags: frozenset[str]) -> list[dict[str, Any]] | str:
    """Where there are enough samples to calibrate with."""
    return too_few_to_calibrate(subject) or [{}]


def gain(flags: frozenset[str]) -> float:
    """That of products in 8 bits."""
    return gain_of_8_bits(flags)


def build(source: Form, source_folder: Path, folder: Path, settings: Mapping[str, Any], samples: Path) -> Form:
    """Quantise the graph."""
    import logging

    import nncf
    import openvino

    from suffice.form.samples import to_calibrate

    nncf.set_log_level(logging.ERROR)
    model = openvino.Core().read_model(str(source_folder / source.file))
    items = to_calibrate(samples, [port.name for port in source.inputs])
    attention = {"model_type": nncf.ModelType.TRANSFORMER} if "Softmax" in source.settings["operators"] else {}
    quantised = nncf.quantize(model, nncf.Dataset(items), subset_size=len(items), **attention)
    openvino.save_model(quantised, str(folder / FILE), compress_to_fp16=False)
    return replace(source, file=FILE, settings={**source.settings, "weights": "int8", "activations": "int8"})
