"""Techniques in an unmodified script, staged and ordered as a plan orders them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from suffice.measure.spool.reader import SpoolReader
from suffice.run.stage import environment
from tests.conftest import JOBS, TIMEOUT_S, steady

WITHOUT_LOADER = """
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1), nn.Linear(144, 2))
optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
for step in range(12):
    x = torch.randn(8, 2, 8, 8)
    optimiser.zero_grad()
    loss = nn.functional.cross_entropy(model(x), (x.mean((1, 2, 3)) > 0).long())
    loss.backward()
    optimiser.step()
    print("loss", loss.item().hex())
print(type(model.__dict__.get("_compiled_call_impl")).__name__, model[0].weight.stride()[1])
"""
EXACT = ["foreach-optimiser"]
NUMERIC = ["channels-last", "fused-optimiser", "flush-denormals"]


@pytest.fixture
def run(stage, tmp_path):
    """Run a script with changes; returns its lines, and what the agent was told of each change."""

    def run(script: Path, changes, *arguments):
        spool = tmp_path / f"spool-{len(list(tmp_path.glob('spool-*')))}"
        spool.mkdir()
        order = spool.with_suffix(".json")
        listed = [{"id": each, "settings": {}} for each in changes]
        order.write_text(json.dumps({"scratch": str(tmp_path), "changes": listed}))
        variables = environment(steady(), stage, spool, order)
        command = [sys.executable, str(script), *arguments]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        assert done.returncode == 0, done.stderr
        (record,) = [each for each in SpoolReader(spool).close() if each.steps]
        assert record.fault is None
        return done.stdout.splitlines(), spool

    return run


def losses(lines):
    return [float.fromhex(line.split()[1]) for line in lines if line.startswith("loss")]


def messages(spool):
    """What was told of changes, by id."""
    told = {}
    for path in spool.rglob("*"):
        for line in path.read_text(errors="replace").splitlines() if path.is_file() else ():
            if '"change' in line:
                message = json.loads(line)
                told[message.get("id")] = {**told.get(message.get("id"), {}), **message}
    return told


def test_a_job_with_loaders(run):
    """What is exact is so to the bit: losses, a schedule, an evaluation with the weights that came of it."""
    plain, _ = run(JOBS / "cnn.py", [], "--epochs", "1")
    changed, spool = run(JOBS / "cnn.py", EXACT, "--epochs", "1")
    assert changed == plain
    assert messages(spool)["foreach-optimiser"]["facts"]["steps"] == len(losses(plain)) == 10


def test_a_job_without_loaders(run, tmp_path):
    """There the changes begin within the first forward pass, which goes through as it began."""
    script = tmp_path / "train.py"
    script.write_text(WITHOUT_LOADER)
    plain, _ = run(script, [])
    changed, spool = run(script, [*NUMERIC, "gradient-checkpointing"])
    assert losses(changed) == pytest.approx(losses(plain), rel=1e-4)
    told = messages(spool)
    assert all(told[each]["applied"] for each in NUMERIC)
    assert told["gradient-checkpointing"]["applied"] is False
    assert told["fused-optimiser"]["facts"] == {"optimisers": "AdamW", "steps": 12, "steps_unlike": 0}
    assert "no list of like blocks" in told["gradient-checkpointing"]["reason"]
    assert changed[-1].split() == ["RootCall", "1"]
