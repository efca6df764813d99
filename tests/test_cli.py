"""Whatever is asked for or goes wrong, the command line answers in a sentence and keeps what was measured."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TIMEOUT_S, steady, suffice_command

TRAIN = """
import torch
torch.set_num_threads(1)
model = torch.nn.Linear(4, 1)
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
for _ in range(20):
    model(torch.randn(8, 4)).mean().backward()
    optimiser.step()
"""
Suffice = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where suffice keeps its things in this test."""
    return tmp_path / "home"


@pytest.fixture
def suffice(tmp_path: Path, home: Path) -> Suffice:
    """Run `suffice` with these words; whatever happens, there is no traceback of its own."""

    def run(*words: object, env: dict[str, str] | None = None, cwd: Path = tmp_path, before: Sequence[str] = ()) -> Any:
        variables = steady({**os.environ, "SUFFICE_HOME": str(home), **(env or {})})
        command = [*before, *suffice_command(), *map(str, words)]
        done = subprocess.run(
            command, env=variables, cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a run that trained, whose record lies beside it in `record`."""
    folder = tmp_path_factory.mktemp("trained")
    command = [*suffice_command(), "measure", "--record", str(folder / "record"), "--", sys.executable, "-c", TRAIN]
    env = steady({**os.environ, "SUFFICE_HOME": str(folder / "home")})
    subprocess.run(command, env=env, capture_output=True, check=True, timeout=TIMEOUT_S)
    return folder


def names(home: Path) -> list[str]:
    """The runs in the ledger."""
    with sqlite3.connect(home / "ledger.sqlite3") as ledger:
        return [name for (name,) in ledger.execute("SELECT name FROM run ORDER BY name")]


def figures(data: Any) -> Iterator[dict[str, Any]]:
    """Every figure within some JSON: an object that has a value or an origin."""
    if isinstance(data, dict):
        if "origin" in data or ("value" in data and "unit" in data):
            yield data
        for each in data.values():
            yield from figures(each)
    elif isinstance(data, list):
        for each in data:
            yield from figures(each)


@pytest.mark.parametrize(
    "words", [["--help"], ["-h"], ["measure", "--help"], ["report", "--help"], ["doctor", "--help"], ["diff", "--help"]]
)
def test_help(suffice: Suffice, words: list[str]) -> None:
    """Each verb tells what it does."""
    done = suffice(*words)
    assert done.returncode == 0
    assert "Usage: " in done.stdout
    assert "--help" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["measure"], "there is no command; give it after `--`"),
        (["measure", "--"], "there is no command; give it after `--`"),
        (["mesure", "--", "true"], "No such command"),
        (["measure", "--rate", "much", "--", "true"], "is not a valid float"),
        (["measure", "--rate", "-1", "--", "true"], "rate"),
        (["measure", "--rate", "nan", "--", "true"], "rate"),
        (["measure", "--rate", "inf", "--", "true"], "rate"),
        (["measure", "--region", "atlantis", "--", "true"], "atlantis"),
    ],
    ids=str,
)
def test_bad_words(suffice: Suffice, home: Path, words: list[str], said: str) -> None:
    """What can't be meant is refused before anything is started, with a sentence."""
    done = suffice(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (home / "runs").exists() or not list((home / "runs").iterdir())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[goal", "can't be read"),
        ('goal = "cheap"\n', "can't be read"),
        ('[goal]\nregoin = "eu-north-1"\n', "a goal has no 'regoin'"),
        ('[goal]\nrate_usd_per_h = "1"\n', "rate_usd_per_h must be int or float, found '1'"),
        ("[goal]\nrate_usd_per_h = -3\n", "rate"),
    ],
)
def test_a_broken_goal(suffice: Suffice, tmp_path: Path, text: str, said: str) -> None:
    """A suffice.toml that can't be meant is named, with what is wrong in it."""
    (tmp_path / "suffice.toml").write_text(text)
    done = suffice("measure", "--", "true")
    assert done.returncode == 2
    assert said in done.stderr


def test_no_such_command(suffice: Suffice, home: Path) -> None:
    """A command that is not there ends as in a shell, with a hint, and leaves no run that goes on for ever."""
    done = suffice("measure", "--", "no-such-command")
    assert done.returncode == 127
    assert "there is no command 'no-such-command' on the PATH" in done.stderr
    assert "hint: " in done.stderr
    assert "running" not in suffice("report", "--list").stdout


def test_not_executable(suffice: Suffice, tmp_path: Path) -> None:
    """A file that can't be executed ends as in a shell."""
    (tmp_path / "job.py").write_text("print()")
    done = suffice("measure", "--", "./job.py")
    assert done.returncode == 126
    assert "can't be started: Permission denied" in done.stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["true"], "no steps: no Python started with suffice's agent"),
        ([sys.executable, "-I", "-c", "import torch"], "no steps: no Python started with suffice's agent"),
        ([sys.executable, "-c", "print()"], "no steps: Python ran, but never imported torch"),
        ([sys.executable, "-c", "import torch"], "no steps: torch was imported, but nothing was trained with it"),
    ],
    ids=["true", "isolated", "no torch", "no step"],
)
def test_no_steps(suffice: Suffice, command: list[str], said: str) -> None:
    """A job without steps has the figures of its processes, and a sentence on why there is no more."""
    done = suffice("measure", "--json", "p.json", "--", *command)
    assert done.returncode == 0
    data = json.loads(suffice("report", "--json").stdout)
    assert data["ranks"] == []
    assert data["figures"]["duration_s"]["value"] > 0
    assert data["figures"]["energy_j"]["value"] > 0
    assert any(note["text"].startswith(said) for note in data["notes"])
    assert said in " ".join(done.stderr.split())


def damage_bytes(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[:: max(1, len(data) // 40)] = b"\xff" * len(data[:: max(1, len(data) // 40)])
    path.write_bytes(data)


def damage_tail(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-25])


def damage_lines(path: Path) -> None:
    path.write_bytes(b'{"kind": "step", "rows": [[1, 2]]}\nnull\n[]\n' + path.read_bytes() + b'{"kind": 3}\n\x00\n')


@pytest.mark.parametrize("damage", [damage_bytes, damage_tail, damage_lines])
def test_a_damaged_record(suffice: Suffice, trained: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """Of a damaged record what can be read is reported, and what can't be is said."""
    record = tmp_path / "record"
    shutil.copytree(trained / "record", record)
    for path in record.glob("*.jsonl"):
        damage(path)
    done = suffice("report", record, "--json")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert data["figures"]["duration_s"]["value"] > 0
    assert any("can't be read: left out" in note["text"] for note in data["notes"])
    assert suffice("report", record).returncode == 0


def test_a_record_that_is_none(suffice: Suffice, trained: Path, tmp_path: Path) -> None:
    """Without what was written at the start there is no run, and that is said."""
    record = tmp_path / "record"
    shutil.copytree(trained / "record", record)
    (record / "run.json").write_text("{")
    done = suffice("report", record)
    assert done.returncode == 2
    assert "holds no run that can be read" in done.stderr


def test_a_newer_ledger(suffice: Suffice, home: Path) -> None:
    """The job runs and is reported though the ledger can't take it; its record is kept in a folder that is named."""
    home.mkdir()
    with sqlite3.connect(home / "ledger.sqlite3") as ledger:
        ledger.execute("PRAGMA user_version = 99")
    done = suffice("measure", "--", "sh", "-c", "echo ran; exit 4")
    assert (done.returncode, done.stdout) == (4, "ran\n")
    said = " ".join(done.stderr.split())
    assert "this run is not in the ledger" in said
    assert "has schema 99" in said
    (folder,) = (home / "runs").iterdir()
    assert json.loads(suffice("report", folder, "--json").stdout)["exit_code"] == 4
    refused = suffice("report")
    assert refused.returncode == 2
    assert "hint: update suffice" in refused.stderr


def test_a_home_that_can_not_be_made(suffice: Suffice, tmp_path: Path) -> None:
    """Where there is no place for a home the job runs all the same, and its record is among the temporary files."""
    (tmp_path / "file").touch()
    (tmp_path / "temporary").mkdir()
    env = {"SUFFICE_HOME": str(tmp_path / "file" / "home"), "TMPDIR": str(tmp_path / "temporary")}
    done = suffice("measure", "--", "sh", "-c", "echo ran; exit 4", env=env)
    assert (done.returncode, done.stdout) == (4, "ran\n")
    assert "this run is not in the ledger" in " ".join(done.stderr.split())
    (folder,) = (tmp_path / "temporary").glob("suffice-2*")
    assert json.loads(suffice("report", folder, "--json").stdout)["exit_code"] == 4


def test_a_read_only_disk(suffice: Suffice, home: Path, tmp_path: Path) -> None:
    """A ledger that can't be written is still read; the job runs, and its record is among the temporary files."""
    before = ["unshare", "-m", "sh", "-c", f'mount --bind -o ro {home} {home} && exec "$@"', "sh"]
    assert suffice("measure", "--", "true").returncode == 0
    if (
        shutil.which("unshare") is None
        or subprocess.run([*before, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("only root may mount a disk read-only")
    (tmp_path / "temporary").mkdir()
    env = {"TMPDIR": str(tmp_path / "temporary")}
    done = suffice("measure", "--", "sh", "-c", "echo ran; exit 4", env=env, before=before)
    assert (done.returncode, done.stdout) == (4, "ran\n")
    assert "this run is not in the ledger" in " ".join(done.stderr.split())
    (folder,) = (tmp_path / "temporary").glob("suffice-2*")
    assert json.loads(suffice("report", folder, "--json").stdout)["exit_code"] == 4
    (name,) = names(home)
    listed = suffice("report", "--list", env=env, before=before)
    assert (listed.returncode, listed.stdout.split()[0]) == (0, name)


def test_a_report_of_nothing(suffice: Suffice) -> None:
    """Where nothing was measured yet, that is said."""
    for words in (["report"], ["report", "--list"], ["report", "x"]):
        done = suffice(*words)
        assert done.returncode == 2
        assert "there is no ledger" in done.stderr
        assert "hint: measure something first" in done.stderr


def test_names_of_runs(suffice: Suffice, trained: Path, home: Path) -> None:
    """A run is found by what its name begins with; what is unknown or ambiguous lists those that there are."""
    shutil.copytree(trained / "home", home)
    assert suffice("measure", "--", "true").returncode == 0
    first, second = names(home)
    shared = next(first[:i] for i in range(len(first), -1, -1) if second.startswith(first[:i]))
    ambiguous = suffice("report", shared)
    assert ambiguous.returncode == 2
    assert f"2 runs begin with '{shared}'" in ambiguous.stderr
    assert first in ambiguous.stderr
    unknown = suffice("report", "nothing-like-it")
    assert unknown.returncode == 2
    assert "there is no run 'nothing-like-it'" in unknown.stderr
    assert second in unknown.stderr
    assert json.loads(suffice("report", first[: len(shared) + 1], "--json").stdout)["run"] == first


def test_secrets(suffice: Suffice, home: Path, tmp_path: Path) -> None:
    """A secret in the command line reaches the job, and nothing that suffice keeps or prints."""
    words = ["--token", "hunter2", "--api-key=hunter2", "API_KEY=hunter2", "https://me:hunter2@host/x"]
    done = suffice("measure", "--json", "p.json", "--record", "record", "--", "sh", "-c", 'echo "$@"', "sh", *words)
    assert done.stdout == " ".join(words) + "\n"
    assert "hunter2" not in done.stderr
    assert suffice("report", "--html", "p.html").returncode == 0
    assert "hunter2" not in suffice("report").stdout + suffice("report", "--list").stdout
    kept = [tmp_path / "p.json", tmp_path / "p.html", *(tmp_path / "record").rglob("*"), *home.rglob("*")]
    assert [path for path in kept if path.is_file() and b"hunter2" in path.read_bytes()] == []


def test_json(suffice: Suffice, trained: Path, home: Path, tmp_path: Path) -> None:
    """Whatever prints JSON prints nothing else, and each figure in it has its value, its unit and its origin."""
    shutil.copytree(trained / "home", home)
    (run,) = names(home)
    done = suffice("measure", "--rate", "2", "--region", "eu-north-1", "--json", "-", "--", "true")
    for text in (done.stdout, suffice("report", run, "--json").stdout):
        found = list(figures(json.loads(text)))
        assert len(found) > 5
        for figure in found:
            assert isinstance(figure["value"], int | float)
            assert figure["unit"]
            assert figure["origin"] in {"measured", "estimated", "looked up"}
            assert figure["origin"] != "estimated" or figure["low"] <= figure["value"] <= figure["high"]
    compared = json.loads(suffice("report", run, run, "--json").stdout)
    assert {"a", "b", "rows", "caveat"} <= compared.keys()
    assert all(row["unit"] and row["name"] for row in compared["rows"])
    listed = json.loads(suffice("report", "--list", "--json").stdout)
    assert [entry["state"] for entry in listed] == ["finished", "finished"]


def test_doctor(suffice: Suffice) -> None:
    """The doctor names what is missing on this machine, and what each missing meter would need."""
    checks = json.loads(suffice("doctor", "--json").stdout)
    assert {"job", "gpus", "rapl"} <= {check["name"] for check in checks}
    missing = [check for check in checks if check["state"] == "missing" and check["what"] != "version"]
    assert all(check["needs"] for check in missing)
    told = " ".join(suffice("doctor").stdout.split())
    assert all(check["name"] in told for check in checks)
    assert all(" ".join(check["needs"].split()[:4]) in told for check in missing)


@pytest.mark.parametrize(
    ("python", "state", "said"),
    [(sys.executable, "ok", "torch"), ("/no/such/python", "missing", "No such file"), ("false", "missing", "torch")],
)
def test_doctor_of_a_python(suffice: Suffice, python: str, state: str, said: str) -> None:
    """The doctor tries the agent in the Python that is named."""
    (agent,) = (c for c in json.loads(suffice("doctor", "--python", python, "--json").stdout) if c["name"] == "agent")
    assert agent["state"] == state
    assert said in agent.get("found", agent.get("needs"))
