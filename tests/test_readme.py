"""The README's code blocks do what it says they do."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "docs"))
import file_tree

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
TRAIN, TARGET = ROOT / "tests" / "jobs" / "cnn.py", ROOT / "tests" / "form" / "targets.py"


def blocks(language):
    """The code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands():
    """Every command line of every shell block, without its comment."""
    lines = [line.split("  #")[0].split(" # ")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Every command that starts with `suffice`, run in order in a folder with a train.py and a target.py."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copy(TRAIN, folder / "train.py")
    shutil.copy(TARGET, folder / "target.py")
    variables = {
        **os.environ,
        "SUFFICE_HOME": str(folder / "home"),
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    results = {}
    for command in commands():
        if command.startswith("suffice "):
            quick = "--time 20 --trials 1" if " -- " in command else "--time 1 --threads 1 --batches 1"
            results[command] = subprocess.run(
                shlex.split(command.replace("suffice improve", f"suffice improve {quick}")),
                cwd=folder,
                env=variables,
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
    return results


def test_the_commands_run(done):
    """Each `suffice` line of the README ends well on a small training script."""
    assert {command.split()[1] for command in done} == {"doctor", "improve", "measure", "report"}
    failed = {command: run.stderr for command, run in done.items() if run.returncode}
    assert not failed


def test_every_command_is_of_a_kind_that_is_checked():
    """A line of another kind in a shell block would go unchecked."""
    kinds = {command.split()[0] for command in commands()}
    assert kinds == {"make", "suffice", "pip", "python3", ".venv/bin/pip"}


@pytest.mark.parametrize("target", [c.split()[1] for c in commands() if c.startswith("make ")])
def test_make_knows_its_targets(target):
    """The two commands are targets of the Makefile."""
    make = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert make.returncode == 0, make.stderr


def test_torch_is_the_pinned_one():
    """The CPU build that the README installs is the version that the constraints keep."""
    (pinned,) = re.findall(r"^torch==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert f"torch=={pinned} --index-url" in README
    assert f"pins `torch=={pinned}`" in README


def openings(report):
    """The first word of each line of a report: what it tells of, without figures."""
    return {line.split()[0] for line in report.splitlines() if line.strip() and not line.startswith("    ")}


def test_the_output_shown_is_like_the_real_one(done):
    """The demo's output in the README has the lines that a run prints today."""
    (run,) = [r for command, r in done.items() if command.startswith("suffice measure --") and "--plan" not in command]
    shown = openings(blocks("text")[0])
    telling = {"suffice", "waiting", "forward", "backward", "optimiser", "other", "the", "rates", "loader", "used"}
    telling |= {"time", "energy", "carbon", "money", "as"}
    assert telling <= shown
    assert telling <= openings(run.stderr)


def test_the_tree_is_that_of_the_repository():
    """The list of files is what docs/file_tree.py writes: no file is missing, none is listed that is gone."""
    assert f"{file_tree.BEGIN}{file_tree.tree()}{file_tree.END}" in README, "run: python docs/file_tree.py"
    missing = [name for name in file_tree.OTHERS if not list(ROOT.glob(name.rstrip("/")))]
    assert not missing
