"""A `torch.export` program: it needs PyTorch, and not the user's code.

Source: pytorch.org, torch.export.load.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from suffice.form.description import Form
from suffice.form.tensors import arrays_of, tensors_of


class Session:
    """The program's module, called without gradients."""

    def __init__(self, folder: Path, form: Form, threads: int) -> None:
        torch.set_num_threads(threads)
        self.module = torch.export.load(folder / form.file).module()

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """The outputs."""
        with torch.no_grad():
            return arrays_of(self.module(*tensors_of(inputs)))

    def facts(self) -> dict[str, Any]:
        """The version; the precision is that of the program."""
        return {"versions": {"torch": torch.__version__}}
