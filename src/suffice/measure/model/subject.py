"""What is known of a model before it is changed: a `Subject`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suffice.form.description import Form, Port


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A model, what it takes, and how it is judged.

    `quality` is the name of its measure, "function" where the user's own judges. `samples` counts each part of them.
    `chance` is the accuracy of always naming the most frequent label, where there are labels of classes. `stacks` has
    the path and the length of each sequence of equal blocks, `layers` counts those with weights by their kind, `bounds`
    has the least and the most of free axes that have them. `by_size`: what is wanted is
    a small file, whatever it does for time.
    """

    target: str
    parameters: int
    weight_bytes: int
    inputs: tuple[Port, ...]
    quality: str
    samples: Mapping[str, int]
    chance: float | None = None
    fine_tune: bool = False
    fine_tune_steps: int = 0
    by_size: bool = False
    stacks: Mapping[str, int] | None = None
    layers: Mapping[str, int] | None = None
    bounds: Mapping[str, tuple[int, int]] | None = None

    @property
    def generates(self) -> bool:
        """Whether it is a language model that takes so many tokens as there are."""
        if self.quality != "perplexity" or len(self.inputs) != 1:
            return False
        (port,) = self.inputs
        return port.dtype.startswith("int") and len(port.shape) == 2 and isinstance(port.shape[1], str)

    @property
    def form(self) -> Form:
        """The model as it is."""
        if self.target.endswith(".onnx"):  # it is opened from another folder
            return Form(backend="onnx_runtime", file=str(Path(self.target).resolve()), inputs=self.inputs)
        return Form(backend="eager", file=self.target, inputs=self.inputs)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Subject:
        """The subject that `as_json` wrote."""
        return Subject(**{**data, "inputs": tuple(Port.from_json(each) for each in data["inputs"])})
