"""What runs a form, one file each: `Session(folder, form, threads)` is a callable of arrays that returns arrays."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from suffice.errors import MissingExtraError, ModelError
from suffice.form.description import Form

DEFAULT_INSTALL = "pip install 'suffice[models]'"


class Session(Protocol):
    """A form that can be called; inputs are in the order of `Form.inputs`."""

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """The outputs, as float32 where they are floating."""

    def facts(self) -> dict[str, Any]:
        """The precision in which it really computes, versions, and what else the backend tells."""


GRAPHS = ("onnx_runtime", "openvino")
"""They read a graph and its weights, and run no code that a file brings."""
ON_DEVICES = ("tensorrt", "neuron")
"""They compute beside the processor, whose time tells nothing of their energy."""
MACHINE_CODE = ("inductor", *ON_DEVICES)
"""They run code that a file brings, compiled for one kind of processor or device."""
BUNDLED = (*GRAPHS, *MACHINE_CODE)
BACKENDS = ("eager", *BUNDLED)
INSTALL = {
    "tensorrt": "pip install tensorrt",
    "cuda": "pip install cuda-python",
    "torch_neuronx": "pip install torch-neuronx neuronx-cc, from the index that the AWS Neuron documentation names",
}
"""What is in no extra of suffice, because it is of use on few machines."""


def open_form(folder: Path, threads: int) -> Session:
    """What calls the form in that folder.

    Raises:
        ModelError: if its backend is not known.
        MissingExtraError: if it is not installed.
    """
    form = Form.read(folder)
    if form.backend not in BACKENDS:
        raise ModelError(f"there is no backend {form.backend!r}", hint=f"these are known: {', '.join(BACKENDS)}")
    try:
        session: Session = import_module(f"{__name__}.{form.backend}").Session(folder, form, threads)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise MissingExtraError(
            f"{form.backend} needs {package}", hint=INSTALL.get(package, DEFAULT_INSTALL)
        ) from error
    return session
