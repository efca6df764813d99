"""Every other block is left out, the rest is trained on, and only with consent."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from suffice.change.model.structure.layer_dropping import propose
from suffice.change.models import build_form, change_of
from suffice.form.description import Form
from suffice.measure.model.subject import Subject
from suffice.measure.model.torch_target import inspect_module
from suffice.prove.model.forms import ORIGINAL
from suffice.records import Risk
from tests.form.targets import CLASSES, FEATURES, blobs

TARGETS = Path(__file__).parents[3] / "form" / "targets.py"
BLOCK, HEAD = FEATURES * FEATURES + FEATURES, FEATURES * CLASSES + CLASSES


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    """A model of six equal blocks."""
    told = inspect_module({}, f"{TARGETS}:deep", str(tmp_path / "samples"), trust=False, quality=None)
    return Subject.from_json({**told, "fine_tune_steps": 40})


def test_half_of_the_longest_stack_is_proposed(subject: Subject) -> None:
    """With consent alone: it is another model."""
    assert subject.stacks == {"0": 6}
    assert propose(subject, frozenset()) == [{"stack": "0", "keep": 3, "steps": 40}]
    assert change_of("layer-dropping", {}).risk is Risk.SEMANTIC


def test_without_training_or_blocks_it_is_not_proposed(tmp_path: Path) -> None:
    """With the reason."""
    told = inspect_module({}, f"{TARGETS}:small", str(tmp_path / "samples"), trust=False, quality=None)
    assert propose(Subject.from_json(told), frozenset()) == "there is no fine_tune to train what is left"
    told = {**told, "fine_tune": True, "stacks": {"blocks": 3}}
    assert propose(Subject.from_json(told), frozenset()) == "it has no stack of 4 equal blocks"


def test_what_is_left_is_trained_and_exported(subject: Subject, tmp_path: Path) -> None:
    """Three blocks and the head; on the samples it is as good as before."""
    original, made = tmp_path / ORIGINAL, tmp_path / "made"
    original.mkdir()
    made.mkdir()
    subject.form.write(original)
    (settings,) = propose(subject, frozenset())
    folders = {"source": str(original), "folder": str(made), "samples": str(tmp_path / "samples")}
    build_form({}, "layer-dropping", settings, **folders)
    form = Form.read(made)
    assert form.settings["parameters"] == 3 * BLOCK + HEAD
    assert subject.parameters == 6 * BLOCK + HEAD
    assert form.settings["operators"]["Tanh"] == 3
    x, y = blobs()
    found = onnxruntime.InferenceSession(made / "model.onnx").run(None, {form.inputs[0].name: x.numpy()})[0]
    assert np.mean(found.argmax(1) == y.numpy()) > 0.9
