"""What the user points at (`file.py:factory`, a `.pt2`, a TorchScript file) -> the module, its samples, its judge.

A factory returns the module, or a dict:

    model            a `torch.nn.Module`
    example_inputs   a tuple of tensors
    dynamic          free axes of each input, {axis: name} or {axis: (name, least, most)}; else axis 0, as "batch"
    samples          (inputs, labels), or an iterable of such; labels may be left out; inputs are a tensor or a tuple
    quality          a name, or a function of (callable, samples) -> float, where higher is better
    fine_tune        a function of (module, steps) that trains it
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from suffice.errors import ModelError

KEYS = ("model", "example_inputs", "dynamic", "samples", "quality", "fine_tune")
EXAMPLE = "def classifier(): return {'model': model, 'example_inputs': (x,), 'samples': (x, labels)}"
BATCH, LABELS = "batch", "labels"


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A user's model in this process; `dynamic` names each input's free axes, `bounds` what is known of their sizes."""

    module: torch.nn.Module
    example_inputs: tuple[torch.Tensor, ...]
    dynamic: tuple[Mapping[int, str], ...]
    bounds: Mapping[str, tuple[int, int]]
    samples: Any
    quality: str | Callable[..., float] | None
    fine_tune: Callable[..., Any] | None


def load_target(target: str, *, trust: bool = False, samples: str | None = None) -> Loaded:
    """The model that `target` names; for a file, `samples` is an .npz with its inputs in their order, and `labels`.

    Raises:
        ModelError: if there is none, it is not what a target must be, or only pickle could load it and is not trusted.
    """
    path, separator, factory = target.rpartition(":")
    if separator and path.endswith(".py"):
        return _loaded(target, _factory(Path(path), factory)())
    suffix = Path(target).suffix
    if not Path(target).is_file():
        raise ModelError(
            f"there is no file {target}", hint="a target is file.py:factory, or a .pt2, .pt, .pth, .ts or .onnx file"
        )
    if suffix == ".pt2":
        _require_trust(target, trust=trust)
        return _loaded(target, {**_given(samples), **_program(torch.export.load(target))})
    if suffix in {".ts", ".pt", ".pth", ".torchscript"}:
        return _loaded(target, {"model": _script(target, trust=trust), **_given(samples)})
    raise ModelError(f"{target} is no model that is known", hint=f"a factory is {EXAMPLE}")


def _factory(path: Path, name: str) -> Callable[[], Any]:
    if not path.is_file():
        raise ModelError(f"there is no file {path}")
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{path} can't be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    found = getattr(module, name, None)
    if not callable(found):
        known = ", ".join(each for each, value in vars(module).items() if callable(value) and not each.startswith("_"))
        raise ModelError(f"{path} has no function {name!r}", hint=f"it has {known or 'none'}")
    result: Callable[[], Any] = found
    return result


def _script(target: str, *, trust: bool) -> Any:
    """A TorchScript archive; a file that `torch.save` wrote is pickle, which runs what its writer wants."""
    try:
        with warnings.catch_warnings():  # it is deprecated, and yet what such files are read with
            warnings.simplefilter("ignore", DeprecationWarning)
            return torch.jit.load(target)
    except RuntimeError:
        if _is_plain(target):
            weights = f"model.load_state_dict(torch.load({Path(target).name!r}))"
            raise ModelError(
                f"{target} holds weights alone, and not the model that they belong to",
                hint=f"name a function that makes it, file.py:factory, and in it {weights}",
            ) from None
        _require_trust(target, trust=trust)
        return torch.load(target, weights_only=False)


def _is_plain(target: str) -> bool:
    """Whether a file of `torch.save` has but tensors and plain values, which are loaded without running code."""
    try:
        torch.load(target, weights_only=True, map_location="cpu")
    except Exception:  # noqa: BLE001 - of many kinds: it has classes, or is no such file
        return False
    return True


def _require_trust(target: str, *, trust: bool) -> None:
    if not trust:
        raise ModelError(
            f"{target} is read by pickle, which would run code that it brings",
            hint="--trust loads it all the same; safer are file.py:factory, TorchScript and ONNX",
        )


def _program(program: Any) -> dict[str, Any]:
    """An exported program, its example inputs, and the axes that it leaves free."""
    inputs, _ = program.example_inputs or ((), {})
    names = {each.arg.name for each in program.graph_signature.input_specs if each.kind.name == "USER_INPUT"}
    shapes = [node.meta["val"].shape for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    axes = [
        {axis: BATCH if axis == 0 else str(size) for axis, size in enumerate(shape) if not isinstance(size, int)}
        for shape in shapes
    ]
    return {"model": program.module(), "example_inputs": inputs, "dynamic": tuple(axes)}


def _given(samples: str | None) -> dict[str, Any]:
    """What a file of samples brings: the samples, and the first two of them as example inputs."""
    if samples is None:
        return {}
    with np.load(samples, allow_pickle=False) as arrays:
        inputs = tuple(map(_usual_format, (arrays[name] for name in arrays.files if name != LABELS)))
        labels = torch.from_numpy(arrays[LABELS]) if LABELS in arrays.files else None
    return {"example_inputs": tuple(each[:2] for each in inputs), "samples": [(inputs, labels)]}


def _usual_format(array: Any) -> torch.Tensor:
    """What numpy has in float64 for no reason is float32 in nearly every model."""
    return torch.from_numpy(array.astype(np.float32) if array.dtype == np.float64 else array)


def _loaded(target: str, found: Any) -> Loaded:
    parts = dict(found) if isinstance(found, Mapping) else {"model": found}
    strange = sorted(set(parts) - set(KEYS))
    if strange:
        raise ModelError(f"{target} returns {', '.join(strange)}", hint=f"it may return {', '.join(KEYS)}")
    module = parts.get("model")
    if not isinstance(module, torch.nn.Module):
        raise ModelError(f"{target}: model must be a torch.nn.Module, found {type(module).__name__}", hint=EXAMPLE)
    inputs = parts.get("example_inputs", getattr(module, "example_input_array", None))
    inputs = (inputs,) if isinstance(inputs, torch.Tensor) else tuple(inputs or ())
    if not inputs or not all(isinstance(each, torch.Tensor) for each in inputs):
        raise ModelError(f"{target}: example_inputs must be a tuple of tensors", hint=f"{EXAMPLE}, or --samples")
    if any(each.dtype is torch.bfloat16 for each in inputs):
        raise ModelError(f"{target}: its inputs are bfloat16, which arrays can't hold", hint="hand it over in float32")
    dynamic = tuple(parts.get("dynamic") or ({0: BATCH} for _ in inputs))
    if len(dynamic) != len(inputs) or not all(isinstance(each, Mapping) for each in dynamic):
        raise ModelError(f"{target}: dynamic needs {{axis: name}} for each of {len(inputs)} inputs, found {dynamic!r}")
    if not all(isinstance(each, str) or _is_bounded(each) for axes in dynamic for each in axes.values()):
        raise ModelError(f"{target}: a free axis is a name or (name, least, most), found {dynamic!r}")
    quality = parts.get("quality")
    if not (quality is None or isinstance(quality, str) or callable(quality)):
        raise ModelError(f"{target}: quality must be a name or a function, found {type(quality).__name__}")
    with contextlib.suppress(NotImplementedError):  # an exported program has the mode that it was exported in
        module.eval()
    return Loaded(
        module=module,
        example_inputs=inputs,
        dynamic=tuple({axis: _name(each) for axis, each in axes.items()} for axes in dynamic),
        bounds={each[0]: (each[1], each[2]) for axes in dynamic for each in axes.values() if not isinstance(each, str)},
        samples=parts.get("samples"),
        quality=quality,
        fine_tune=parts.get("fine_tune"),
    )


def _name(axis: str | tuple[str, int, int]) -> str:
    return axis if isinstance(axis, str) else axis[0]


def _is_bounded(axis: Any) -> bool:
    """Whether it is a name with the least and the most that the axis may be."""
    if not (isinstance(axis, tuple | list) and len(axis) == 3 and isinstance(axis[0], str)):
        return False
    least, most = axis[1:]
    return isinstance(least, int) and isinstance(most, int) and 1 <= least <= most
