"""What a killed search leaves is found by the next one of the same model, and by no other."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suffice.loop.search_folder import KEPT_DAYS, search_folder
from suffice.measure.model.subject import Subject
from suffice.measure.model.torch_target import inspect_module
from suffice.prove.model.forms import Forms, Limits, Made
from suffice.records import Change, Risk

TARGETS = Path(__file__).parents[1] / "form" / "targets.py"
EXPORT = Change(id="onnx-runtime", settings={}, risk=Risk.EXACT, practice="")


def test_a_folder_is_one_searchs_alone(tmp_path: Path) -> None:
    """Another search of the same model at the same time gets another one; both are gone at the end."""
    with search_folder(tmp_path / "models", "a.py:model") as first:
        with search_folder(tmp_path / "models", "a.py:model") as second:
            assert first != second
        with search_folder(tmp_path / "models", "b.py:model") as other:
            assert other not in {first, second}
    assert list((tmp_path / "models").iterdir()) == []
    with search_folder(tmp_path / "models", "a.py:model") as again:
        assert again == first


def test_what_was_left_long_ago_is_removed(tmp_path: Path) -> None:
    """And not what was left yesterday."""
    for name, days in (("old", KEPT_DAYS + 1), ("new", 1)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").touch()
        os.utime(tmp_path / name, (time.time() - days * 86_400,) * 2)
    with search_folder(tmp_path, "a.py:model"):
        assert not (tmp_path / "old").exists()
        assert (tmp_path / "new").exists()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A user's file."""
    path = tmp_path / "target.py"
    path.write_text(TARGETS.read_text())
    return path


def opened(target: Path, folder: Path) -> Forms:
    """Its forms, as a search opens them."""
    told: Any = inspect_module({}, f"{target}:small", str(folder / "samples"), trust=False, quality=None)
    subject = replace(Subject.from_json(told), target=f"{target}:small")
    return Forms(subject, folder, os.environ, Limits(), bill=lambda *_: {}, loading={})


def test_forms_of_the_same_model_are_not_built_again(target: Path, tmp_path: Path) -> None:
    """Those of a model that was changed since are removed."""
    place = tmp_path / "search"
    place.mkdir()
    for known, content in enumerate((b"", b"what the first one built")):
        forms = opened(target, place)
        forms.close()
        assert forms.found == known
        made = Made(name="onnx-runtime", folder=forms.new_folder("onnx-runtime"), changes=(EXPORT,))
        forms.build(EXPORT, forms.original, made)
        model = made.folder / "model.onnx"
        assert (model.read_bytes() == content) is bool(known)
        model.write_bytes(b"what the first one built")
    target.write_text(f"{target.read_text()}\nTHRESHOLD = 2\n")
    forms = opened(target, place)
    forms.close()
    assert forms.found == 0
    assert not model.exists()
