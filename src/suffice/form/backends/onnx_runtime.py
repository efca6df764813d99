"""ONNX Runtime on the processor.

Source: onnxruntime.ai, performance tuning: threads; `SessionOptions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime

from suffice.form.description import Form


class Session:
    """An ONNX file in ONNX Runtime."""

    def __init__(self, folder: Path, form: Form, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            str(folder / form.file), options, providers=["CPUExecutionProvider"]
        )
        self.names = [port.name for port in form.inputs]

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """The outputs."""
        found: list[Any] = self.session.run(None, dict(zip(self.names, inputs, strict=True)))
        return found

    def facts(self) -> dict[str, Any]:
        """The version; the precision is that of the graph."""
        return {"versions": {"onnxruntime": onnxruntime.__version__}}
