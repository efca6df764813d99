"""Heads of attention and neurons of feed-forward parts left out, those that give least to what follows.

On samples: the mean square of what a head adds to the answer of its attention, and a neuron to that of its part. The
same share of both stays in every block; then the user's `fine_tune` trains the rest. A part is only cut where that is
the same as having nobody read what is left out, which real samples show. PyTorch's `MultiheadAttention` can be cut, and
code that gives heads their size (`view(..., -1, head_size)`) or names their number.

Another model: it needs consent, a `fine_tune`, and its floor. Not where heads share keys, nor where the code counts on
the width: those are refused.

Practice: ODL, model building: the smallest model that meets the criteria
Source: Michel et al., Are Sixteen Heads Really Better than One?, arXiv 1905.10650.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from suffice.form.description import Form
from suffice.measure.model.subject import Subject

AFTER = None
RISK = "semantic"
PRACTICE = "ODL, model building: the smallest model that meets the criteria"
SHARES = (0.5, 0.75)
MULTIPLE = 8
MOST_SAMPLES = 64


def propose(subject: Subject, flags: frozenset[str]) -> list[dict[str, Any]] | str:
    """Half of the heads, and three quarters."""
    if not subject.fine_tune:
        return "there is no fine_tune to train what is left"
    layers = subject.layers or {}
    if "MultiheadAttention" not in layers and not (
        layers.get("Linear", 0) > 3 and any("Norm" in each for each in layers)
    ):
        return "it has no attention"
    return [{"keep": share, "steps": subject.fine_tune_steps} for share in SHARES]


def gain(flags: frozenset[str]) -> float:
    """Half of the products with weights, and of those of heads."""
    return 2.0


def build(source: Form, source_folder: Path, folder: Path, settings: Mapping[str, Any], samples: Path) -> Form:
    """Leave them out, train, and export."""
    from suffice.change.model.structure.student import plain_blocks, seen_by, train, written
    from suffice.form.target import load_target

    with plain_blocks():
        loaded = load_target(source.file, **source.settings)
        student = narrowed(loaded.module, seen_by(samples, MOST_SAMPLES), settings["keep"])
        train(student, loaded, settings["steps"])
        return written(student, loaded, source, folder)


def narrowed(module: Any, batches: Sequence[Any], share: float) -> Any:
    """A copy with this share of the heads and neurons.

    Raises:
        ValueError: if no head can be left out.
    """
    import copy

    from suffice.change.model.structure.attention import parts_of, with_own_layers
    from suffice.change.model.structure.student import FEW, answer_alike

    student = copy.deepcopy(module)
    with_own_layers(student)
    few = [tuple(each[:FEW] for each in inputs) for inputs in batches]
    if not answer_alike(student, module, few):
        raise ValueError("its attention can't be written with layers of its own: the answers are others")
    parts = list(parts_of(student, few[0]))
    worth = _worth(student, parts, batches)
    cut, reason = 0, "none was found whose heads can be counted"
    for part in parts:
        for way in _ways(student, part, worth[part.reader], share):
            try:
                tried = _cut(student, part, few, way)
            except Exception as error:  # noqa: BLE001 - the user's own code fails in any way where a width is another
                tried, reason = None, f"{type(error).__name__}: {error}"
            if tried is not None:
                student, cut = tried, cut + bool(part.heads)
                break
    if not cut:
        raise ValueError(f"no head of attention can be left out so that the others give the same ({reason})")
    return student


def _worth(student: Any, parts: Sequence[Any], batches: Sequence[Any]) -> dict[str, Any]:
    """Of what each reader reads, by its path: the mean product of each two places."""
    import torch

    products: dict[str, Any] = {}
    rows: dict[str, int] = {}

    def note(path: str, given: Any) -> None:
        read = given.detach().reshape(-1, given.shape[-1]).double()
        products[path] = products.get(path, 0) + read.T @ read
        rows[path] = rows.get(path, 0) + len(read)

    hooks = [
        student.get_submodule(part.reader).register_forward_pre_hook(
            lambda _, given, path=part.reader: note(path, given[0])
        )
        for part in parts
    ]
    with torch.no_grad():
        for inputs in batches:
            student(*inputs)
    for hook in hooks:
        hook.remove()
    return {path: each / rows[path] for path, each in products.items()}


def _ways(
    student: Any, part: Any, products: Any, share: float
) -> Iterator[tuple[Any, Any, dict[tuple[str, str], int]]]:
    """What to keep: the places that are read, the rows of each writer, and numbers to set by their owner and name."""
    import torch

    weight = student.get_submodule(part.reader).weight.detach().double()
    for heads in part.heads or (part.width,):
        size = part.width // heads
        blocks = (weight.T @ weight * products).reshape(heads, size, heads, size)
        given = blocks.diagonal(dim1=0, dim2=2).sum((0, 1))
        multiple = MULTIPLE if heads >= MULTIPLE**2 else 1
        kept = max(1, round(heads * share / multiple) * multiple)
        best = given.argsort(descending=True, stable=True)[:kept].sort().values
        places = torch.arange(part.width).reshape(heads, size)[best].flatten()
        counts, widths = _numbers(student, part, heads, kept)
        for numbers in ({}, counts, {**counts, **widths}) if part.heads else ({},):
            if len(part.writers) > 1 or not part.heads:
                yield places, places, numbers
            else:
                yield places, torch.cat([places + third * part.width for third in range(3)]), numbers
                rows = torch.arange(3 * part.width).reshape(heads, 3 * size)
                yield places, rows[best].flatten(), numbers


def _numbers(student: Any, part: Any, heads: int, kept: int) -> tuple[dict[tuple[str, str], int], ...]:
    """What the owners have as the number of heads, and as the width of all of them."""
    from suffice.change.model.structure.attention import SIZES, owners_of

    counts, widths = {}, {}
    for path in owners_of(part.writers, part.reader):
        for name, value in vars(student.get_submodule(path)).items():
            if isinstance(value, int) and value == heads and "head" in name and not any(each in name for each in SIZES):
                counts[path, name] = kept
            elif isinstance(value, int) and value == part.width:
                widths[path, name] = part.width // heads * kept
    return counts, widths


def _cut(student: Any, part: Any, few: Sequence[Any], way: tuple[Any, Any, Mapping[Any, int]]) -> Any:
    """A copy of which only these places are left; None where that is another thing than not reading the others."""
    import copy

    import torch

    from suffice.change.model.structure.student import answer_alike

    places, rows, numbers = way
    if len(places) == part.width:
        return None
    tried, unread = copy.deepcopy(student), copy.deepcopy(student)
    left_out = torch.ones(part.width, dtype=torch.bool).index_fill_(0, places, value=False)
    with torch.no_grad():
        unread.get_submodule(part.reader).weight[:, left_out] = 0
    for path in part.writers:
        _keep(tried.get_submodule(path), rows, axis=0)
    _keep(tried.get_submodule(part.reader), places, axis=1)
    for (path, name), value in numbers.items():
        setattr(tried.get_submodule(path), name, value)
    return tried if answer_alike(tried, unread, few) else None


def _keep(layer: Any, places: Any, *, axis: int) -> None:
    """Of a linear layer only some outputs (axis 0), or inputs (axis 1)."""
    import torch

    layer.weight = torch.nn.Parameter(layer.weight.detach().index_select(axis, places))
    if axis == 0 and layer.bias is not None:
        layer.bias = torch.nn.Parameter(layer.bias.detach()[places])
    setattr(layer, ("out_features", "in_features")[axis], len(places))
