"""The model that a measured job saved is found by its time, and only where it is the one that is meant."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from suffice.errors import ModelError, RunUnknownError
from suffice.form.target import load_target
from suffice.keep.ledger import Entry, Ledger
from suffice.loop.saved_model import saved_model
from suffice.records import Profile, Target
from tests.conftest import TIMEOUT_S, steady, suffice_command

BEGAN_S, ENDED_S = 1_767_323_045, 1_767_323_105
JOB = """
import onnx, numpy, pathlib
helper = onnx.helper
ports = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 2]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", ports[:1], ports[1:])
pathlib.Path("out").mkdir()
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), "out/last.onnx")
numpy.savez("out/eval.npz", x=numpy.random.default_rng(0).normal(size=(60, 2)))
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """One with a run of a minute, and one that goes on."""
    kept = Ledger(tmp_path / "ledger.sqlite3")
    target = Target(command=("python", "train.py"), cwd=str(tmp_path))
    times = {"started": "2026-01-02T03:04:05+00:00", "ended": "2026-01-02T03:05:05+00:00"}
    kept.finish(Profile(run="a", target=target, exit_code=0, state="finished", **times))
    kept.begin(Entry(name="b", started="2026", command=("python",), cwd=str(tmp_path), state="running", folder=None))
    return kept


def write(path: Path, at_s: float) -> Path:
    """A file that was last written at that time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"model")
    os.utime(path, (at_s, at_s))
    return path


def test_the_one_file_of_a_model_from_that_time(ledger: Ledger, tmp_path: Path) -> None:
    """Not those before or after it, not other files, nor what lies in environments."""
    wanted = write(tmp_path / "out" / "best.pt", ENDED_S + 0.5)
    for name, at_s in {
        "before.pt": BEGAN_S - 1,
        "after.onnx": ENDED_S + 2,
        "log.txt": BEGAN_S + 1,
        ".venv/lib/model.pt": BEGAN_S + 1,
        "env/site-packages/model.pt": BEGAN_S + 1,
    }.items():
        write(tmp_path / name, at_s)
    (tmp_path / "link.pt").symlink_to(wanted)
    assert saved_model("a", ledger) == wanted


def test_what_can_not_be_told(ledger: Ledger, tmp_path: Path) -> None:
    """None, several, a run that goes on, no run: each is said."""
    with pytest.raises(ModelError, match=r"left no model in .* no \.onnx, \.pt"):
        saved_model("a", ledger)
    write(tmp_path / "first.pt", BEGAN_S)
    write(tmp_path / "second.onnx", BEGAN_S + 30)
    with pytest.raises(ModelError, match=r"saved 2 files: .*first\.pt, .*second\.onnx") as caught:
        saved_model("a", ledger)
    assert "name the one" in str(caught.value.hint)
    with pytest.raises(ModelError, match="run b has not ended"):
        saved_model("b", ledger)
    with pytest.raises(RunUnknownError):
        saved_model("c", ledger)


@pytest.mark.parametrize("trust", [False, True])
def test_weights_alone_are_no_model(tmp_path: Path, *, trust: bool) -> None:
    """A state dict, by itself or in a checkpoint: it is told how to hand over what it belongs to."""
    weights = torch.nn.Linear(2, 2).state_dict()
    for number, found in enumerate((weights, {"model": weights, "epoch": 3})):
        path = tmp_path / f"{number}.pth"
        torch.save(found, path)
        with pytest.raises(ModelError, match="holds weights alone") as caught:
            load_target(str(path), trust=trust)
        assert f"load_state_dict(torch.load('{number}.pth'))" in str(caught.value.hint)


def test_a_measured_job_and_then_its_model(tmp_path: Path) -> None:
    """By the commands: what the job wrote is what is looked at."""
    (tmp_path / "train.py").write_text(JOB)
    env = steady({**os.environ, "SUFFICE_HOME": str(tmp_path / "home")})

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [*suffice_command(), *words]
        return subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )

    assert run("measure", "--", sys.executable, "train.py").returncode == 0
    quick = ("--threads", "1", "--batches", "1", "--time", "1", "--build-memory", "0.1")
    done = run("improve", "--from-run", "latest", "--samples", "out/eval.npz", *quick)
    assert done.returncode == 0, done.stderr
    assert f"the model of run latest is {tmp_path / 'out' / 'last.onnx'}" in done.stderr
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "weights.pth")
    alone = run("improve", "weights.pth", "--samples", "out/eval.npz")
    assert alone.returncode == 2
    assert "holds weights alone" in alone.stderr
    assert "hint: name a function that makes it, file.py:factory" in alone.stderr
    both = run("improve", "out/last.onnx", "--from-run", "latest")
    assert both.returncode == 2
    assert "and not both" in both.stderr
