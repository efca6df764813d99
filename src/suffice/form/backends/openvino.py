"""OpenVINO on the processor, in the precision that the form names: its own default differs between processors.

Source: OpenVINO 2026, "CPU device": inference precision, streams and threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openvino

from suffice.form.description import Form


class Session:
    """An intermediate representation, compiled."""

    def __init__(self, folder: Path, form: Form, threads: int) -> None:
        core = openvino.Core()
        model = core.read_model(str(folder / form.file))
        static = form.settings.get("shapes")
        if static:
            model.reshape({port.name: shape for port, shape in zip(form.inputs, static, strict=True)})
        self.compiled = core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": form.settings.get("precision", "f32"),
                "INFERENCE_NUM_THREADS": threads,
                "PERFORMANCE_HINT": "LATENCY",
            },
        )
        self.request = self.compiled.create_infer_request()
        places = {name: place for place, each in enumerate(self.compiled.inputs) for name in each.get_names()}
        self.order = [places[port.name] for port in form.inputs]

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """The outputs, copied: the request writes the next ones to the same place."""
        found = self.request.infer(dict(zip(self.order, inputs, strict=True)), share_inputs=True)
        return [found[each].copy() for each in self.compiled.outputs]

    def facts(self) -> dict[str, Any]:
        """The precision as it is read back from the compiled model."""
        return {
            "precision": self.compiled.get_property("INFERENCE_PRECISION_HINT").to_string(),
            "streams": int(self.compiled.get_property("NUM_STREAMS")),
            "versions": {"openvino": openvino.__version__.partition("-")[0]},
        }
