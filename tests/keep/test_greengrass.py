"""A bundle's component is what AWS documents, and its lifecycle runs as Greengrass runs it, but for the network."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import onnx
import pytest

from suffice.errors import ModelError
from suffice.keep.greengrass import component_of, write_component
from tests.conftest import TIMEOUT_S
from tests.form.made_bundles import by_hand

# By "AWS IoT Greengrass component recipe reference": what of a recipe's fields is used here.
STEP = {
    "type": "object",
    "required": ["Script"],
    "properties": {"Script": {"type": "string"}, "Timeout": {"type": "integer", "minimum": 1}},
    "additionalProperties": False,
}
RECIPE = {
    "type": "object",
    "required": ["RecipeFormatVersion", "ComponentName", "ComponentVersion", "Manifests"],
    "additionalProperties": False,
    "properties": {
        "RecipeFormatVersion": {"const": "2020-01-25"},
        "ComponentName": {"type": "string", "pattern": r"^[a-zA-Z0-9-_.]+$", "maxLength": 128},
        "ComponentVersion": {"type": "string", "pattern": r"^(0|[1-9]\d{0,5})(\.(0|[1-9]\d{0,5})){2}$"},
        "ComponentDescription": {"type": "string"},
        "ComponentConfiguration": {
            "type": "object",
            "required": ["DefaultConfiguration"],
            "properties": {"DefaultConfiguration": {"type": "object"}},
            "additionalProperties": False,
        },
        "Manifests": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "Platform": {
                        "type": "object",
                        "properties": {
                            "os": {"enum": ["linux", "darwin", "windows", "*"]},
                            "architecture": {"enum": ["amd64", "arm", "aarch64", "x86", "*"]},
                        },
                        "additionalProperties": False,
                    },
                    "Lifecycle": {
                        "type": "object",
                        "properties": {"install": STEP, "run": STEP},
                        "additionalProperties": False,
                    },
                    "Artifacts": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["Uri"],
                            "properties": {
                                "Uri": {"type": "string", "pattern": "^s3://"},
                                "Unarchive": {"enum": ["NONE", "ZIP"]},
                            },
                            "additionalProperties": False,
                        },
                    },
                },
            },
        },
    },
}
PYTHON = """#!/bin/sh
# In place of a device's Python: environments and pip are only noted, all else is run.
case "$1 $2" in
"-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
"-m pip") cat "$5" > "$NOTED" ;;
*) exec {python} "$@" ;;
esac
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A small one, whose name a component can't have."""
    return by_hand(tmp_path / "my model", [onnx.helper.make_node("Identity", ["x"], ["y"])], {})


def unpacked(folder: Path, place: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The recipe, and where what its variables name lies once Greengrass has unpacked the archive."""
    recipe = json.loads((folder / "recipe.json").read_text())
    (archive,) = folder.glob("*.zip")
    with zipfile.ZipFile(archive) as zipped:
        zipped.extractall(place / "unpacked" / archive.stem)
    (place / "work").mkdir()
    (place / "python").write_text(PYTHON.format(python=sys.executable))
    (place / "python").chmod(0o755)
    return recipe, {
        "{artifacts:decompressedPath}": str(place / "unpacked"),
        "{work:path}": str(place / "work"),
        "{configuration:/python}": str(place / "python"),
        "{configuration:/threads}": "1",
    }


def run(step: dict[str, Any], variables: dict[str, str], place: Path) -> subprocess.CompletedProcess[str]:
    """A step's script, its variables filled in, in the component's working folder."""
    script = step["Script"]
    for name, value in variables.items():
        script = script.replace(name, value)
    assert "{" not in script
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"NOTED": str(place / "noted")}
    return subprocess.run(
        ["sh", "-c", script],
        cwd=place / "work",
        env=env,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def test_a_component_is_installed_and_run(bundle: Path, tmp_path: Path) -> None:
    """The recipe has the documented fields; install answers the bundle's sample, by the suffice that it brought."""
    folder = write_component(bundle)
    recipe, variables = unpacked(folder, tmp_path)
    jsonschema.validate(recipe, RECIPE)
    assert recipe["ComponentName"] == "com.example.my-model"
    (manifest,) = recipe["Manifests"]
    (artifact,) = manifest["Artifacts"]
    assert artifact["Uri"].endswith(f"/{recipe['ComponentVersion']}/my-model.zip")
    installed = run(manifest["Lifecycle"]["install"], variables, tmp_path)
    assert installed.returncode == 0, installed.stderr
    assert float(installed.stdout.splitlines()[-1]) == 0
    noted = (tmp_path / "noted").read_text().splitlines()
    assert noted[0] == "onnxruntime==1"
    assert noted[1].startswith("numpy==")
    ran = run(manifest["Lifecycle"]["run"], variables, tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "its own sample is answered" in ran.stdout
    program = (
        "import sys\n"
        "for name in ('torch', 'click', 'rich', 'psutil', 'pynvml'): sys.modules[name] = None\n"
        "import suffice; suffice.load('bundle').self_test(); print(suffice.__file__)"
    )
    place = tmp_path / "unpacked" / "my-model"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=place, env=env, capture_output=True, text=True, check=True
    )
    assert Path(told.stdout.strip()) == place / "suffice" / "__init__.py"
    assert "Apache License" in (place / "suffice" / "LICENSE").read_text()


def test_an_install_that_answers_otherwise_fails(bundle: Path, tmp_path: Path) -> None:
    """A model that was damaged on its way is not installed."""
    recipe, variables = unpacked(write_component(bundle), tmp_path)
    (tmp_path / "unpacked" / "my-model" / "bundle" / "model.onnx").write_bytes(b"another")
    done = run(recipe["Manifests"][0]["Lifecycle"]["install"], variables, tmp_path)
    assert done.returncode != 0
    assert "its hash is another" in done.stderr


def test_a_component_is_not_replaced(bundle: Path) -> None:
    """Its recipe may have been filled in; and no scrap is left beside it."""
    folder = write_component(bundle)
    (folder / "recipe.json").write_text("mine")
    with pytest.raises(ModelError, match="is there already"):
        write_component(bundle)
    assert (folder / "recipe.json").read_text() == "mine"
    assert folder == component_of(bundle)
    assert [each.name for each in bundle.parent.iterdir() if each.name.startswith(".")] == []
