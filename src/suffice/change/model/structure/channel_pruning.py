"""Channels of convolutions and the inner width of perceptrons left out, those with the smallest weights.

What must go together (a channel, its batch norm, what adds to it, and what reads it) is one group, as torch-pruning
finds it. Of each group a share of the channels stays; then the user's `fine_tune` trains the rest, and so once more.
A group is only cut where that is the same as setting its channels to zero, which real samples show: code that counts
on a width, a norm over the channels, and the width of the answer itself stay as they are.

Another model: it needs consent, a `fine_tune`, and its floor.

Practice: ODL, model building: the smallest model that meets the criteria
Source: DepGraph, arXiv 2301.12900; torch-pruning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from suffice.errors import MissingExtraError
from suffice.form.description import Form
from suffice.measure.model.subject import Subject

AFTER = None
RISK = "semantic"
PRACTICE = "ODL, model building: the smallest model that meets the criteria"
SHARES = (0.5, 0.75)
ROUNDS = 2
MULTIPLE = 8
"""Widths that are many times as large stay multiples of it, for the processor's vectors."""


def propose(subject: Subject, flags: frozenset[str]) -> list[dict[str, Any]] | str:
    """Half of the channels, and three quarters."""
    if not subject.fine_tune:
        return "there is no fine_tune to train what is left"
    if not (subject.layers or {}).keys() & {"Conv1d", "Conv2d", "Conv3d", "Linear"}:
        return "it has no convolution and no linear layer"
    return [{"keep": share, "steps": subject.fine_tune_steps} for share in SHARES]


def gain(flags: frozenset[str]) -> float:
    """Half of the channels that are read, and half of those that are written."""
    return 4.0


def build(source: Form, source_folder: Path, folder: Path, settings: Mapping[str, Any], samples: Path) -> Form:
    """Leave them out and train, twice, and export."""
    from suffice.change.model.structure.student import FEW, seen_by, written
    from suffice.form.target import load_target

    loaded = load_target(source.file, **source.settings)
    return written(smaller(loaded, settings, seen_by(samples, FEW)), loaded, source, folder)


def smaller(loaded: Any, settings: Mapping[str, Any], batches: Sequence[Any]) -> Any:
    """A module with fewer channels, trained; `batches` of inputs show what may go.

    Raises:
        ValueError: if nothing may.
        MissingExtraError: if torch-pruning is not installed.
    """
    import copy

    from suffice.change.model.structure.student import train

    student = copy.deepcopy(loaded.module)
    for _ in range(ROUNDS):
        student = _pruned(student, loaded.example_inputs, batches, settings["keep"] ** (1 / ROUNDS))
        train(student, loaded, -(-settings["steps"] // ROUNDS))
    return student


def _pruned(student: Any, inputs: Sequence[Any], batches: Sequence[Any], share: float) -> Any:
    """The student with this share of each group's channels, as far as leaving out and setting to zero are the same."""
    cut, reason = 0, "no group of channels"
    for name in list(_roots(student, inputs)):
        try:
            tried = _cut(student, name, inputs, batches, share)
        except Exception as error:  # noqa: BLE001 - the user's own code fails in any way where a width is another
            tried, reason = None, f"{type(error).__name__}: {error}"
        if tried is not None:
            student, cut = tried, cut + 1
    if not cut:
        raise ValueError(f"none of its channels can be left out without changing what the others give ({reason})")
    return student


def _roots(student: Any, inputs: Sequence[Any]) -> Iterator[str]:
    """The name of one layer of each group."""
    graph = _graph(student, inputs)
    names = {module: name for name, module in student.named_modules()}
    for group in graph.get_all_groups():
        yield names[group[0].dep.target.module]


def _graph(module: Any, inputs: Sequence[Any]) -> Any:
    import warnings

    try:
        from torch_pruning import DependencyGraph
    except ImportError as error:
        raise MissingExtraError("torch-pruning is not installed: pip install 'suffice[models]'") from error

    from suffice.form.tensors import flat

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return DependencyGraph().build_dependency(
            module, example_inputs=tuple(inputs), output_transform=flat, verbose=False
        )


def _cut(student: Any, root: str, inputs: Sequence[Any], batches: Sequence[Any], share: float) -> Any:
    """A copy with this share of the channels of one group; None where that is another thing than setting them to 0."""
    import copy

    import torch
    from torch_pruning.pruner.importance import GroupMagnitudeImportance

    from suffice.change.model.structure.student import answer_alike

    tried, zeroed = copy.deepcopy(student), copy.deepcopy(student)
    graph = _graph(tried, inputs)
    layer = tried.get_submodule(root)
    cut = graph.get_pruner_of_module(layer)
    width = cut.get_out_channels(layer)
    kept = _width(width, share)
    if kept == width:
        return None
    whole = graph.get_pruning_group(layer, cut.prune_out_channels, list(range(width)))
    importance = GroupMagnitudeImportance()(whole)
    least = torch.argsort(importance, stable=True)[: width - kept].tolist()
    group = graph.get_pruning_group(layer, cut.prune_out_channels, sorted(least))
    names = {module: name for name, module in tried.named_modules()}
    for dependency, places in group:
        if dependency.target.module in names:
            reads = graph.is_in_channel_pruning_fn(dependency.handler)
            _set_to_zero(zeroed.get_submodule(names[dependency.target.module]), places, reads=reads)
    group.prune()
    return tried if answer_alike(tried, zeroed, batches) else None


def _width(width: int, share: float) -> int:
    """So many channels stay."""
    multiple = MULTIPLE if width >= MULTIPLE**2 else 1
    return max(1, round(width * share / multiple) * multiple)


def _set_to_zero(layer: Any, places: Sequence[int], *, reads: bool) -> None:
    """What a layer writes into some channels, or what it reads of them."""
    import torch

    weight = getattr(layer, "weight", None)
    if not isinstance(weight, torch.Tensor):
        return
    axis = int(reads != bool(getattr(layer, "transposed", False))) if weight.dim() > 1 else 0
    axis = 0 if getattr(layer, "groups", 1) > 1 else axis
    with torch.no_grad():
        weight.index_fill_(axis, torch.tensor(places), 0)
        if getattr(layer, "bias", None) is not None and not (reads and weight.dim() > 1):
            layer.bias.index_fill_(0, torch.tensor(places), 0)
