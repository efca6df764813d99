"""bfloat16 in OpenVINO: half the bits in products, sums in float32.

Only on processors with units for it: without them it is emulated, and up to 62 times slower than float32.

Practice: SUS05-BP04: optimise the model for the hardware that serves it
Source: docs.openvino.ai: `INFERENCE_PRECISION_HINT`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from suffice.form.description import Form, copy_model
from suffice.measure.model.subject import Subject

AFTER = "openvino"
RISK = "numeric"
PRACTICE = "SUS05-BP04: optimise the model for the hardware that serves it"
UNITS = frozenset({"avx512_bf16", "amx_bf16"})


def propose(subject: Subject, flags: frozenset[str]) -> list[dict[str, Any]] | str:
    """Where the processor has units for it."""
    return [{}] if flags & UNITS else f"the processor has none of {', '.join(sorted(UNITS))}: it would be emulated"


def gain(flags: frozenset[str]) -> float:
    """Measured between 1.7 and 2.3."""
    return 2.5


def build(source: Form, source_folder: Path, folder: Path, settings: Mapping[str, Any], samples: Path) -> Form:
    """The same file, run in another precision."""
    copy_model(source_folder, folder)
    return replace(source, settings={**source.settings, "precision": "bf16"})
