"""Bundles for tests: of the small targets by real techniques, and of graphs whose answers are known by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from suffice.change.models import build_form, change_of
from suffice.form.calls import open_here, write_sample
from suffice.form.description import Form, Port
from suffice.keep.bundle import write_bundle
from suffice.measure.model.subject import Subject
from suffice.measure.model.torch_target import inspect_module
from suffice.records import FormTrial, ModelSearch, Outcome, as_json

TARGETS = Path(__file__).parent / "targets.py"


def made(name: str, folder: Path, *changes: str) -> tuple[Subject, Path]:
    """A target's form, by these techniques one after the other."""
    told = inspect_module({}, f"{TARGETS}:{name}", str(folder / "samples"), trust=False, quality=None)
    subject, source = Subject.from_json(told), folder / "original"
    source.mkdir()
    subject.form.write(source)
    for change in changes:
        target = folder / change
        target.mkdir()
        build_form({}, change, {}, source=str(source), folder=str(target), samples=str(folder / "samples"))
        source = target
    kept: dict[str, object] = {}
    open_here(kept, str(source), str(folder / "samples"), threads=1)
    write_sample(kept, str(source / "sample.npz"))
    return subject, source


def searched(subject: Subject, *changes: str, flags: tuple[str, ...] = ()) -> ModelSearch:
    """A search that chose the form by these techniques."""
    trial = FormTrial(
        name=changes[-1],
        changes=tuple(change_of(each, {}) for each in changes),
        outcome=Outcome.KEPT,
        reason="as good",
        facts={"versions": {"onnxruntime": "1"}},
    )
    return ModelSearch(
        name="s",
        target=subject.target,
        started="2026-01-01T00:00:00+00:00",
        seconds=1.0,
        quality=subject.quality,
        floor="-0.5%",
        minimise="latency",
        threads=1,
        chosen=trial.name,
        trials=(trial,),
        refused=(),
        batches=(1,),
        subject=as_json(subject),
        machine={"processor": "made up", "flags": list(flags)},
    )


def by_hand(
    folder: Path,
    nodes: Sequence[Any],
    constants: Mapping[str, Any],
    *,
    batch: int | str = "batch",
    width: int = 2,
    name: str = "x",
    then: str | None = None,
    flags: tuple[str, ...] = (),
) -> Path:
    """A bundle of a graph from `name` (batch, width) to "y", zeros for zeros; `then` is a technique that goes on."""
    ports = [
        onnx.helper.make_tensor_value_info(each, onnx.TensorProto.FLOAT, shape)
        for each, shape in ((name, [batch, width]), ("y", None))
    ]
    stored = [onnx.numpy_helper.from_array(np.asarray(value, np.float32), each) for each, value in constants.items()]
    graph = onnx.helper.make_graph(list(nodes), "by-hand", ports[:1], ports[1:], stored)
    made_in = folder.parent / f"{folder.name}-made"
    made_in.mkdir(parents=True)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, made_in / "model.onnx")
    inputs = (Port(name=name, dtype="float32", shape=(batch, width)),)
    form = Form(backend="onnx_runtime", file="model.onnx", inputs=inputs, changes=("onnx-runtime",))
    form.write(made_in)
    zeros = np.zeros((batch if isinstance(batch, int) else 1, width), np.float32)
    np.savez(made_in / "sample.npz", input0=zeros, output000=zeros)
    subject = Subject(
        target=str(folder), parameters=1, weight_bytes=4, inputs=inputs, quality="agreement", samples={"search": 1}
    )
    changes = ["onnx-runtime"]
    if then is not None:
        source, made_in, sample = made_in, folder.parent / f"{folder.name}-then", made_in / "sample.npz"
        made_in.mkdir()
        build_form({}, then, {}, source=str(source), folder=str(made_in), samples=str(source))
        sample.rename(made_in / "sample.npz")
        changes.append(then)
    write_bundle(searched(subject, *changes, flags=flags), made_in, folder)
    return folder
