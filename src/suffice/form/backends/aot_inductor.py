"""A package that AOTInductor compiled ahead of time: machine code for the processor that built it.

It needs PyTorch and no compiler. The bounds of free axes are not checked by it, so the bundle's loader does.

Source: pytorch.org, AOTInductor: `aoti_load_package`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from suffice.form.description import Form
from suffice.form.tensors import arrays_of, tensors_of


class Session:
    """The package's model."""

    def __init__(self, folder: Path, form: Form, threads: int) -> None:
        torch.set_num_threads(threads)
        self.module = torch._inductor.aoti_load_package(str(folder / form.file))

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """The outputs."""
        with torch.no_grad():
            return arrays_of(self.module(*tensors_of(inputs)))

    def facts(self) -> dict[str, Any]:
        """The version; the precision is that of the package."""
        return {"versions": {"torch": torch.__version__}}
