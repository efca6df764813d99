"""A bundle answers as the form that it was written from, without PyTorch, and says what is wrong with it or its use."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import suffice
from suffice.errors import ModelError
from suffice.form.bundle import sha256
from suffice.form.calls import answer, open_here
from suffice.form.description import Form
from suffice.keep.bundle import write_bundle
from tests.form.made_bundles import TARGETS, made, searched

DIGIT = 48


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the small classifier in ONNX Runtime."""
    folder = tmp_path_factory.mktemp("made")
    subject, form = made("small", folder, "onnx-runtime")
    write_bundle(searched(subject, "onnx-runtime"), form, folder / "bundle")
    return folder / "bundle"


@pytest.fixture
def bundle(written: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(written, tmp_path / "bundle"))


def test_it_answers_arrays_and_tensors(written: Path) -> None:
    """As the module that it was made from, in any batch size."""
    sys.path.insert(0, str(TARGETS.parent))
    import targets  # type: ignore[import-not-found]

    sys.path.pop(0)
    module, model = targets.small()["model"].eval(), suffice.load(written)
    x = torch.randn(7, 16)
    with torch.no_grad():
        expected = module(x)
    np.testing.assert_allclose(model(x.numpy()), expected.numpy(), atol=1e-5)
    found = model(x)
    assert isinstance(found, torch.Tensor)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert model.self_test() < 1e-3
    assert model.notes == ()


def test_it_needs_no_torch(written: Path) -> None:
    """Its backend and numpy are enough."""
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np, suffice\n"
        f"model = suffice.load({str(written)!r})\n"
        "print(model.self_test() < 1e-3, model(np.zeros((2, 16), np.float32)).shape)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "True (2, 4)"


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ([np.zeros((2, 16))], "input must be float32, found float64"),
        ([np.zeros((2, 15), np.float32)], r"must have the shape \('batch', 16\), found \(2, 15\)"),
        ([np.zeros(16, np.float32)], "has 2 axes"),
        ([np.zeros((2, 16), np.float32)] * 2, r"takes 1 inputs \(input\), found 2"),
        ([np.zeros((0, 16), np.float32)], "the axis batch may be 1 or more, found 0"),
    ],
)
def test_inputs_that_do_not_fit(written: Path, inputs: list[object], says: str) -> None:
    """What was found and what is asked."""
    with pytest.raises(ModelError, match=says):
        suffice.load(written)(*inputs)


def flip_a_byte(bundle: Path) -> str:
    """Of the weights."""
    data = bytearray((bundle / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(data)
    return "model.onnx is not the file that was written"


def lose_a_file(bundle: Path) -> str:
    """The sample."""
    (bundle / "sample.npz").unlink()
    return "sample.npz is missing"


def lose_the_manifest(bundle: Path) -> str:
    """Then it is any folder."""
    (bundle / "manifest.toml").unlink()
    return "is no bundle"


def break_the_manifest(bundle: Path) -> str:
    """It is no TOML any more."""
    (bundle / "manifest.toml").write_text("schema = ")
    return "is no bundle"


def name_another_file(bundle: Path) -> str:
    """One that the manifest does not vouch for."""
    form = json.loads((bundle / "form.json").read_text())
    (bundle / "form.json").write_text(json.dumps(form | {"file": "../model.onnx"}))
    return "its hash is another"


def bring_code(bundle: Path) -> str:
    """A form that runs a file of Python, with hashes that fit."""
    form = json.loads((bundle / "form.json").read_text())
    (bundle / "evil.py").write_text("raise SystemExit('run')")
    changed = {"backend": "eager", "file": "evil.py:model", "settings": {"trust": True}}
    (bundle / "form.json").write_text(json.dumps(form | changed))
    lines = (bundle / "manifest.toml").read_text().splitlines()
    kept = [line for line in lines if not line.startswith('"form.json"')]
    named = [f'"{name}" = "{sha256(bundle / name)}"' for name in ("form.json", "evil.py")]
    (bundle / "manifest.toml").write_text("\n".join([*kept, *named]).replace('"onnx_runtime"', '"eager"'))
    return "is no form that a bundle may hold"


def bring_along(bundle: Path) -> str:
    """A file that nobody vouches for, such as weights that a graph would find."""
    (bundle / "model.bin").write_bytes(b"other weights")
    return "does not vouch for model.bin"


def come_from_the_future(bundle: Path) -> str:
    """A newer schema."""
    text = (bundle / "manifest.toml").read_text().replace("schema = 1", "schema = 99")
    (bundle / "manifest.toml").write_text(text)
    return "has the schema 99"


def link_elsewhere(bundle: Path) -> str:
    """A file that is a link."""
    (bundle / "model.onnx").rename(bundle.parent / "elsewhere.onnx")
    (bundle / "model.onnx").symlink_to(bundle.parent / "elsewhere.onnx")
    return "is no file of a bundle"


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_byte,
        lose_a_file,
        lose_the_manifest,
        break_the_manifest,
        name_another_file,
        bring_code,
        bring_along,
        come_from_the_future,
        link_elsewhere,
    ],
)
def test_a_damaged_bundle_is_not_opened(bundle: Path, damage: Callable[[Path], str]) -> None:
    """Nothing of it is run before all of it is found to be what was written."""
    says = damage(bundle)
    with pytest.raises(ModelError, match=says):
        suffice.load(bundle)


def test_another_processor_is_told(tmp_path: Path) -> None:
    """What was proven with flags that this one lacks may not hold."""
    subject, form = made("small", tmp_path, "onnx-runtime")
    write_bundle(searched(subject, "onnx-runtime", flags=("amx_of_tomorrow",)), form, tmp_path / "bundle")
    assert "amx_of_tomorrow, which this one lacks" in suffice.load(tmp_path / "bundle").notes[0]


def test_a_folder_that_is_no_bundle_is_not_replaced(tmp_path: Path) -> None:
    """A bundle is: as a whole."""
    subject, form = made("small", tmp_path, "onnx-runtime")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(ModelError, match="is no bundle"):
        write_bundle(searched(subject, "onnx-runtime"), form, mine)
    assert [each.name for each in mine.iterdir()] == ["thesis.txt"]
    (mine / "manifest.toml").write_text("schema = 1")
    with pytest.raises(ModelError, match="is there already"):
        write_bundle(searched(subject, "onnx-runtime"), form, mine)
    (tmp_path / "link").symlink_to(mine)
    with pytest.raises(ModelError, match="is a link"):
        write_bundle(searched(subject, "onnx-runtime"), form, tmp_path / "link")
    for _ in range(2):
        write_bundle(searched(subject, "onnx-runtime"), form, tmp_path / "bundle")
    assert {each.name for each in tmp_path.iterdir() if each.name.startswith(".")} == set()


def test_two_inputs_two_outputs_in_openvino(tmp_path: Path) -> None:
    """Their order holds; an axis that two inputs share must be the same in both."""
    subject, form = made("two_inputs", tmp_path, "onnx-runtime", "openvino")
    assert Form.read(form).settings["precision"] == "f32"
    write_bundle(searched(subject, "onnx-runtime", "openvino"), form, tmp_path / "bundle")
    model = suffice.load(tmp_path / "bundle")
    values, mask = np.ones((3, 4), np.float32), np.ones((3, 4), np.float32)
    first, second = model(values, mask)
    assert first.shape == (3, 1)
    np.testing.assert_allclose(second[0], [1, 2, 3, 4])
    with pytest.raises(ModelError, match="the axis length may be 2 to 9, found 10"):
        model(np.ones((3, 10), np.float32), np.ones((3, 10), np.float32))
    with pytest.raises(ModelError, match="length is 5 here and 4 in another input"):
        model(values, np.ones((3, 5), np.float32))


def test_many_and_single_answers_are_the_same(tmp_path: Path) -> None:
    """Samples are answered in their order, however many at a time."""
    made("small", tmp_path, "onnx-runtime")
    kept: dict[str, object] = {}
    samples = str(tmp_path / "samples")
    open_here(kept, str(tmp_path / "onnx-runtime"), samples, threads=1)
    answer(kept, samples, "search", str(tmp_path / "many.npz"))
    answer(kept, samples, "search", str(tmp_path / "single.npz"), batch=1, most=DIGIT)
    with np.load(tmp_path / "many.npz") as many, np.load(tmp_path / "single.npz") as single:
        assert many["0.0"].shape == (300, 4)
        np.testing.assert_allclose(single["0.0"], many["0.0"][:DIGIT], atol=1e-5)
