"""The original -> a copy that is made smaller, trained on, and exported; what both answer to real samples."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from suffice.form.description import Form
from suffice.form.export import export, operators
from suffice.form.samples import read_samples
from suffice.form.target import Loaded
from suffice.form.tensors import flat

FILE = "model.onnx"
SEED = 0
FEW = 8
ROUNDING = 1e-4

Inputs = tuple[torch.Tensor, ...]


@contextmanager
def plain_blocks() -> Iterator[None]:
    """Within it PyTorch's encoder layers call their parts, which may be other ones, and no kernel of the whole."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def train(student: torch.nn.Module, loaded: Loaded, steps: int) -> None:
    """By the user's `fine_tune`, with the original as its `teacher` where it takes one.

    Raises:
        ValueError: if there is none.
    """
    if loaded.fine_tune is None:
        raise ValueError("there is no fine_tune any more")
    torch.manual_seed(SEED)
    known = inspect.signature(loaded.fine_tune).parameters
    loaded.fine_tune(student, steps, **({"teacher": loaded.module} if "teacher" in known else {}))
    student.eval()


def written(student: torch.nn.Module, loaded: Loaded, source: Form, folder: Path) -> Form:
    """Its form, exported into the folder."""
    export(student.eval(), loaded.example_inputs, source.inputs, folder / FILE)
    told = {"operators": operators(folder / FILE), "parameters": size_of(student)}
    return Form(backend="onnx_runtime", file=FILE, inputs=source.inputs, settings=told)


def size_of(module: torch.nn.Module) -> int:
    """How many parameters it has."""
    return sum(each.numel() for each in module.parameters())


def seen_by(samples: Path, most: int) -> list[Inputs]:
    """The inputs of so many of the samples to calibrate with, a batch for each of their shapes."""
    batches = read_samples(samples, "calibrate")
    each = -(-most // len(batches))
    return [tuple(torch.from_numpy(array[:each]) for array in batch.inputs) for batch in batches]


def answer_alike(one: torch.nn.Module, other: torch.nn.Module, batches: Sequence[Inputs]) -> bool:
    """Whether two modules give the same answers but for rounding, many samples at a time and one alone."""
    alone = [tuple(each[:1] for each in inputs) for inputs in batches]
    return all(_close(_answer(one, inputs), _answer(other, inputs)) for inputs in (*batches, *alone))


def _answer(module: torch.nn.Module, inputs: Inputs) -> list[torch.Tensor]:
    with torch.no_grad():
        return flat(module(*inputs))


def _close(ones: Sequence[Any], others: Sequence[Any]) -> bool:
    if [each.shape for each in ones] != [each.shape for each in others]:
        return False
    pairs = [(one.double(), other.double()) for one, other in zip(ones, others, strict=True)]
    return all(bool(((one - other).abs() <= ROUNDING * (other.abs().max() + 1e-9)).all()) for one, other in pairs)
