"""The agent gets into an interpreter without hiding what is the user's, and costs nothing where there is no torch."""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from suffice.run.stage import environment
from tests.conftest import TIMEOUT_S, AgentRun, steady

AGENT = Path(__file__).parents[2] / "src/suffice/agent"
OLDEST = (3, 9)
STATE = """
import json, sys
print(json.dumps({
    "path": sys.path,
    "modules": sorted(name for name in sys.modules if name.partition(".")[0] != "encodings"),
    "finders": [getattr(f, "__name__", type(f).__name__) for f in sys.meta_path],
    "sitecustomize": getattr(sys.modules.get("sitecustomize"), "__file__", None),
}))
"""


def run(command: list[str], variables: dict[str, str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A folder that the user has on PYTHONPATH."""
    folder = tmp_path / "users"
    folder.mkdir()
    return folder


def with_path(folder: Path) -> dict[str, str]:
    return {**steady(), "PYTHONPATH": str(folder)}


def test_nothing_is_left_of_the_agent_without_torch(stage: Path, spool: Path, users: Path) -> None:
    """Where torch is not imported there is one finder more, and no module and no folder of ours."""
    command = [sys.executable, "-c", STATE]
    plain = json.loads(run(command, with_path(users))[1])
    code, out, errors = run(command, environment(with_path(users), stage, spool))
    assert (code, errors) == (0, "")
    found = json.loads(out)
    assert found["finders"] == ["_TorchFinder", *plain["finders"]]
    assert found["path"] == plain["path"]
    assert str(users) in found["path"]
    more = {name.partition(".")[0] for name in set(found["modules"]) - set(plain["modules"])}
    assert more <= {"importlib", "warnings"}
    assert found["sitecustomize"] == plain["sitecustomize"]
    assert [p.name for p in spool.iterdir()] == ["python-ran"]


def test_nothing_of_the_agent_is_on_the_path_with_torch(agent_run: Callable[..., AgentRun], stage: Path) -> None:
    """Once torch is there the finder is gone, the path is the user's, and torch was loaded by its own loader."""
    report = """
import sys, torch
print(any("suffice" in p or p.startswith(sys.argv[1]) for p in sys.path))
print([type(f).__name__ for f in sys.meta_path if "suffice" in type(f).__module__ or "Torch" in type(f).__name__])
print(type(torch.__spec__.loader).__name__, vars(torch.__spec__.loader).keys() == {"name", "path"})
"""
    job = agent_run([sys.executable, "-c", report, stage])
    assert (job.stdout, job.stderr) == ("False\n[]\nSourceFileLoader True\n", "")
    (record,) = job.records
    assert record.fault is None


@pytest.mark.parametrize("with_agent", [False, True])
def test_the_users_sitecustomize_runs_once(stage: Path, spool: Path, users: Path, with_agent: bool) -> None:  # noqa: FBT001
    """Their own one runs as if ours were not there, and is the module of that name."""
    (users / "sitecustomize.py").write_text("print('run', __name__, __file__)\nmark = 7\n")
    variables = environment(with_path(users), stage, spool) if with_agent else with_path(users)
    found = run([sys.executable, "-c", "import sitecustomize as s; print(s.mark, s.__spec__.name)"], variables)
    assert found == (0, f"run sitecustomize {users}/sitecustomize.py\n7 sitecustomize\n", "")


@pytest.mark.parametrize(
    "text",
    [
        "raise ValueError('users own')",
        "raise ImportError('users own')",
        "import no_such_module",
        "raise SystemExit(5)",
        "def broken(:",
        "import sys; sys.stderr.write('told')",
    ],
)
def test_the_users_sitecustomize_may_fail(stage: Path, spool: Path, users: Path, text: str) -> None:
    """Its exception ends the start, or is told, or is kept quiet, just as without the agent."""
    (users / "sitecustomize.py").write_text(text + "\n")
    command = [sys.executable, "-c", "print('began')"]
    code, out, errors = run(command, with_path(users))
    found_code, found_out, found_errors = run(command, environment(with_path(users), stage, spool))
    assert (found_code, found_out) == (code, out)
    assert _but_our_frames(found_errors) == _but_our_frames(errors)


def _but_our_frames(errors: str) -> list[str]:
    """What was told, without the lines of a traceback that show where it came from."""
    return [line for line in errors.splitlines() if not line.startswith((" ", "Traceback"))]


def test_an_interpreter_without_our_variables_is_left_alone(stage: Path) -> None:
    """The staged folder alone, inherited by a process that cleared the rest, does nothing."""
    code, out, errors = run([sys.executable, "-c", STATE], with_path(stage))
    assert (code, errors) == (0, "")
    assert "_TorchFinder" not in json.loads(out)["finders"]


def test_a_torch_that_fails_to_import_fails_as_before(stage: Path, spool: Path, users: Path) -> None:
    """An exception of torch's import reaches the job, and a second try is watched again."""
    (users / "torch.py").write_text("raise OSError('libcudart.so: cannot open shared object file')\n")
    program = """
for _ in range(2):
    try:
        import torch
    except OSError as error:
        print(error)
"""
    found = run([sys.executable, "-c", program], environment(with_path(users), stage, spool))
    assert found == (0, "libcudart.so: cannot open shared object file\n" * 2, "")


def test_a_module_that_is_called_torch_may_be_something_else(stage: Path, spool: Path, users: Path) -> None:
    """A file of the user's that hides torch and has nothing of it is no reason to fail."""
    (users / "torch.py").write_text("light = True\n")
    found = run([sys.executable, "-c", "import torch; print(torch.light)"], environment(with_path(users), stage, spool))
    assert found == (0, "True\n", "")


@pytest.mark.parametrize("path", sorted(AGENT.glob("*.py")), ids=lambda path: path.name)
def test_the_agents_files_are_valid_for_the_oldest_python(path: Path) -> None:
    """What is staged has to be read by the user's Python, whichever it is."""
    ast.parse(path.read_text(), feature_version=OLDEST)


def interpreter(version: str) -> str | None:
    """A Python of that version that runs, from the path or as pyenv keeps them."""
    kept = (Path.home() / ".pyenv/versions").glob(f"{version}.*/bin/python")
    for python in (shutil.which(f"python{version}"), *map(str, kept)):
        if python is not None and run([python, "-c", "pass"], dict(os.environ))[0] == 0:
            return python
    return None


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.12", "3.13"])
def test_an_older_python_starts_the_agent(stage: Path, spool: Path, users: Path, version: str) -> None:
    """In a real interpreter of that version every file is imported, and a made-up torch is met without a fault."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    (users / "torch.py").write_text("")
    names = sorted(path.stem for path in AGENT.glob("*.py") if path.stem not in ("__init__", "boot", "peak"))
    program = f"""
import importlib, sys, torch
for name in {names!r}:
    importlib.import_module("suffice_agent." + name)
print(sys.version_info[:2], all("suffice" not in p for p in sys.path))
"""
    code, out, errors = run([python, "-c", program], environment(with_path(users), stage, spool))
    assert (code, errors) == (0, "")
    assert out == f"({version.replace('.', ', ')}) True\n"
