"""TensorRT: the ONNX graph compiled for the NVIDIA GPU of this machine, its products in TF32 where the GPU has that.

The engine runs on GPUs of this kind with this version of TensorRT alone, and takes sizes within the bounds of its axes.
Copies to the GPU and back are timed with it; energy is not told, because the GPU's is not measured here.

Not without a GPU. Not run on one yet: the calls are those of TensorRT's documentation, tried against a recording.

Practice: SUS05-BP04: optimise the model for the hardware that serves it
Source: docs.nvidia.com, TensorRT: Python API, `OnnxParser`, `build_serialized_network`; dynamic shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suffice.change.model.devices.presence import lacking
from suffice.form.description import Form
from suffice.measure.model.subject import Subject

AFTER = "onnx-runtime"
RISK = "numeric"
PRACTICE = "SUS05-BP04: optimise the model for the hardware that serves it"
FILE = "model.plan"
MOST_SAMPLES = 256
PACKAGES = ("tensorrt", "cuda")


def propose(subject: Subject, flags: frozenset[str]) -> list[dict[str, Any]] | str:
    """Where there is a GPU, and each free axis but the batch has bounds."""
    missing = lacking("NVIDIA GPU", "nvidia[0-9]*", PACKAGES)
    if missing:
        return missing
    batch, bounds = subject.inputs[0].shape[0], dict(subject.bounds or {})
    if isinstance(batch, str):
        bounds.setdefault(batch, (1, MOST_SAMPLES))
    free = {each for port in subject.inputs for each in port.shape if isinstance(each, str)}
    if free - bounds.keys():
        return f"it needs bounds of {', '.join(sorted(free - bounds.keys()))}: (name, least, most) in `dynamic`"
    return [{"axes": {name: list(bounds[name]) for name in sorted(free)}}]


def gain(flags: frozenset[str]) -> float:
    """A GPU has a hundred times the products a second."""
    return 100.0


def build(source: Form, source_folder: Path, folder: Path, settings: Mapping[str, Any], samples: Path) -> Form:
    """Parse the graph and compile it, tuned for the least sizes, which are those of the latency."""
    import tensorrt

    builder = tensorrt.Builder(tensorrt.Logger(tensorrt.Logger.ERROR))
    network = builder.create_network()
    parser = tensorrt.OnnxParser(network, tensorrt.Logger(tensorrt.Logger.ERROR))
    if not parser.parse((source_folder / source.file).read_bytes()):
        raise ValueError("; ".join(parser.get_error(place).desc() for place in range(parser.num_errors)))
    config = builder.create_builder_config()
    if settings["axes"]:
        profile = builder.create_optimization_profile()
        for port in source.inputs:
            least, most = (
                tuple(settings["axes"][each][end] if isinstance(each, str) else each for each in port.shape)
                for end in (0, 1)
            )
            profile.set_shape(port.name, least, least, most)
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ValueError("TensorRT could not build an engine of it")
    (folder / FILE).write_bytes(bytes(plan))
    return Form(backend="tensorrt", file=FILE, inputs=source.inputs, settings={"precision": "tf32"})
