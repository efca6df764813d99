"""Weights alone in 8 or 4 bits in OpenVINO, each group with a scale of its own; activations stay as they are.

It takes a quarter or an eighth of the memory and of the file, and speeds up what waits for weights from memory: calls
with one sample, above all of language models. At larger batches it gains nothing.

4 bits cost quality that only samples can tell. Options that need data (scale estimation, AWQ, GPTQ) are not used: one
of them returned a broken model without an error.

Practice: SUS05-BP04: quantise to 16 or 8 bits where the quality holds
Source: NNCF, `nncf.compress_weights`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from suffice.change.model.rounding.units import nothing_to_read
from suffice.form.description import Form
from suffice.measure.model.subject import Subject

AFTER = "openvino"
RISK = "numeric"
PRACTICE = "SUS05-BP04: quantise to 16 or 8 bits where the quality holds"
FILE = "model.xml"
GROUP = 64


def propose(subject: Subject, flags: frozenset[str]) -> list[dict[str, Any]] | str:
    """8 bits and 4 bits, where there is enough to read."""
    return nothing_to_read(subject) or [{"bits": 8}, {"bits": 4}]


def gain(flags: frozenset[str]) -> float:
    """A quarter of the bytes."""
    return 4.0


def build(source: Form, source_folder: Path, folder: Path, settings: Mapping[str, Any], samples: Path) -> Form:
    """Compress the weights."""
    import logging

    import nncf
    import openvino

    nncf.set_log_level(logging.ERROR)
    model = openvino.Core().read_model(str(source_folder / source.file))
    if settings["bits"] == 8:
        compressed = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
    else:
        mode = nncf.CompressWeightsMode.INT4_SYM
        compressed = nncf.compress_weights(model, mode=mode, group_size=GROUP, ratio=1.0, all_layers=True)
    openvino.save_model(compressed, str(folder / FILE), compress_to_fp16=False)
    return replace(source, file=FILE, settings={**source.settings, "weights": f"int{settings['bits']}"})
