"""The original: the module as the user's factory makes it, in PyTorch.

It needs the user's file, so a bundle never holds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from suffice.form.description import Form
from suffice.form.target import load_target
from suffice.form.tensors import arrays_of


class Session:
    """A module, called without gradients."""

    def __init__(self, folder: Path, form: Form, threads: int) -> None:  # noqa: ARG002 - backends share one signature
        torch.set_num_threads(threads)
        self.module = load_target(form.file, **form.settings).module

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """The outputs."""
        with torch.inference_mode():
            return arrays_of(self.module(*map(torch.from_numpy, inputs)))

    def facts(self) -> dict[str, Any]:
        """The version; the precision is that of the module."""
        return {"versions": {"torch": torch.__version__}}
