"""Large linear layers as two thin ones in a row, where what they write on real samples has few directions.

A layer's weights, times a root of the covariance of what it reads on samples, are split by their singular values. The
rank is the least that keeps a share of the variance of what the layer writes; the means go into the bias. It replaces
the layer where `rank * (inputs + outputs)` is well below `inputs * outputs`. Then the user's `fine_tune`, if there is
one, trains all of it.

Another model: it needs consent and its floor. Not for weights that two layers share.

Practice: ODL, model building: the smallest model that meets the criteria
Source: DRONE (NeurIPS 2021) and SVD-LLM, arXiv 2403.07378, with the covariance shrunk where samples are few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from suffice.form.description import Form
from suffice.measure.model.subject import Subject

AFTER = None
RISK = "semantic"
PRACTICE = "ODL, model building: the smallest model that meets the criteria"
TRAINED, UNTRAINED = 0.95, 0.99
"""The share of the variance that is kept."""
MOST_WORK, LEAST_SAVED = 0.7, 0.1
LEAST_WIDTH = 64
MULTIPLE = 8
MOST_SAMPLES = 256
LEAST_SHRUNK = 0.01


def propose(subject: Subject, flags: frozenset[str]) -> list[dict[str, Any]] | str:
    """Less is kept where training makes up for it."""
    if not (subject.layers or {}).get("Linear"):
        return "it has no linear layer"
    if subject.fine_tune:
        return [{"keep": TRAINED, "steps": subject.fine_tune_steps}]
    return [{"keep": UNTRAINED, "steps": 0}]


def gain(flags: frozenset[str]) -> float:
    """What is replaced takes a third or less in the best of cases."""
    return 3.0


def build(source: Form, source_folder: Path, folder: Path, settings: Mapping[str, Any], samples: Path) -> Form:
    """Split, train, and export."""
    from suffice.change.model.structure.student import plain_blocks, seen_by, train, written
    from suffice.form.target import load_target

    with plain_blocks():
        loaded = load_target(source.file, **source.settings)
        student = split(loaded.module, seen_by(samples, MOST_SAMPLES), settings["keep"])
        if settings["steps"]:
            train(student, loaded, settings["steps"])
        return written(student, loaded, source, folder)


def split(module: Any, batches: Sequence[Any], share: float) -> Any:
    """A copy whose large layers are two thin ones, where a rank that keeps this share of the variance pays.

    Raises:
        ValueError: if none does, with the figures.
    """
    import copy

    import torch

    student = copy.deepcopy(module)
    layers = _large(student)
    told, saved = [], 0
    whole = sum(each.weight.numel() for each in student.modules() if isinstance(each, torch.nn.Linear))
    for name, (count, mean, covariance) in _moments(student, layers, batches).items():
        layer = layers[name]
        writes, reads = layer.weight.shape
        thin = _thin(layer, count, mean, covariance, share)
        rank, most = thin[0].out_features, int(MOST_WORK * writes * reads / (writes + reads))
        if rank > most:
            told.append((rank / most, f"{name} ({reads} to {writes}) needs a rank of {rank}, {most} would pay"))
        elif _fits(student, name, thin, batches):
            saved += writes * reads - rank * (writes + reads)
    if saved < LEAST_SAVED * whole:
        nearest = (
            f"to keep {share:.0%} of the variance {min(told)[1]}"
            if told
            else f"no other has {LEAST_WIDTH} inputs and outputs"
        )
        raise ValueError(
            f"it would spare {saved / max(1, whole):.0%} of the linear layers' weights, {LEAST_SAVED:.0%} are wanted: "
            + nearest
        )
    return student


def _large(student: Any) -> dict[str, Any]:
    """The linear layers that are worth it, by their paths; none of a kind of its own, and none that shares weights."""
    from collections import Counter

    import torch

    named = list(student.named_modules(remove_duplicate=False))
    users = Counter(id(each) for _, module in named for each in module.parameters(recurse=False))
    return {
        name: each
        for name, each in named
        if type(each) is torch.nn.Linear and min(each.weight.shape) >= LEAST_WIDTH and users[id(each.weight)] == 1
    }


def _moments(student: Any, layers: Mapping[str, Any], batches: Sequence[Any]) -> dict[str, Any]:
    """How many rows each layer has read, their mean and their covariance."""
    import torch

    rows: dict[str, Any] = {}

    def note(name: str, given: Any) -> None:
        read = given.detach().reshape(-1, given.shape[-1]).double()
        count, total, products = rows.get(name, (0, 0, 0))
        rows[name] = (count + len(read), total + read.sum(0), products + read.T @ read)

    hooks = [
        layer.register_forward_pre_hook(lambda _, given, name=name: note(name, given[0]))
        for name, layer in layers.items()
    ]
    with torch.no_grad():
        for inputs in batches:
            student(*inputs)
    for hook in hooks:
        hook.remove()
    return {
        name: (count, total / count, products / count - torch.outer(total / count, total / count))
        for name, (count, total, products) in rows.items()
    }


def _thin(layer: Any, count: int, mean: Any, covariance: Any, share: float) -> Any:
    """Two layers in a row of the least rank that keeps this share of the variance of what the layer writes."""
    import torch

    weight = layer.weight.detach().double()
    writes, reads = weight.shape
    level = covariance.diagonal().mean().clamp_min(1e-12)
    shrunk = max(LEAST_SHRUNK, reads / (reads + count))
    root = torch.linalg.cholesky((1 - shrunk) * covariance + shrunk * level * torch.eye(reads, dtype=torch.float64))
    left, values, right = torch.linalg.svd(weight @ root, full_matrices=False)
    kept = values.square().cumsum(0) / values.square().sum().clamp_min(1e-300)
    rank = int((kept < share).sum()) + 1
    rank = min(len(values), -(-rank // MULTIPLE) * MULTIPLE)
    scale = values[:rank].sqrt()
    first = torch.linalg.solve_triangular(root.T, right[:rank].T, upper=True).T * scale[:, None]
    second = left[:, :rank] * scale
    thin = torch.nn.Sequential(torch.nn.Linear(reads, rank, bias=False), torch.nn.Linear(rank, writes))
    bias = 0 if layer.bias is None else layer.bias.detach().double()
    with torch.no_grad():
        thin[0].weight.copy_(first)
        thin[1].weight.copy_(second)
        thin[1].bias.copy_(bias + (weight - second @ first) @ mean)
    return thin.to(layer.weight.dtype)


def _fits(student: Any, name: str, thin: Any, batches: Sequence[Any]) -> bool:
    """Put it in the layer's place, unless code that looks into the layer fails with it."""
    import torch

    owner, _, last = name.rpartition(".")
    place = student.get_submodule(owner)
    layer = getattr(place, last)
    setattr(place, last, thin)
    try:
        with torch.no_grad():
            student(*(each[:1] for each in batches[0]))
    except Exception:  # noqa: BLE001 - it is the user's own code
        setattr(place, last, layer)
        return False
    return True
