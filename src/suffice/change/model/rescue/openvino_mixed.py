"""8 bits in OpenVINO for all but the activations that can bear it least: where 8 bits everywhere lose too much.

A quantiser is judged by how far the model's answers move when it alone is at work, on samples that calibrate: all of
them in one compiled model, in which each has a switch. The worst `precise` share of them is taken out; the weights stay
in 8 bits. The search bisects that share by the user's own quality.

Not where 8 bits everywhere keep the floor: it can only be slower than that.

Practice: SUS05-BP04: quantise to 16 or 8 bits where the quality holds
Source: HAWQ, arXiv 1905.03696, for layers by sensitivity; NNCF's accuracy control, which takes back one by one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from suffice.form.description import Form
from suffice.measure.model.subject import Subject

AFTER = "openvino-int8"
RESCUES = AFTER
BISECTS = "precise"
RISK = "numeric"
PRACTICE = "SUS05-BP04: quantise to 16 or 8 bits where the quality holds"
FILE = "model.xml"
RANKING = "quantisers.json"
SWITCHES = "switches"
MOST_ASKED = 32


def propose(subject: Subject, flags: frozenset[str]) -> list[dict[str, Any]] | str:
    """Half of them at first."""
    return [{BISECTS: 0.5}]


def gain(flags: frozenset[str]) -> float:
    """It is the source that is in 8 bits: nothing over that."""
    return 1.0


def build(source: Form, source_folder: Path, folder: Path, settings: Mapping[str, Any], samples: Path) -> Form:
    """Take out the most sensitive quantisers of activations."""
    import openvino

    path = source_folder / source.file
    known = source_folder / RANKING
    if not known.exists():
        known.write_text(json.dumps(ranked(path, [port.name for port in source.inputs], samples)))
    ranking = json.loads(known.read_text())
    model = openvino.Core().read_model(str(path))
    precise = set(ranking[: max(1, round(settings[BISECTS] * len(ranking)))])
    for each in _quantisers(model):
        if each.get_friendly_name() in precise:
            each.output(0).replace(each.input_value(0))
    openvino.save_model(model, str(folder / FILE), compress_to_fp16=False)
    told = {"activations": f"int8, {len(precise)} of {len(ranking)} float32"}
    return replace(source, file=FILE, settings={**source.settings, **told})


def ranked(path: Path, inputs: list[str], samples: Path) -> list[str]:
    """The names of the quantisers, the most sensitive first."""
    import numpy as np
    import openvino
    from openvino import opset13 as ops

    from suffice.form.samples import of_size, read_samples

    core = openvino.Core()
    model = core.read_model(str(path))
    quantisers = _quantisers(model)
    if not quantisers:
        raise ValueError("no activation is quantised in it")
    switches = ops.parameter([len(quantisers)], np.float32)
    switches.output(0).set_names({SWITCHES})
    for place, each in enumerate(quantisers):
        readers = each.output(0).get_target_inputs()
        plain = each.input_value(0)
        switch = ops.gather(switches, ops.constant(place), ops.constant(0))
        mixed = ops.add(plain, ops.multiply(switch, ops.subtract(each.output(0), plain)))
        for reader in readers:
            reader.replace_source_output(mixed.output(0))
    model.add_parameters([switches])
    model.validate_nodes_and_infer_types()
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    asked = of_size(read_samples(samples, "calibrate"), MOST_ASKED)
    given = dict(zip(inputs, asked.inputs, strict=True))

    def answer(state: Any) -> Any:
        return compiled({**given, SWITCHES: state})[0].astype(float)

    plain_answer = answer(np.zeros(len(quantisers), np.float32))
    moved = [float(np.square(answer(row) - plain_answer).mean()) for row in np.eye(len(quantisers), dtype=np.float32)]
    order = sorted(range(len(quantisers)), key=lambda place: -moved[place])
    return [quantisers[place].get_friendly_name() for place in order]


def _quantisers(model: Any) -> list[Any]:
    """Those of activations, in the graph's order; weights are stored in 8 bits and have none."""
    return [
        each
        for each in model.get_ordered_ops()
        if each.get_type_name() == "FakeQuantize" and each.input_value(0).get_node().get_type_name() != "Constant"
    ]
