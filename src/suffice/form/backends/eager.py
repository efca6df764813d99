"""The module as the user's factory makes it, in PyTorch: the original, or one in another number format.

It needs the user's file, so a bundle never holds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from suffice.form.description import Form
from suffice.form.target import load_target
from suffice.form.tensors import arrays_of, tensors_of


class Session:
    """A module, called without gradients."""

    def __init__(self, folder: Path, form: Form, threads: int) -> None:  # noqa: ARG002 - backends share one signature
        torch.set_num_threads(threads)
        self.module = load_target(form.file, trust=form.settings.get("trust", False)).module
        self.dtype = getattr(torch, form.settings.get("dtype", "float32"))
        if self.dtype is not torch.float32:
            self.module = self.module.to(self.dtype)
        if form.settings.get("channels_last"):
            self.module = self.module.to(memory_format=torch.channels_last)
        self.channels_last = bool(form.settings.get("channels_last"))

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """The outputs."""
        with torch.inference_mode():
            tensors = tensors_of(inputs, self.dtype)
            if self.channels_last:
                tensors = [each.to(memory_format=torch.channels_last) if each.dim() == 4 else each for each in tensors]
            return arrays_of(self.module(*tensors))

    def facts(self) -> dict[str, Any]:
        """The number format of the weights."""
        return {"precision": str(self.dtype).removeprefix("torch."), "versions": {"torch": torch.__version__}}
