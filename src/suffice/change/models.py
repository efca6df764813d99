"""The modules of change/model -> the techniques for models, and the building of a form by one of them in a worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from suffice.form.description import Form
from suffice.records import Change, Risk

EXPORT = "onnx-runtime"
DEVICES = ("tensorrt", "neuron")
"""What compiles for a device beside the processor, in a folder of its own."""
ORDER = (
    EXPORT,
    "openvino",
    "openvino-bf16",
    "openvino-int8",
    "openvino-mixed",
    "openvino-weights",
    "onnx-dynamic-int8",
    "onnx-outliers",
    "onnx-mixed",
    "onnx-static-int8",
    "onnx-weights",
    "static-shapes",
    *DEVICES,
    "inductor",
)
"""Cheap before dear, and what others start from before them."""
STRUCTURES = ("layer-dropping", "channel-pruning", "low-rank", "head-pruning", "quantisation-aware")
"""What makes another model, whose forms are tried in the same order."""
ROOMS = {
    "structure": STRUCTURES,
    "devices": DEVICES,
    "rescue": ("openvino-mixed", "onnx-outliers", "onnx-mixed"),
}


def technique(name: str) -> Any:
    """The module of a technique, by its file's name with hyphens."""
    known = (*ORDER, *STRUCTURES)
    if name not in known:
        raise KeyError(f"there is no technique {name!r} for models; these are known: {', '.join(known)}")
    room = next((f".{room}" for room, names in ROOMS.items() if name in names), "")
    return import_module(f"suffice.change.model{room}.{name.replace('-', '_')}")


def change_of(name: str, settings: Mapping[str, Any]) -> Change:
    """The change that a technique makes with these settings."""
    module = technique(name)
    return Change(id=name, settings=settings, risk=Risk(module.RISK), practice=module.PRACTICE)


def build_form(
    kept: dict[str, Any],  # noqa: ARG001 - a worker's functions share their first argument
    name: str,
    settings: Mapping[str, Any],
    *,
    source: str,
    folder: str,
    samples: str,
) -> None:
    """In a worker: make the form in `folder` out of that in `source`."""
    old = Form.read(Path(source))
    form = technique(name).build(old, Path(source), Path(folder), settings, Path(samples))
    told = change_of(name, settings).name
    replace(form, changes=(*old.changes, told)).write(Path(folder))
