"""8-bit weights and activations in OpenVINO, calibrated on real samples by NNCF.

The cheapest form of most models on processors with VNNI or AMX, and of fewer without. Attention needs its own recipe
(SmoothQuant, no 8-bit sums of attention), which `transformer` asks for.

Not for language models that decode one token at a time: there weights alone are what is read. Not without samples.

Practice: SUS05-BP04: quantise to 16 or 8 bits where the quality holds
Source: NNCF, `nncf.quantize`; SmoothQuant, arXiv 2211.10438.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from suffice.form.description import Form
from suffice.measure.model.subject import Subject

AFTER = "openvino"
RISK = "numeric"
PRACTICE = "SUS05-BP04: quantise to 16 or 8 bits where the quality holds"
FILE = "model.xml"
FEWEST_SAMPLES = 20
MOST_BATCH = 1
FAST_UNITS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


def propose(subject: Subject, flags: frozenset[str]) -> list[dict[str, Any]] | str:
    """With the recipe for attention where the graph has a Softmax."""
    count = subject.samples.get("calibrate", 0)
    if count < FEWEST_SAMPLES:
        return f"calibration needs {FEWEST_SAMPLES} samples, and there are {count}"
    return [{}]


def gain(flags: frozenset[str]) -> float:
    """Measured up to 4.7 with units for it; two multiplications in one without."""
    return 5.0 if flags & FAST_UNITS else 2.5


def build(source: Form, source_folder: Path, folder: Path, settings: Mapping[str, Any], samples: Path) -> Form:
    """Quantise the graph."""
    import logging

    import nncf
    import openvino

    from suffice.form.samples import MOST_CALIBRATED, in_batches, read_samples

    nncf.set_log_level(logging.ERROR)
    model = openvino.Core().read_model(str(source_folder / source.file))
    names = [port.name for port in source.inputs]
    seen = in_batches(read_samples(samples, "calibrate"), MOST_BATCH)
    items = [dict(zip(names, each.inputs, strict=True)) for each, _ in zip(seen, range(MOST_CALIBRATED), strict=False)]
    attention = {"model_type": nncf.ModelType.TRANSFORMER} if "Softmax" in source.settings["operators"] else {}
    quantised = nncf.quantize(model, nncf.Dataset(items), subset_size=len(items), **attention)
    openvino.save_model(quantised, str(folder / FILE), compress_to_fp16=False)
    return replace(source, file=FILE, settings={**source.settings, "weights": "int8", "activations": "int8"})
