"""`suffice improve --allow semantic`: a larger batch is kept where whole runs show it to be as good, and only there."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LIMIT_S = 600
STEP_BOUND = """
import time, torch
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0); torch.set_num_threads(1)
x = torch.randn(640, 3)
y = x @ torch.tensor([[1.0], [2.0], [3.0]])
loader = DataLoader(TensorDataset(x, y), 4, shuffle=True)
model = torch.nn.Linear(3, 1)
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
for epoch in range(3):
    for samples, wanted in loader:
        time.sleep(0.02)
        optimiser.zero_grad()
        (model(samples) - wanted).square().mean().backward()
        optimiser.step()
with torch.no_grad():
    print("error:", f"{(model(x) - y).square().mean().item():.6f}")
"""


def improve(place: Path, *arguments: object) -> dict[str, Any]:
    """The search of the job, as JSON."""
    (place / "job.py").write_text(STEP_BOUND)
    variables = {**os.environ, "SUFFICE_HOME": str(place / "home"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "suffice", "improve", "--json", "search.json", *map(str, arguments)]
    done = subprocess.run(
        [*command, "--", sys.executable, "job.py"],
        cwd=place,
        env=variables,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {"said": done.stderr, **json.loads((place / "search.json").read_text())}


@pytest.mark.slow
def test_whole_runs_decide(tmp_path: Path) -> None:
    """A step of 20 ms, whatever it holds: four batches in one are kept with the metric's proof."""
    full = ("--prove", "full", "--metric", "error: ([0-9.]+)", "--lower-is-better", "--margin", 0.1, "--seeds", 2)
    found = improve(tmp_path, "--time", 60, "--allow", "semantic", *full)
    assert "larger-batch (times=4)" in found["stays"], found["said"]
    plan = (tmp_path / "plan.toml").read_text()
    assert 'id = "larger-batch"' in plan
    assert "whole runs took" in plan


@pytest.mark.slow
def test_without_a_metric_it_is_not_tried(tmp_path: Path) -> None:
    """The consent alone is not enough, and the reason says what is."""
    found = improve(tmp_path, "--time", 20, "--allow", "semantic")
    reasons = {trial["change"]: trial["verdict"]["reason"] for trial in found["trials"]}
    assert "--prove full --metric" in reasons["larger-batch (times=4)"]
    assert found["stays"] == []
