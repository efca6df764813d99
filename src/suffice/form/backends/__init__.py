"""What runs a form, one file each: `Session(folder, form, threads)` is a callable of arrays that returns arrays."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from suffice.errors import MissingExtraError, ModelError
from suffice.form.description import Form

EXTRA = "models"


class Session(Protocol):
    """A form that can be called; inputs are in the order of `Form.inputs`."""

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """The outputs, as float32 where they are floating."""

    def facts(self) -> dict[str, Any]:
        """The precision in which it really computes, versions, and what else the backend tells."""


BUNDLED = ("onnx_runtime", "openvino")
"""They read a graph and its weights, and run no code that a file brings."""
BACKENDS = ("eager", *BUNDLED)


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
        raise MissingExtraError(f"{form.backend} needs {package}", hint=f"pip install 'suffice[{EXTRA}]'") from error
    return session
