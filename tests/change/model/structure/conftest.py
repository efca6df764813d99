"""A technique applied to one of the models here, as a search does it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from suffice.change.models import build_form, technique
from suffice.form.description import Form
from suffice.form.target import load_target
from suffice.measure.model.subject import Subject
from suffice.measure.model.torch_target import inspect_module
from suffice.prove.model.forms import ORIGINAL

TARGETS = Path(__file__).with_name("targets.py")
STEPS = 40


class Made:
    """A form that a technique made: what is known of the original, the form's settings, and its answers."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        self.subject = subject
        self.form = Form.read(folder)
        self.session = onnxruntime.InferenceSession(folder / "model.onnx")

    @property
    def share(self) -> float:
        """Of the original's parameters."""
        return float(self.form.settings["parameters"] / self.subject.parameters)

    def answers(self, *inputs: Any) -> Any:
        """Its first output."""
        names = [port.name for port in self.form.inputs]
        return self.session.run(None, dict(zip(names, inputs, strict=True)))[0]

    def accuracy(self, name: str) -> float:
        """On all samples of a target."""
        x, y = load_target(f"{TARGETS}:{name}").samples
        return float(np.mean(self.answers(x.numpy()).argmax(1) == y.numpy()))


@pytest.fixture
def look(tmp_path: Path) -> Callable[[str], Subject]:
    """What is known of one of the models here, its samples written."""

    def looked(name: str) -> Subject:
        told = inspect_module({}, f"{TARGETS}:{name}", str(tmp_path / "samples"), trust=False, quality=None)
        return Subject.from_json({**told, "fine_tune_steps": STEPS})

    return looked


@pytest.fixture
def make(tmp_path: Path, look: Callable[[str], Subject]) -> Callable[..., Made]:
    """Build by a technique, with its first proposal or with other settings."""

    def made(change: str, name: str, settings: Mapping[str, Any] | None = None) -> Made:
        subject = look(name)
        if settings is None:
            settings = technique(change).propose(subject, frozenset())[0]
        original, folder = tmp_path / ORIGINAL, tmp_path / "made"
        for each in (original, folder):
            each.mkdir(exist_ok=True)
        subject.form.write(original)
        folders = {"source": str(original), "folder": str(folder), "samples": str(tmp_path / "samples")}
        build_form({}, change, settings, **folders)
        return Made(subject, folder)

    return made
