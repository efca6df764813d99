"""A bundle -> a component of AWS IoT Greengrass v2 beside it: its recipe, and the archive that it brings to a device.

The archive holds the bundle, the part of suffice that opens it, the versions that it was proven with, and a program for
the user's own code. Nothing is uploaded: the recipe names a bucket that is the user's to fill in.

Source: AWS IoT Greengrass Version 2, "AWS IoT Greengrass component recipe reference", format 2020-01-25.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

from suffice.errors import ModelError
from suffice.form.bundle import read_manifest, require_intact
from suffice.form.description import Form

BUCKET = "s3://YOUR-BUCKET"
PREFIX = "com.example"
"""Names that the user replaces."""
CARRIED = ("__init__.py", "errors.py", "form", "tables")
"""What of suffice `suffice.load` imports."""
ARCHITECTURES = {"x86_64": "amd64", "armv7l": "arm"}
"""Greengrass's words for the kernel's, where they differ."""
INSTALL_S = 900
ROOT, VENV = "{artifacts:decompressedPath}", "{work:path}/venv"
OLD_PYTHON = "import sys; sys.exit(sys.version_info < (3, 11) and 'suffice.load needs Python 3.11 or later')"
SELF_TEST = "import suffice; model = suffice.load('bundle'); print(*model.notes, model.self_test(), sep=chr(10))"
PROGRAM = """\
\"\"\"The model is loaded here; what it is for on the device goes below.

Run with the number of threads: `main.py 2`.
\"\"\"

import sys
from pathlib import Path

import suffice

model = suffice.load(Path(__file__).resolve().parent / "bundle", threads=int(sys.argv[1]))
for note in model.notes:
    print(note)
print(f"its own sample is answered with a difference of {{model.self_test():.2g}}")

# Your code goes here: model(...) takes arrays of numpy,
#   {takes}
# and gives one, or a tuple. Without any the component ends now, which Greengrass calls FINISHED.
"""


def component_of(bundle: Path) -> Path:
    """The folder of a bundle's component."""
    whole = bundle.resolve()
    return whole.with_name(f"{whole.name}-greengrass")


def require_no_component(bundle: Path) -> None:
    """Raise where there is one already: its recipe may have been filled in.

    Raises:
        ModelError: naming it.
    """
    folder = component_of(bundle)
    if folder.exists() or folder.is_symlink():
        raise ModelError(f"{folder} is there already", hint="move it away, or name another bundle with --bundle")


def write_component(bundle: Path) -> Path:
    """Write the bundle's recipe and archive beside it; the folder of both.

    Raises:
        ModelError: if it is no bundle, is damaged, or has a component already.
    """
    manifest = read_manifest(bundle)
    require_intact(bundle, manifest)
    require_no_component(bundle)
    folder = component_of(bundle)
    name = re.sub(r"[^a-zA-Z0-9._-]", "-", bundle.resolve().name)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        content, draft = Path(scratch, name), Path(scratch, "draft")
        draft.mkdir()
        _fill(content, bundle, manifest)
        shutil.make_archive(str(draft / name), "zip", content)
        (draft / "recipe.json").write_text(json.dumps(_recipe(name, manifest), indent=2) + "\n")
        draft.rename(folder)
    return folder


def _fill(content: Path, bundle: Path, manifest: Mapping[str, Any]) -> None:
    """What the archive holds: Greengrass unpacks it into a folder of its own name."""
    shutil.copytree(bundle, content / "bundle")
    ours = Path(__file__).parent.parent
    for name in CARRIED:
        if (ours / name).is_dir():
            shutil.copytree(ours / name, content / "suffice" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (content / "suffice").mkdir(exist_ok=True)
            shutil.copyfile(ours / name, content / "suffice" / name)
    (content / "suffice" / "LICENSE").write_text(_licence())
    (content / "requirements.txt").write_text("\n".join(_requirements(manifest)) + "\n")
    takes = ", ".join(f"{port.name} {port.dtype} {port.shape}" for port in Form.read(bundle).inputs)
    (content / "main.py").write_text(PROGRAM.format(takes=takes))


def _licence() -> str:
    try:
        return distribution("suffice").read_text("licenses/LICENSE") or "Apache-2.0\n"
    except PackageNotFoundError:  # it runs from its sources
        return "Apache-2.0\n"


def _requirements(manifest: Mapping[str, Any]) -> Iterator[str]:
    """The backend, in the version that was proven, and numpy."""
    for package, proven in manifest["run"]["versions"].items():
        yield f"{package}=={proven}"
    yield f"numpy=={version('numpy')}"


def _recipe(name: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The component: its install makes an environment and answers the bundle's own sample, or fails."""
    component, number, root = f"{PREFIX}.{name}", _version(manifest["model"]["made"]), f"{ROOT}/{name}"
    python = "{configuration:/python}"
    install = (
        f'{python} -c "{OLD_PYTHON}"',
        f"{python} -m venv {VENV}",
        f"{VENV}/bin/python -m pip install -r {root}/requirements.txt",
        f"cd {root}",
        f'{VENV}/bin/python -c "{SELF_TEST}"',
    )
    machine, target = platform.machine(), Path(manifest["model"]["target"]).name
    return {
        "RecipeFormatVersion": "2020-01-25",
        "ComponentName": component,
        "ComponentVersion": number,
        "ComponentDescription": f"{target} as {', '.join(manifest['run']['changes'])}, by suffice",
        "ComponentConfiguration": {
            "DefaultConfiguration": {"python": "python3", "threads": manifest["run"]["threads"]}
        },
        "Manifests": [
            {
                "Platform": {"os": "linux", "architecture": ARCHITECTURES.get(machine, machine)},
                "Lifecycle": {
                    "install": {"Script": " && ".join(install), "Timeout": INSTALL_S},
                    "run": {"Script": f"{VENV}/bin/python -u {root}/main.py {{configuration:/threads}}"},
                },
                "Artifacts": [{"Uri": f"{BUCKET}/{component}/{number}/{name}.zip", "Unarchive": "ZIP"}],
            }
        ],
    }


def _version(made: str) -> str:
    """A version that rises with the time at which the bundle was made: a component's can't be published twice."""
    at = datetime.fromisoformat(made)
    return f"{at.year}.{100 * at.month + at.day}.{3600 * at.hour + 60 * at.minute + at.second}"
