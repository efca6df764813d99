"""A module that was compiled for NeuronCores, in PyTorch with AWS Neuron.

Not run on a device yet: the calls are those of Neuron's documentation, tried against a recording.

Source: AWS Neuron documentation: `torch_neuronx.trace`: what it returns is saved and loaded by `torch.jit`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch_neuronx

from suffice.form.description import Form
from suffice.form.tensors import arrays_of


class Session:
    """A compiled module, loaded onto a NeuronCore."""

    def __init__(self, folder: Path, form: Form, threads: int) -> None:
        torch.set_num_threads(threads)
        self.precision = form.settings["precision"]
        with warnings.catch_warnings():  # TorchScript is deprecated, and yet what Neuron's modules are saved in
            warnings.simplefilter("ignore", DeprecationWarning)
            self.module = torch.jit.load(folder / form.file)

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """The outputs."""
        with torch.inference_mode():
            return arrays_of(self.module(*map(torch.from_numpy, inputs)))

    def facts(self) -> dict[str, Any]:
        """The versions, and the precision that was asked for: it can't be read back."""
        versions = {"torch": torch.__version__, "torch_neuronx": torch_neuronx.__version__}
        return {"precision": self.precision, "versions": versions}
