"""The user's module through `torch.compile` with frozen weights: it compiles in every process that opens it.

Source: torch._inductor.config.freezing; models measured with and without (docs/models.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from suffice.form.backends.eager import Session as Eager
from suffice.form.description import Form
from suffice.form.tensors import arrays_of, tensors_of


class Session:
    """A compiled module, called without gradients."""

    def __init__(self, folder: Path, form: Form, threads: int) -> None:
        import torch._inductor.config as inductor  # noqa: PLC0415 - it takes a second that no other backend needs

        inductor.freezing = True
        self.eager = Eager(folder, form, threads)
        self.compiled = torch.compile(self.eager.module, dynamic=False)

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """The outputs."""
        with torch.no_grad():
            return arrays_of(self.compiled(*tensors_of(inputs, self.eager.dtype)))

    def facts(self) -> dict[str, Any]:
        """The number format of the weights."""
        return self.eager.facts()
