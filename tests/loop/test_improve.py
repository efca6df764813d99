"""`suffice improve`: what proves itself is kept, what can't be tried is told, and no file of the user changes."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import JOBS

SLOW_SAMPLES = JOBS / "slow_samples.py"
LIMIT_S = 300

FEW = """
import torch
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    optimizer.zero_grad(); model(torch.ones(4, 2)).sum().backward(); optimizer.step()
"""
FAILS = "import sys, torch\nprint('no data here')\nsys.exit(3)\n"
DIVERGES = """
import torch
torch.manual_seed(0); torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.Linear(256, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e30)
for _ in range(4000):
    optimizer.zero_grad(); (model(torch.randn(32, 64)) ** 2).mean().backward(); optimizer.step()
"""
VARIES = """
import torch
torch.manual_seed(0); torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.Linear(256, 1024), torch.nn.ReLU(), torch.nn.Linear(1024, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
for step in range(6000):
    x = torch.randn(int(50 * 10 ** (step * 7919 % 11 / 10)), 256)
    optimizer.zero_grad(); (model(x) - x.sum(1, keepdim=True)).square().mean().backward(); optimizer.step()
"""
OPTIMAL = """
import torch
torch.manual_seed(0); torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.ReLU(), torch.nn.Linear(512, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, fused=True)
x = torch.randn(256, 256); y = x.sum(1, keepdim=True)
for _ in range(20000):
    optimizer.zero_grad(); (model(x) - y).square().mean().backward(); optimizer.step()
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder that the user works in, with files of the user's own."""
    folder = tmp_path / "user"
    folder.mkdir()
    (folder / "log.txt").write_text("mine\n")
    (folder / "checkpoint.pt").write_bytes(b"an old one")
    return folder


def improve(place: Path, *arguments: object, **options: object) -> subprocess.Popen[str]:
    """Start it on a job, in the user's folder."""
    variables = {**os.environ, "SUFFICE_HOME": str(place.parent / "home"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "suffice", "improve", *map(str, arguments)]
    return subprocess.Popen(command, cwd=place, env=variables, stderr=subprocess.PIPE, text=True, **options)


def told(process: subprocess.Popen[str]) -> str:
    """What it said until its end."""
    return process.communicate(timeout=LIMIT_S)[1]


def tree(place: Path) -> dict[str, str]:
    """Every file but the plan, by its content."""
    files = (path for path in place.rglob("*") if path.is_file() and path.name != "plan.toml")
    return {str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_what_proves_itself_is_kept_and_a_run_uses_it(place: Path, tmp_path: Path) -> None:
    """The dear samples are kept: a plan is written, no file changes, and a run with the plan has the same losses."""
    before = tree(place)
    search = tmp_path / "search.json"
    done = improve(place, "--time", 40, "--trials", 1, "--json", search, "--", sys.executable, SLOW_SAMPLES, 30)
    said = told(done)
    assert done.returncode == 0, said
    assert tree(place) == before
    found = json.loads(search.read_text())
    verdicts = {trial["change"]: trial["verdict"]["outcome"] for trial in found["trials"]}
    assert verdicts["null"] != "kept"
    assert verdicts["sample-cache (store=file)"] == "kept"
    assert 'id = "sample-cache"' in (place / "plan.toml").read_text()
    assert list((tmp_path / "home" / "stored").glob("*/samples-*.suffice")), "what was stored is there for the next run"

    command = [sys.executable, SLOW_SAMPLES, "2"]
    plain = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    measure = [sys.executable, "-m", "suffice", "measure", "--plan", place / "plan.toml", "--", *command]
    variables = {**os.environ, "SUFFICE_HOME": str(tmp_path / "home")}
    planned = subprocess.run(measure, cwd=tmp_path, env=variables, capture_output=True, text=True, check=True)
    assert planned.stdout == plain.stdout
    assert "changed by the plan: sample-cache" in " ".join(planned.stderr.split())


@pytest.mark.parametrize(
    ("script", "says"),
    [(FEW, "too few steps"), (FAILS, "exit code 3"), ("print(1)", "made no step")],
    ids=["too-few-steps", "fails", "no-training"],
)
def test_a_job_that_can_not_be_tried(place: Path, script: str, says: str) -> None:
    """The error says what the job did instead, and there is no plan."""
    (place / "job.py").write_text(script)
    done = improve(place, "--", sys.executable, "job.py")
    said = told(done)
    assert done.returncode == 2, said
    assert says in said
    assert "Traceback" not in said
    assert not (place / "plan.toml").exists()


@pytest.mark.slow
def test_a_job_that_diverges(place: Path) -> None:
    """Losses that are no numbers don't stop the search, and an empty plan says why nothing was kept."""
    (place / "job.py").write_text(DIVERGES)
    done = improve(place, "--time", 15, "--", sys.executable, "job.py")
    said = told(done)
    assert done.returncode == 0, said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_job_whose_steps_vary_tenfold(place: Path, tmp_path: Path) -> None:
    """The order in each pair is drawn, so that large batches fall on either arm: the null candidate does not win."""
    (place / "job.py").write_text(VARIES)
    search = tmp_path / "search.json"
    done = improve(place, "--time", 20, "--json", search, "--", sys.executable, "job.py")
    said = told(done)
    assert done.returncode == 0, said
    verdicts = {trial["change"]: trial["verdict"]["outcome"] for trial in json.loads(search.read_text())["trials"]}
    assert verdicts["null"] != "kept"


@pytest.mark.slow
def test_a_job_that_is_optimal_already(place: Path, tmp_path: Path) -> None:
    """Nothing is kept, and the budget is not used up."""
    (place / "train.py").write_text(OPTIMAL)
    told = tmp_path / "search.json"
    process = improve(place, "--time", 200, "--json", told, "--", sys.executable, "train.py")
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, errors
    search = json.loads(told.read_text())
    assert not search["stays"], errors
    assert "nothing was kept of" in errors
    assert search["seconds"] < 100


def test_no_command() -> None:
    """The usage is shown."""
    done = subprocess.run([sys.executable, "-m", "suffice", "improve"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "suffice improve -- python train.py" in done.stderr


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    """Read what it says until that is said."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"it never said {text!r}")


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_proven_and_the_next_search_goes_on(place: Path) -> None:
    """The plan holds the cache; the second search takes it over without trying it again."""
    before = tree(place)
    first = improve(place, "--time", 60, "--", sys.executable, SLOW_SAMPLES, 30)
    wait_for(first, "kept       sample-cache")
    first.send_signal(signal.SIGINT)
    said = told(first)
    assert first.returncode == 0, said
    assert "sample-cache" in (place / "plan.toml").read_text()
    second = improve(place, "--time", 20, "--", sys.executable, SLOW_SAMPLES, 30)
    said = told(second)
    assert "going on with search" in said
    assert "sample-cache (store=file): timing" not in said
    assert 'id = "sample-cache"' in (place / "plan.toml").read_text()
    assert tree(place) == before


def test_killed_in_the_middle(place: Path) -> None:
    """The tree is as before, and nothing of the job goes on."""
    before = tree(place)
    process = improve(place, "--time", 60, "--", sys.executable, SLOW_SAMPLES, 3000)
    wait_for(process, "timing it")
    process.kill()
    told(process)
    assert tree(place) == before
    until_s = time.monotonic() + 30
    while time.monotonic() < until_s and still_running(place):
        time.sleep(0.2)
    assert not still_running(place)


def still_running(place: Path) -> list[str]:
    """The processes that work in the user's folder, beside this one."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink() == place and int(entry.name) != os.getpid():
                found.append((entry / "cmdline").read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return found
