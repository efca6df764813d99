"""Dynamic 8 bits in ONNX Runtime for all but the products that bear them least: where 8 bits for all lose too much.

A product is judged by how far 8 bits move what it computes, on samples for calibration, each call with a scale of its
own as at run-time. The worst `precise` share of them stays in float32, and so do embeddings, which are looked up and
not multiplied. The search bisects that share by the user's own quality.

Not where 8 bits for all keep the floor: it can only be slower than that.

Practice: SUS05-BP04: quantise to 16 or 8 bits where the quality holds
Source: HAWQ, arXiv 1905.03696, for layers by sensitivity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from suffice.change.model import onnx_dynamic_int8
from suffice.change.model.rounding.units import too_few_to_calibrate
from suffice.form.description import Form
from suffice.measure.model.subject import Subject

AFTER = "onnx-runtime"
RESCUES = "onnx-dynamic-int8"
BISECTS = "precise"
RISK = "numeric"
PRACTICE = "SUS05-BP04: quantise to 16 or 8 bits where the quality holds"
FILE = "model.onnx"


def propose(subject: Subject, flags: frozenset[str]) -> list[dict[str, Any]] | str:
    """Half of them at first, where samples tell which."""
    few = too_few_to_calibrate(subject)
    return few or [{**each, BISECTS: 0.5} for each in onnx_dynamic_int8.propose(subject, flags)]


def gain(flags: frozenset[str]) -> float:
    """None over what it rescues."""
    return 1.0


def build(source: Form, source_folder: Path, folder: Path, settings: Mapping[str, Any], samples: Path) -> Form:
    """Quantise the products that bear it."""
    import onnx

    from suffice.change.model.rounding.products import products_of

    path = onnx_dynamic_int8.prepared(source_folder / source.file, folder)
    model = onnx.load(path)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"node{number}"
    products = list(products_of(model.graph))
    if len(products) < 2:
        raise ValueError("there are no two products to tell apart")
    onnx.save(model, folder / "named.onnx")
    ranking = _ranked(path, source, products, samples)
    precise = ranking[: max(1, round(settings[BISECTS] * len(ranking)))]
    exclude = [name for each in precise for name in (each, f"{each}_MatMul")]  # what becomes of a Gemm of that name
    kinds = [each for each in onnx_dynamic_int8.PRODUCTS if each in source.settings["operators"] and each != "Gather"]
    onnx_dynamic_int8.quantise(folder / "named.onnx", folder / FILE, kinds, settings, exclude=exclude)
    told = {"weights": "int8", "activations": f"int8, dynamic, {len(precise)} of {len(ranking)} float32"}
    return replace(source, file=FILE, settings={**source.settings, **told})


def _ranked(path: Path, form: Form, products: Sequence[Any], samples: Path) -> list[str]:
    """The names of the products, those that 8 bits move most first."""
    import numpy as np

    from suffice.change.model.rounding.outliers import rounded
    from suffice.change.model.rounding.products import rows_given

    weights = {each.node.name: each.weights.astype(np.float64) for each in products}
    codes = {name: rounded(each, axis=1) for name, each in weights.items()}
    readers: dict[str, list[str]] = {}
    for each in products:
        readers.setdefault(each.node.input[0], []).append(each.node.name)
    moved, whole = dict.fromkeys(weights, 0.0), dict.fromkeys(weights, 1e-30)
    for given, rows in rows_given(path, form, readers, samples):
        seen = rounded(rows, axis=None)
        for name in readers[given]:
            exact = rows @ weights[name].T
            moved[name] += float(np.square(seen @ codes[name].T - exact).sum())
            whole[name] += float(np.square(exact).sum())
    return sorted(weights, key=lambda name: -moved[name] / whole[name])
