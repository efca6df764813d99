"""A bundle, the folder that `suffice improve MODEL` wrote -> a callable; it needs the form's backend and no PyTorch.

    manifest.toml   what it is, what it takes and gives, the hash of every other file, what was proven and where
    form.json       what runs it
    sample.npz      one sample and its answer, for the self-test

Nothing in it is trusted: hashes are compared before a file is opened, inputs before they are computed with. One that
holds machine code, which runs whatever its writer put there, is opened where the caller trusts it, and on processors
that have all the instructions that it was compiled with.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from suffice.errors import ModelError
from suffice.form.backends import BUNDLED, MACHINE_CODE, open_form
from suffice.form.description import FILE, Form
from suffice.tables import processor_fields

MANIFEST, SAMPLE = "manifest.toml", "sample.npz"
SCHEMA = 1
UNBOUNDED = float("inf")
INSTRUCTIONS = re.compile(
    r"(sse|ssse3|pni|avx|fma|f16c|bmi|abm|movbe|popcnt|adx|amx|aes|pclmul|vaes|vpclmul|gfni|sha|cx16|lahf|3dnow|xop|tbm)"
)
"""How the kernel's flags begin that name instructions which a compiler may use; the others name what a kernel does."""

Bounds = Mapping[str, Sequence[int]]
"""The least and the most of free axes that have such."""


class Bundle:
    """A model that can be called; `notes` say what was not proven on this processor.

    Call it with as many arrays, or tensors of PyTorch, as it has inputs; the answer is of the same kind, or a tuple.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any], threads: int, notes: Sequence[str]) -> None:
        self.folder = folder
        self.manifest = manifest
        self.notes = tuple(notes)
        self.form = Form.read(folder)
        self.bounds: Bounds = manifest.get("bounds", {})
        self.session = open_form(folder, threads)

    def __call__(self, *inputs: Any) -> Any:
        """The model's answer.

        Raises:
            ModelError: if there are more or fewer inputs than it takes, or one has another type or shape.
        """
        torch_given = any(hasattr(each, "numpy") for each in inputs)
        arrays = [each.numpy(force=True) if hasattr(each, "numpy") else np.asarray(each) for each in inputs]
        require_fit(self.form, self.bounds, arrays)
        found = self.session([np.ascontiguousarray(each) for each in arrays])
        if torch_given:
            import torch  # noqa: PLC0415 - whoever gives tensors has it

            found = [torch.from_numpy(each) for each in found]
        return found[0] if len(found) == 1 else tuple(found)

    def self_test(self) -> float:
        """Answer the sample that came with it; the largest difference from the answer that it had, in its scale.

        Raises:
            ModelError: if the answer is another one.
        """
        with np.load(self.folder / SAMPLE, allow_pickle=False) as arrays:
            inputs = [arrays[f"input{number}"] for number in range(len(self.form.inputs))]
            expected = [arrays[name] for name in sorted(arrays.files) if name.startswith("output")]
        found = self(*inputs)
        found = list(found) if isinstance(found, tuple) else [found]
        furthest = 0.0
        for ours, theirs in zip(found, expected, strict=True):
            scale = float(np.abs(theirs).max()) or 1.0
            furthest = max(furthest, float(np.abs(ours.astype(float) - theirs).max()) / scale)
        tolerance = float(self.manifest["self_test"]["tolerance"])
        if not furthest <= tolerance:
            raise ModelError(
                f"the bundle's own sample is answered with a difference of {furthest:.2g}, not {tolerance:g}"
            )
        return furthest


def require_fit(form: Form, bounds: Bounds, arrays: Sequence[Any]) -> None:
    """Raise where these are not the inputs that a form takes.

    Raises:
        ModelError: naming the input, with what was found and what is allowed.
    """
    if len(arrays) != len(form.inputs):
        names = ", ".join(port.name for port in form.inputs)
        raise ModelError(f"the model takes {len(form.inputs)} inputs ({names}), found {len(arrays)}")
    sizes: dict[str, int] = {}
    for array, port in zip(arrays, form.inputs, strict=True):
        if array.dtype != np.dtype(port.dtype):
            raise ModelError(f"{port.name} must be {port.dtype}, found {array.dtype}")
        if array.ndim != len(port.shape):
            raise ModelError(f"{port.name} has {len(port.shape)} axes {port.shape}, found {array.shape}")
        for size, asked in zip(array.shape, port.shape, strict=True):
            if isinstance(asked, int) and size != asked:
                raise ModelError(f"{port.name} must have the shape {port.shape}, found {array.shape}")
            if isinstance(asked, str):
                _require_size(bounds, port.name, asked, size, sizes)


def _require_size(bounds: Bounds, port: str, axis: str, size: int, sizes: dict[str, int]) -> None:
    least, most = bounds.get(axis, (1, UNBOUNDED))
    if not least <= size <= most:
        told = f"{least} or more" if most == UNBOUNDED else f"{least} to {most}"
        raise ModelError(f"{port}: the axis {axis} may be {told}, found {size}")
    if sizes.setdefault(axis, size) != size:
        raise ModelError(f"{port}: the axis {axis} is {size} here and {sizes[axis]} in another input")


def load(folder: str | Path, *, threads: int | None = None, trust: bool = False) -> Bundle:
    """The model of a bundle, once its files are those that were written; `trust`: it may be machine code.

    Raises:
        ModelError: if it is no bundle, or a file is missing, another, or one too many; if it is machine code that is
            not trusted, or for another processor.
        MissingExtraError: if its backend is not installed.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    require_intact(folder, manifest)
    _require_trusted(folder, Form.read(folder), trust=trust)
    return Bundle(folder, manifest, threads or int(manifest["run"]["threads"]), notes_of(manifest))


def read_manifest(folder: Path) -> dict[str, Any]:
    """What the bundle says of itself.

    Raises:
        ModelError: if there is none, or a newer suffice wrote it.
    """
    path = folder / MANIFEST
    try:
        manifest = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} is no bundle: {error}", hint="`suffice improve MODEL` writes one") from error
    missing = [name for name in ("schema", "run", "files", "processor", "self_test") if name not in manifest]
    if missing:
        raise ModelError(f"{path} lacks {', '.join(missing)}")
    if manifest["schema"] > SCHEMA:
        raise ModelError(f"{path} has the schema {manifest['schema']}, and this suffice reads {SCHEMA}")
    return manifest


def require_intact(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raise where the files are not those that were written, or could run code.

    Raises:
        ModelError: naming the file.
    """
    files = manifest["files"]
    for name, digest in files.items():
        path = folder / name
        if Path(name).name != name or path.is_symlink():
            raise ModelError(f"{folder}: {name!r} is no file of a bundle")
        if not path.is_file():
            raise ModelError(f"{folder}: {name} is missing")
        if sha256(path) != digest:
            raise ModelError(f"{folder}: {name} is not the file that was written: its hash is another")
    strangers = sorted({path.name for path in folder.iterdir()} - {MANIFEST, *files})
    if strangers:
        raise ModelError(f"{folder}: the manifest does not vouch for {', '.join(strangers)}")
    if not {FILE, SAMPLE} <= files.keys():
        raise ModelError(f"{folder}: the manifest names no {FILE} or no {SAMPLE}")
    form = Form.read(folder)
    if form.file not in files or form.backend not in BUNDLED or form.backend != manifest["run"]["backend"]:
        raise ModelError(f"{folder}: {form.backend} with {form.file} is no form that a bundle may hold")


def _require_trusted(folder: Path, form: Form, *, trust: bool) -> None:
    """Raise where it would run code that nobody trusts, or instructions that this processor does not have."""
    if form.backend in MACHINE_CODE and not trust:
        raise ModelError(
            f"{folder} holds machine code ({form.backend}), which runs whatever its writer put there",
            hint="suffice.load(folder, trust=True), or --trust, opens it where you trust who wrote it",
        )
    missing = sorted(set(form.settings.get("instructions", ())) - flags_here())
    if missing:
        raise ModelError(
            f"{folder} holds machine code for processors with {', '.join(missing)}, which this one lacks",
            hint="`suffice improve` on this processor makes one for it",
        )


def sha256(path: Path) -> str:
    """The hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flags_here() -> frozenset[str]:
    """What this processor can do, in the kernel's words."""
    told = processor_fields(Path("/proc/cpuinfo").read_text())
    return frozenset((told.get("flags") or told.get("Features") or "").split())


def instructions(flags: Iterable[str]) -> list[str]:
    """Those of a processor's flags that code compiled for it may need; of ARM's, all."""
    found = sorted(flags)
    return [flag for flag in found if INSTRUCTIONS.match(flag)] if "sse" in found else found


def notes_of(manifest: Mapping[str, Any]) -> list[str]:
    """What of the proof does not hold on this processor."""
    proven = frozenset(manifest["processor"]["flags"])
    missing = sorted(proven - flags_here())
    return [f"it was proven on a processor with {', '.join(missing)}, which this one lacks"] if missing else []
