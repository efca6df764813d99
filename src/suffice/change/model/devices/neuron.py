"""AWS Neuron: the module compiled for the NeuronCores of Inferentia2 and Trainium.

With `auto_cast` its products are in bfloat16, with none as the module has them. The compiled graph has one size of
batch; larger ones are cut into such.

Not without such a device: Inf1 has another compiler, which AWS no longer supports. Not run on one yet: the calls are
those of Neuron's documentation, tried against a recording.

Practice: SUS05-BP04: optimise the model for the hardware that serves it
Source: AWS Neuron documentation: `torch_neuronx.trace`, `torch_neuronx.dynamic_batch`; neuronx-cc, `--auto-cast`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suffice.change.model.devices.presence import lacking
from suffice.form.description import Form
from suffice.measure.model.subject import Subject

AFTER = None
RISK = "numeric"
PRACTICE = "SUS05-BP04: optimise the model for the hardware that serves it"
FILE = "model.pt"
PACKAGES = ("torch_neuronx",)


def propose(subject: Subject, flags: frozenset[str]) -> list[dict[str, Any]] | str:
    """Of a module, where there is a device, and no axis but the batch is free."""
    missing = lacking("Neuron device", "neuron[0-9]*", PACKAGES)
    if missing:
        return missing
    if subject.form.backend != "eager":
        return "it compiles modules of PyTorch, and this is a graph already"
    free = {each for port in subject.inputs for each in port.shape[1:] if isinstance(each, str)}
    if free:
        return f"it compiles for fixed sizes, and {', '.join(sorted(free))} is free"
    return [{"auto_cast": "none"}, {"auto_cast": "matmult"}]


def gain(flags: frozenset[str]) -> float:
    """A NeuronCore has a hundred times the products a second."""
    return 100.0


def build(source: Form, source_folder: Path, folder: Path, settings: Mapping[str, Any], samples: Path) -> Form:
    """Trace and compile the module for one sample."""
    import warnings

    import torch
    import torch_neuronx

    from suffice.form.target import load_target
    from suffice.form.tensors import Flat

    loaded = load_target(source.file, **source.settings)
    free = isinstance(source.inputs[0].shape[0], str)
    inputs = tuple(each[:1] if free else each for each in loaded.example_inputs)
    with warnings.catch_warnings():  # TorchScript is deprecated, and yet what Neuron makes
        warnings.simplefilter("ignore", DeprecationWarning)
        compiled = torch_neuronx.trace(
            Flat(loaded.module),
            inputs,
            compiler_workdir=str(folder / "compiler"),
            compiler_args=["--auto-cast", settings["auto_cast"]],
        )
        torch.jit.save(torch_neuronx.dynamic_batch(compiled) if free else compiled, folder / FILE)
    told = {"precision": "f32" if settings["auto_cast"] == "none" else "bf16"}
    return Form(backend="neuron", file=FILE, inputs=source.inputs, settings=told)
