"""The chosen form of a model and its search -> a bundle: its folder, with a sample, and its proof in a manifest."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from suffice import __version__
from suffice.errors import ModelError
from suffice.form.backends import BUNDLED
from suffice.form.bundle import MANIFEST, SAMPLE, SCHEMA, read_manifest, require_intact, sha256
from suffice.form.description import FILE, Form, files_of
from suffice.keep.toml import comment, key, literal
from suffice.records import ModelSearch, as_json

TOLERANCE = {"exact": 1e-3, "numeric": 2e-2}
"""Of the largest output: rounding differs between processors, and for few bits more."""


def require_place(bundle: Path) -> None:
    """Raise where something is that is no bundle, or not as it was written: it is not ours to replace.

    Raises:
        ModelError: naming what is there.
    """
    hint = "name another with --bundle"
    if bundle.is_symlink():
        raise ModelError(f"{bundle} is a link, and would not be replaced", hint=hint)
    if not bundle.exists():
        return
    try:
        require_intact(bundle, read_manifest(bundle))
    except ModelError as error:
        raise ModelError(f"{bundle} is there already: {error}", hint=hint) from error


def write_bundle(search: ModelSearch, made: Path, bundle: Path) -> None:
    """Write the form in `made`, with its sample, as a bundle; an earlier bundle of that name is replaced as a whole.

    Raises:
        ModelError: if something else is there, or the form needs the user's own code.
    """
    form = Form.read(made)
    if form.backend not in BUNDLED:
        raise ModelError("the model stays as it is, and a bundle can't hold the user's own code")
    require_place(bundle)
    bundle.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{bundle.name}-", dir=bundle.parent) as scratch:
        draft, before = Path(scratch, "draft"), Path(scratch, "before")
        draft.mkdir()
        for path in (*files_of(made), made / SAMPLE):
            shutil.copyfile(path, draft / path.name)
        files = {path.name: sha256(path) for path in sorted(draft.iterdir())}
        (draft / MANIFEST).write_text("\n".join(_lines(search, form, files)) + "\n")
        if bundle.exists():
            bundle.rename(before)
        draft.rename(bundle)


def _lines(search: ModelSearch, form: Form, files: Mapping[str, str]) -> Iterator[str]:
    chosen = search.trial(search.chosen)
    risks = {str(change.risk) for change in chosen.changes}
    yield from comment("Written by suffice improve. suffice.load(folder) gives a callable; it checks all of this.")
    yield f"schema = {SCHEMA}"
    yield from _table("model", {"target": search.target, "made": search.started, "suffice": __version__, "licence": ""})
    settings = {name: value for name, value in form.settings.items() if name != "operators"}
    run = {
        "backend": form.backend,
        "file": form.file,
        "form": FILE,
        "threads": search.threads,
        "precision": form.settings.get("weights") or chosen.facts.get("precision", "f32"),
        "settings": settings,
        "versions": chosen.facts.get("versions", {}),
        "changes": [change.name for change in chosen.changes],
    }
    yield from _table("run", run)
    yield from _table("processor", {"flags": list(search.machine["flags"]), "name": search.machine["processor"]})
    for port in form.inputs:
        yield from ("", "[[inputs]]")
        yield from _pairs({"name": port.name, "dtype": port.dtype, "shape": list(map(str, port.shape))})
    yield from _table("bounds", search.subject.get("bounds") or {})
    yield from _table(
        "self_test", {"sample": SAMPLE, "tolerance": TOLERANCE["exact" if risks <= {"exact"} else "numeric"]}
    )
    proof = {
        "quality": search.quality,
        "floor": search.floor,
        "verdict": chosen.reason,
        "batches": list(search.batches),
    }
    yield from _table("proof", proof)
    yield from _table("figures", as_json(chosen.figures))
    yield from _table("files", files)


def _table(name: str, values: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", f"[{name}]")
    yield from _pairs(values)


def _pairs(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        if value is not None:
            yield f"{key(name)} = {literal(value)}"
