"""Products in 8 bits in ONNX Runtime, but for the few inputs that are much larger than the others (LLM.int8()).

Some inputs of large language models are a hundred times as large as the rest in every sample. Scaled by them, the
rest rounds to nothing. Those inputs, as samples for calibration show them, are multiplied as they are; the rest is in
8 bits, its scale taken anew in each call.

Only where 8 bits for all lose too much: it is slower than that.

Practice: SUS05-BP04: quantise to 16 or 8 bits where the quality holds
Source: LLM.int8(), arXiv 2208.07339, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from suffice.change.model import onnx_dynamic_int8
from suffice.change.model.rounding.units import too_few_to_calibrate
from suffice.form.description import Form
from suffice.measure.model.subject import Subject

AFTER = "onnx-runtime"
RESCUES = "onnx-dynamic-int8"
RISK = "numeric"
PRACTICE = "SUS05-BP04: quantise to 16 or 8 bits where the quality holds"
FILE = "model.onnx"
THRESHOLD = 6.0
"""Times the root mean square of a product's inputs."""
MEDIAN_OF_NORMAL = 0.6745
MOST_SHARE = 0.1
"""Of the inputs: more are no outliers."""
gain = onnx_dynamic_int8.gain


def propose(subject: Subject, flags: frozenset[str]) -> list[dict[str, Any]] | str:
    """Where samples tell which inputs those are."""
    return too_few_to_calibrate(subject) or onnx_dynamic_int8.propose(subject, flags)


def build(source: Form, source_folder: Path, folder: Path, settings: Mapping[str, Any], samples: Path) -> Form:
    """Split the products, and quantise the larger part of each."""
    import onnx

    from suffice.change.model.rounding.products import products_of

    path = onnx_dynamic_int8.prepared(source_folder / source.file, folder)
    model = onnx.load(path)
    products = list(products_of(model.graph))
    outliers = _outliers(path, source, {each.node.input[0] for each in products}, samples)
    precise = [_split(model.graph, each, found) for each in products if len(found := outliers[each.node.input[0]])]
    if not precise:
        raise ValueError(f"no product has inputs of {THRESHOLD:g} times the others' size")
    onnx.save(model, folder / "split.onnx")
    kinds = [each for each in onnx_dynamic_int8.PRODUCTS if each in source.settings["operators"]]
    onnx_dynamic_int8.quantise(folder / "split.onnx", folder / FILE, kinds, settings, exclude=precise)
    told = {"weights": "int8", "activations": "int8, dynamic, outliers float32", "split_products": len(precise)}
    return replace(source, file=FILE, settings={**source.settings, **told})


def _outliers(path: Path, form: Form, names: set[str], samples: Path) -> dict[str, Any]:
    """The places of the inputs that stand out, for each of the values; none where they are too many."""
    import numpy as np

    from suffice.change.model.rounding.products import rows_given

    largest: dict[str, Any] = {}
    squares: dict[str, list[float]] = {name: [] for name in names}
    for name, rows in rows_given(path, form, names, samples):
        largest[name] = np.maximum(largest.get(name, 0.0), np.abs(rows).max(axis=0))
        squares[name].append(float(np.median(np.square(rows))))
    found = {}
    for name, each in largest.items():
        usual = np.sqrt(np.mean(squares[name])) / MEDIAN_OF_NORMAL
        places = np.flatnonzero(each >= THRESHOLD * usual) if usual else np.array([], int)
        found[name] = places if len(places) <= MOST_SHARE * len(each) else places[:0]
    return found


def _split(graph: Any, product: Any, places: Any) -> str:
    """The product becomes one of the usual inputs and one of those that stand out; the latter's name."""
    import numpy as np
    import onnx

    node, name = product.node, product.node.output[0]
    names = {each: f"{name}.{each}" for each in ("mask", "places", "usual", "large", "few", "sum", "rest", "others")}
    usual = np.ones(product.weights.shape[1], np.float32)
    usual[places] = 0.0
    stored = {
        "mask": usual,
        "places": places.astype(np.int64),
        "usual": (product.weights * usual).T.astype(np.float32),
        "large": product.weights[:, places].T.astype(np.float32),
    }
    graph.initializer.extend(onnx.numpy_helper.from_array(np.ascontiguousarray(v), names[k]) for k, v in stored.items())
    given, make = node.input[0], onnx.helper.make_node
    last = f"{name}.both" if product.bias else name
    made = [
        make("Mul", [given, names["mask"]], [names["others"]]),
        make("MatMul", [names["others"], names["usual"]], [names["rest"]], name=f"{name}.product"),
        make("Gather", [given, names["places"]], [names["few"]], axis=-1, name=f"{name}.gather"),
        make("MatMul", [names["few"], names["large"]], [names["sum"]], name=f"{name}.precise"),
        make("Add", [names["rest"], names["sum"]], [last]),
    ]
    if product.bias:
        made.append(make("Add", [last, product.bias], [name]))
    place = list(graph.node).index(node)
    graph.node.remove(node)
    for number, each in enumerate(made):
        graph.node.insert(place + number, each)
    return f"{name}.precise"
