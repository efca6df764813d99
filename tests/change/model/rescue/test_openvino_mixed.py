"""8 bits but for the activations that can't bear it: the planted one is found, and without it the answers are right."""

from pathlib import Path

import numpy as np
import pytest

from suffice.change.model.rescue.openvino_mixed import ranked
from suffice.change.models import build_form
from suffice.form.backends import open_form
from suffice.form.description import Form
from suffice.measure.model.subject import Subject
from suffice.measure.model.torch_target import inspect_module
from tests.form.targets import planted

TARGETS = Path(__file__).parents[3] / "form" / "targets.py"
NEEDED = ("onnx-runtime", "openvino", "openvino-int8")


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of the original, its samples, and each form up to 8 bits."""
    place = tmp_path_factory.mktemp("forms")
    told = inspect_module({}, f"{TARGETS}:planted", str(place / "samples"), trust=False, quality=None)
    folders = {name: place / name for name in ("original", "samples", *NEEDED)}
    folders["original"].mkdir()
    Subject.from_json(told).form.write(folders["original"])
    for source, name in zip(("original", *NEEDED), NEEDED, strict=False):
        build(name, folders[source], folders[name], folders["samples"])
    return folders


def build(name: str, source: Path, folder: Path, samples: Path, **settings: object) -> None:
    """As a worker does."""
    folder.mkdir()
    build_form({}, name, settings, source=str(source), folder=str(folder), samples=str(samples))


def test_the_planted_quantiser_is_the_most_sensitive(forms: dict[str, Path]) -> None:
    """That of what the first layer gives; each is ranked once."""
    ranking = ranked(forms["openvino-int8"] / "model.xml", ["input"], forms["samples"])
    assert len(ranking) == len(set(ranking)) == 3
    assert "relu" in ranking[0].lower()
    assert "_1" not in ranking[0]


def test_without_it_the_answers_are_right(forms: dict[str, Path], tmp_path: Path) -> None:
    """A third of the quantisers is taken out, the others are at work."""
    build("openvino-mixed", forms["openvino-int8"], tmp_path / "mixed", forms["samples"], precise=0.34)
    form = Form.read(tmp_path / "mixed")
    assert form.settings["activations"] == "int8, 1 of 3 float32"
    assert form.changes == (*NEEDED, "openvino-mixed (precise=0.34)")
    model, x = planted()["model"], planted()["samples"][0][500:]
    theirs = model(x).detach().numpy()
    wrong = {
        folder.name: float(np.abs(open_form(folder, 1)([x.numpy()])[0] - theirs).mean() / np.abs(theirs).mean())
        for folder in (forms["openvino-int8"], tmp_path / "mixed")
    }
    assert wrong["openvino-int8"] > 0.5
    assert 0 < wrong["mixed"] < 0.2
