"""In a worker: a target -> its `Subject`, with its samples in a folder; what can't be compared with is refused."""

from __future__ import annotations

import contextlib
import inspect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from suffice.errors import ModelError
from suffice.form.description import Port
from suffice.form.samples import MOST_SAMPLES, Batch, write_samples
from suffice.form.target import load_target
from suffice.form.tensors import flat
from suffice.measure.model.subject import Subject
from suffice.records import as_json


def inspect_module(
    kept: dict[str, Any],  # noqa: ARG001 - a worker's functions share their first argument
    target: str,
    folder: str,
    *,
    quality: str | None,
    trust: bool = False,
    samples: str | None = None,
) -> Any:
    """Load a PyTorch target, write its samples below `folder`, and tell what it is, as JSON.

    Raises:
        ModelError: if the target is not what it must be, its samples don't fit it, or it gives no finite answer.
    """
    loaded = load_target(target, trust=trust, samples=samples)
    ports = _ports(loaded.module, loaded.example_inputs, loaded.dynamic)
    batches = list(_batches(loaded.samples, ports))
    if not batches:
        batches = [Batch(inputs=tuple(each.numpy() for each in loaded.example_inputs), labels=None)]
    with torch.inference_mode():
        answers = [flat(loaded.module(*loaded.example_inputs)) for _ in range(2)]
    _require_steady(answers, target)
    counts = write_samples(Path(folder), batches)
    labels = [each.labels for each in batches if each.labels is not None]
    usual = _usual_quality(answers[0][0], labels)
    judge = quality or ("function" if callable(loaded.quality) else loaded.quality) or usual
    parameters = list(loaded.module.parameters())
    subject = Subject(
        target=target,
        parameters=sum(each.numel() for each in parameters),
        weight_bytes=sum(each.numel() * each.element_size() for each in parameters),
        inputs=ports,
        bounds=loaded.bounds,
        quality=judge,
        samples=counts,
        chance=chance_of(labels) if usual == "accuracy" else None,
        fine_tune=loaded.fine_tune is not None,
        stacks=dict(_stacks(loaded.module)),
        layers=dict(Counter(_layers(loaded.module))),
    )
    return as_json(subject)


def _usual_quality(answer: torch.Tensor, labels: Sequence[Any]) -> str:
    """Accuracy where labels name classes and the answer has an output for each, the error where they are numbers."""
    if not labels:
        return "agreement"
    if are_classes(labels) and answer.dim() == 2 and answer.shape[-1] > 1:
        return "accuracy"
    same = all(each[:1].size * len(answer) == answer.numel() for each in labels)
    return "error" if same and answer.is_floating_point() else "agreement"


def _stacks(module: torch.nn.Module) -> Iterator[tuple[str, int]]:
    """The path and the length of each sequence of blocks of one kind that have parameters."""
    for path, each in module.named_modules():
        if path and isinstance(each, torch.nn.Sequential | torch.nn.ModuleList):
            kinds = {type(block) for block in each}
            if len(kinds) == 1 and len(each) > 1 and any(True for _ in each.parameters()):
                yield path, len(each)


def _layers(module: torch.nn.Module) -> Iterator[str]:
    """The kind of each module that has parameters of its own."""
    for each in module.modules():
        if any(True for _ in each.parameters(recurse=False)):
            yield type(each).__name__


def _batches(samples: Any, ports: Sequence[Port]) -> Iterator[Batch]:
    """Whatever the factory gave as samples, batch by batch, in the formats that the model takes."""
    if samples is None:
        return
    whole, count = hasattr(samples, "shape") or _is_pair(samples, len(ports)), 0
    for each in [samples] if whole else samples:
        given, labels = each if _is_pair(each, len(ports)) else (each, None)
        arrays = tuple(map(_array, given if isinstance(given, tuple | list) else (given,)))
        if len(arrays) != len(ports):
            raise ModelError(f"the model takes {len(ports)} inputs, its samples have {len(arrays)}")
        if not all(np.isfinite(one).all() for one in arrays if one.dtype.kind == "f"):
            raise ModelError("the samples hold values that are not finite")
        cast = tuple(one.astype(port.dtype, copy=False) for one, port in zip(arrays, ports, strict=True))
        yield Batch(inputs=cast, labels=None if labels is None else _array(labels))
        count += len(cast[0])
        if count >= MOST_SAMPLES:
            return


def _is_pair(samples: Any, inputs: int) -> bool:
    """Whether these are (inputs, labels) of one batch; with two inputs and no labels, a list of batches is meant."""
    if not (isinstance(samples, tuple | list) and len(samples) == 2):
        return False
    given, labels = samples
    fits = (isinstance(given, tuple | list) and len(given) == inputs) or (inputs == 1 and hasattr(given, "shape"))
    return fits and (labels is None or hasattr(labels, "shape"))


def _array(given: Any) -> Any:
    if isinstance(given, torch.Tensor):
        return (given.float() if given.dtype is torch.bfloat16 else given).numpy(force=True)
    return np.asarray(given)


def _require_steady(answers: Sequence[Sequence[Any]], target: str) -> None:
    first, second = answers
    if not first:
        raise ModelError(f"{target}: the model returns no tensor")
    for one, other in zip(first, second, strict=True):
        if one.is_floating_point() and not bool(one.isfinite().all()):
            raise ModelError(f"{target}: the model's answer to its example inputs is not finite")
        if not bool((one == other).all()):
            raise ModelError(
                f"{target}: the model gives another answer to the same inputs each time",
                hint="it draws random numbers although it is in evaluation mode; nothing can be compared with it",
            )


def _ports(module: Any, inputs: Sequence[Any], dynamic: Sequence[Mapping[int, str]]) -> tuple[Port, ...]:
    names: list[str] = []
    with contextlib.suppress(ValueError):  # a TorchScript's has none
        names = [name for name in inspect.signature(module.forward).parameters if name not in {"args", "kwargs"}]
    names = names if len(names) >= len(inputs) else [f"input{number}" for number in range(len(inputs))]
    return tuple(
        Port(
            name=name,
            dtype=str(given.dtype).removeprefix("torch."),
            shape=tuple(axes.get(axis, size) for axis, size in enumerate(given.shape)),
        )
        for name, given, axes in zip(names, inputs, dynamic, strict=False)
    )


def are_classes(labels: Sequence[Any]) -> bool:
    """Whether the labels name classes."""
    return all(each.dtype.kind in "iu" and each.ndim == 1 for each in labels)


def chance_of(labels: Iterable[Any]) -> float:
    """The accuracy of always naming the most frequent of them."""
    counts = np.unique(np.concatenate(list(labels)), return_counts=True)[1]
    return float(counts.max() / counts.sum())
