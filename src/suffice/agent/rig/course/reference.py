"""Gradients and state of two courses -> the relative error of each tensor of the one against the other.

The baseline's course writes its tensors to a file, the others read it. Tensors meet by their names, without what
wrappers put before them, or by their places where the names differ.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Optional

    Tensors = dict[str, Optional[Any]]

COMPILED = "_orig_mod."
PARALLEL = "module."
NEGLIGIBLE = 1e-6
"""A gradient so much smaller than the largest may vanish by rounding."""
SMALL = 1e-3


def plain_name(name: str) -> str:
    """A tensor's name without the wrappers of `torch.compile` and `DistributedDataParallel`."""
    name = name.replace(COMPILED, "")
    return name.removeprefix(PARALLEL)


def parameters_of(roots: Iterable[Any], optimisers: Iterable[Any]) -> dict[int, str]:
    """The name of each parameter by its `id`: those of the roots, and what else an optimiser holds."""
    named = {id(p): name for name, p in _of_all(roots, lambda root: root.named_parameters())}
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            for parameter in group["params"]:
                named.setdefault(id(parameter), "parameter {}".format(len(named)))
    return named


def state_of(torch: Any, roots: Iterable[Any]) -> Tensors:
    """Parameters and buffers of the roots, copied to the processor's memory."""
    pairs = _of_all(roots, lambda root: root.state_dict().items())
    return {name: copied(thing) for name, thing in pairs if isinstance(thing, torch.Tensor)}


def copied(tensor: Any) -> Any:
    """A tensor's values, in memory of their own."""
    plain = tensor.detach()
    plain = plain if str(plain.layout) == "torch.strided" else plain.to_dense()
    return plain.to("cpu", copy=True).contiguous()


def _of_all(roots: Iterable[Any], pairs_of: Any) -> list[tuple[str, Any]]:
    """Name and thing of each root in turn; where there are several roots their kind comes before the name."""
    roots = list(roots)
    kinds: dict[str, int] = {}
    found = []
    for root in roots:
        kind = type(getattr(root, "_orig_mod", root)).__name__
        kinds[kind] = kinds.get(kind, 0) + 1
        number = "" if kinds[kind] == 1 else str(kinds[kind])
        before = "" if len(roots) == 1 else "{}{}.".format(kind, number)
        found += [(before + plain_name(name), thing) for name, thing in pairs_of(root)]
    return found


def write(torch: Any, path: str, tensors: Mapping[str, Tensors]) -> None:
    """Keep the tensors for the courses that will be compared; a reader never finds half of them."""
    torch.save(dict(tensors), path + ".draft")
    os.replace(path + ".draft", path)


def read(torch: Any, path: str) -> dict[str, Tensors]:
    """What `write` wrote."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)  # type: ignore[no-any-return]  # as written
    except TypeError:  # torch before 1.13
        return torch.load(path, map_location="cpu")  # type: ignore[no-any-return]  # the same


def compare(torch: Any, path: str, ours: dict[str, Tensors], learnt: set[str]) -> tuple[dict[str, Any], list[str]]:
    """What a course tells of its tensors against those in a file, and notes; `learnt` names the parameters."""
    theirs = read(torch, path)
    pairs = {part: paired(ours[part], theirs[part]) for part in ours}
    told = {
        "gradient_errors": errors(torch, pairs["gradients"], set(pairs["gradients"])),
        "state_errors": errors(torch, pairs["state"], learnt),
        "zero_gradients": vanished(torch, pairs["gradients"]),
    }
    return told, type_changes(pairs["state"])


def bytes_of(tensors: Mapping[str, Tensors]) -> int:
    """What they take in memory."""
    return sum(t.numel() * t.element_size() for part in tensors.values() for t in part.values() if t is not None)


def paired(ours: Tensors, theirs: Tensors) -> dict[str, tuple[Any, Any]]:
    """(ours, theirs) of each tensor, by name, or by place where as many have other names; None for what is missing."""
    if ours.keys() != theirs.keys() and len(ours) == len(theirs):
        return {name: (mine, other) for (name, other), mine in zip(theirs.items(), ours.values())}
    return {name: (ours.get(name), theirs.get(name)) for name in {**theirs, **ours}}


def errors(torch: Any, pairs: Mapping[str, tuple[Any, Any]], learnt: set[str]) -> dict[str, float]:
    """The relative error of each pair whose two are not both missing.

    `learnt` are the names of parameters. Some have no use, such as a bias before a batch norm, and rounding is all that
    their gradients are: what they are held against is `SMALL` times the largest of their kind at least.
    """
    least = SMALL * max((_size(torch, theirs) for name, (_, theirs) in pairs.items() if name in learnt), default=0.0)
    return {
        name: error(torch, mine, theirs, least if name in learnt else 0.0)
        for name, (mine, theirs) in pairs.items()
        if mine is not None or theirs is not None
    }


def error(torch: Any, mine: Any, theirs: Any, least: float = 0.0) -> float:
    """||mine - theirs|| / max(||theirs||, least): 0 for equal bits, infinity where they can't be compared.

    What counts or tells (integers, booleans) and differs is wrong by 1 at least.
    """
    if mine is None and theirs is not None:
        return 1.0
    if theirs is None or mine.shape != theirs.shape or mine.dtype != theirs.dtype:
        return math.inf
    if torch.equal(mine, theirs) or _same_bits(torch, mine, theirs):
        return 0.0
    wide = torch.complex128 if mine.is_complex() else torch.float64
    distance = _size(torch, mine.to(wide) - theirs.to(wide))
    size = max(_size(torch, theirs), least)
    if not (math.isfinite(distance) and size > 0):
        return math.inf
    relative = distance / size
    return relative if mine.is_floating_point() or mine.is_complex() else max(1.0, relative)


def _size(torch: Any, tensor: Any) -> float:
    if tensor is None:
        return 0.0
    return float(torch.linalg.vector_norm(tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)))


def _same_bits(torch: Any, mine: Any, theirs: Any) -> bool:
    """Also where both are the same "not a number"."""
    return (
        mine.is_floating_point()
        and bool(torch.equal(torch.nan_to_num(mine), torch.nan_to_num(theirs)))
        and bool(torch.equal(mine.isnan(), theirs.isnan()))
    )


def vanished(torch: Any, pairs: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """The names of those that are zero or missing in ours, and no trifle in theirs."""
    sizes = {name: _size(torch, theirs) for name, (_, theirs) in pairs.items()}
    least = NEGLIGIBLE * max(sizes.values(), default=0.0)
    return [name for name, (mine, _) in pairs.items() if sizes[name] > least and (mine is None or not mine.any())]


def type_changes(pairs: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """Which tensors are of another type than in the baseline: a sentence for each such change."""
    found: dict[str, list[str]] = {}
    for name, (mine, theirs) in pairs.items():
        if mine is not None and theirs is not None and mine.dtype != theirs.dtype:
            found.setdefault("{} in place of {}".format(_kind(mine), _kind(theirs)), []).append(name)
    more = {how: " and {} more".format(len(names) - 1) if len(names) > 1 else "" for how, names in found.items()}
    return ["in the state there is {}: {}{}".format(how, found[how][0], more[how]) for how in found]


def _kind(tensor: Any) -> str:
    return str(tensor.dtype).replace("torch.", "")
