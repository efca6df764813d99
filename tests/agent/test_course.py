"""Courses of small real jobs: what is recorded of them, that it is the same each time, and what makes it differ."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

from suffice.run.stage import environment
from tests.conftest import JOBS, TIMEOUT_S, steady

STEPS = 6
EPS = 1e-5

HEAD = """
import random, torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
torch.set_num_threads(1)
"""
TAIL = """
for _ in range(9):
    for x, y in loader:
        optimiser.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimiser.step()
"""
MODEL = "model = nn.Linear(3, 1)\noptimiser = torch.optim.SGD(model.parameters(), 0.1)\n"
DATA = "data = TensorDataset(torch.rand(24, 3), torch.rand(24, 1))\n"
SCALED = (
    f"{DATA}model = nn.Linear(3, 1)\noptimiser = torch.optim.AdamW(model.parameters(), {{}})\n"
    "scaler = torch.amp.GradScaler('cpu', init_scale=1024.0)\nloader = DataLoader(data, 4)\n"
    + TAIL.replace("loss.backward()", "scaler.scale(loss).backward()").replace(
        "optimiser.step()", "scaler.step(optimiser)"
    )
    + "        scaler.update()\n"
)
SCRIPTS = {
    "seeded": f"torch.manual_seed(5)\n{DATA}{MODEL}loader = DataLoader(data, 4, shuffle=True)\n{TAIL}",
    "unseeded": "import numpy\n"
    "drawn = lambda: torch.tensor([random.random() + numpy.random.default_rng().random()])\n"
    "data = [(torch.rand(3), drawn()) for _ in range(24)]\n"
    f"{MODEL}loader = DataLoader(data, 4, shuffle=True)\n{TAIL}",
    "persistent": f"{DATA}{MODEL}loader = DataLoader(data, 4, shuffle=True, num_workers=2, persistent_workers=True)\n"
    + TAIL.replace("        optimiser.step()", "        optimiser.step()\n        break"),
    "short": f"{DATA}{MODEL}loader = DataLoader(data, 4)\n{TAIL}".replace("range(9)", "range(0)")
    + "for _ in range(3):\n    model(torch.rand(2, 3)).sum().backward()\n    optimiser.step()\n",
    "failing": f"{DATA}{MODEL}model(torch.rand(2, 3)).sum().backward()\noptimiser.step()\nraise SystemExit('over')\n",
    "accumulating": f"{DATA}{MODEL}loader = DataLoader(data, 4)\n"
    + TAIL.replace("        loss.backward()", "        loss.backward(retain_graph=True)\n        loss.backward()"),
    "iterable": "class Stream(IterableDataset):\n    def __iter__(self):\n"
    "        for _ in range(24):\n            yield torch.rand(3), torch.rand(1)\n"
    f"{MODEL}loader = DataLoader(Stream(), 4)\n{TAIL}",
    "closure": f"{DATA}model = nn.Linear(3, 1)\n"
    "optimiser = torch.optim.LBFGS(model.parameters(), max_iter=3)\nloader = DataLoader(data, 4)\n"
    "for x, y in loader:\n    def closure():\n        optimiser.zero_grad()\n"
    "        loss = (model(x) - y).square().mean()\n        loss.backward()\n        return loss\n"
    "    optimiser.step(closure)\n",
    "compiled": f"{DATA}{MODEL}model = torch.compile(model, backend='aot_eager')\nloader = DataLoader(data, 4)\n{TAIL}",
    "scaled": SCALED.format("fused=False"),
    "scaled and fused": SCALED.format("fused=True"),
    "uncompiled": f"{DATA}{MODEL}loader = DataLoader(data, 4)\n{TAIL}",
}


class Told:
    """Courses by job and kind: the baseline, it again, its twin, and with another offset of the seeds."""

    KINDS = ("baseline", "again", "twin", "offset")
    # What is held against another job: the tensors have other names, or the gradients are scaled.
    ACROSS: ClassVar = {"compiled": "uncompiled", "scaled and fused": "scaled"}

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        programs = {"gan": ["gan.py"], "workers": ["cnn.py", "--workers", "2"], "nanogpt": ["nanogpt.py"]}
        argv = {name: [str(JOBS / words[0]), *words[1:]] for name, words in programs.items()}
        for name, text in SCRIPTS.items():
            (folder / f"{name}.py").write_text(HEAD + text)
            argv[name] = [str(folder / f"{name}.py")]
        orders = [self._order(name, words, kind) for name, words in argv.items() for kind in self.KINDS]
        orders += [self._order(name, argv[name], "across") for name in self.ACROSS]
        command, told = [sys.executable, str(JOBS / "recorded.py")], json.dumps(orders)
        done = subprocess.run(
            command, env=steady(), input=told, text=True, capture_output=True, timeout=TIMEOUT_S, check=False
        )
        assert not done.returncode, done.stderr

    def _order(self, name: str, argv: list[str], kind: str) -> dict[str, Any]:
        course: dict[str, Any] = {"steps": STEPS, "seed": 0, "seed_offset": int(kind == "offset")}
        course["twin_eps"] = EPS if kind == "twin" else 0.0
        reference = self.ACROSS[name] if kind == "across" else name
        course["write_reference" if kind == "baseline" else "compare_with"] = str(self.folder / f"{reference}.pt")
        return {"argv": argv, "course": course, "report": str(self._path(name, kind))}

    def _path(self, name: str, kind: str) -> Path:
        return self.folder / f"{name} {kind}.json"

    def __call__(self, name: str, kind: str = "baseline") -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self._path(name, kind).read_text())
        told["losses"] = [float.fromhex(loss) for loss in told["losses"]]
        return told


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """All courses."""
    return Told(tmp_path_factory.mktemp("courses"))


ALL = [*SCRIPTS, "gan", "workers", "nanogpt"]
ENDING = {"short": 3, "failing": 1}


@pytest.mark.parametrize("name", ALL)
def test_a_course_is_the_same_each_time(told: Told, name: str) -> None:
    """Losses, inputs, order, samples, gradients and state have the same bits, also in a job that sets no seed."""
    baseline, again = told(name), told(name, "again")
    for part in ("losses", "inputs", "indices", "reads"):
        assert again[part] == baseline[part]
    assert again["gradient_errors"].keys() & again["state_errors"].keys()
    assert set(again["gradient_errors"].values()) | set(again["state_errors"].values()) == {0.0}
    assert again["zero_gradients"] == []
    assert not any("failed" in note for note in baseline["notes"]), baseline["notes"]


@pytest.mark.parametrize("name", ALL)
def test_a_course_tells_every_step(told: Told, name: str) -> None:
    """There is a loss and a fingerprint of the inputs for each step, and whether the job ended before them."""
    course = told(name)
    assert len(course["losses"]) == len(course["inputs"]) == len(course["indices"]) == ENDING.get(name, STEPS)
    assert all(map(math.isfinite, course["losses"]))
    assert all(course["inputs"])
    assert course["ended"] is (name in ENDING)


@pytest.mark.parametrize("name", [name for name in ALL if name not in {"short", "failing"}])
def test_a_twin_differs_a_little_and_another_seed_a_lot(told: Told, name: str) -> None:
    """A twin's weights are changed and nothing else is; the seeds of the job are moved on by the offset."""
    baseline, twin, other = (told(name, kind) for kind in ("baseline", "twin", "offset"))
    assert 0 < max(twin["gradient_errors"].values()) < 1e-2
    assert twin["indices"] == baseline["indices"]
    assert twin["reads"] == baseline["reads"]
    assert max(other["gradient_errors"].values()) > 1e-1
    assert other["inputs"] != baseline["inputs"]
    assert other["seed"] != baseline["seed"]


@pytest.mark.parametrize("name", ["seeded", "unseeded", "workers", "persistent"])
def test_samples_are_read_again_after_the_steps(told: Told, name: str) -> None:
    """Those of the first batch: they stay what they are where nothing is random, and are drawn anew where it is."""
    reads = told(name)["reads"].values()
    assert sum(len(each) >= 3 for each in reads) == (16 if name == "workers" else 4)
    assert {len(set(each)) > 1 for each in reads} == {name == "workers"}


def test_the_order_of_samples_is_that_of_the_steps_also_with_workers(told: Told) -> None:
    """Workers ask ahead; a loop that leaves each pass early meets a new order each time, in a pass of its own."""
    indices = told("persistent")["indices"]
    assert [each.partition(":")[0] for each in indices] == [str(step) for step in range(STEPS)]
    assert len({each.partition(":")[2] for each in indices}) == STEPS
    assert [each.partition(":")[0] for each in told("workers")["indices"]] == ["0"] * STEPS


def test_a_stream_has_no_order_and_no_second_reads(told: Told) -> None:
    """An iterable data set is told by what the model receives."""
    course = told("iterable")
    assert set(course["indices"]) == {""}
    assert course["reads"] == {}
    assert any("read again" in note for note in course["notes"])


def test_losses_of_one_step_are_added(told: Told) -> None:
    """Two backward passes from the same loss give twice the loss and the gradient."""
    plain, twice = told("uncompiled")["losses"], told("accumulating")["losses"]
    assert twice[0] == 2 * plain[0]


def test_a_compiled_model_meets_the_plain_one_by_name(told: Told) -> None:
    """The prefix of the compiler's wrapper is no part of a name."""
    across = told("compiled", "across")
    assert set(across["gradient_errors"]) == {"weight", "bias"}
    assert max(across["gradient_errors"].values()) < 1e-5
    assert across["inputs"] == told("uncompiled")["inputs"]


def test_the_loss_of_a_scaled_backward_is_the_plain_one(told: Told) -> None:
    """The scaler's factor of 1024 is in none of the losses; two optimisers step, and one of them counts."""
    losses = told("gan")["losses"]
    assert all(0.5 < loss < 4 for loss in losses)


def test_a_fused_optimiser_takes_the_scale_away_itself(told: Told) -> None:
    """Its gradients are still scaled when its step begins, and are told without the scaler's factor."""
    across = told("scaled and fused", "across")
    assert set(across["gradient_errors"]) == {"weight", "bias"}
    assert max(across["gradient_errors"].values()) < 1e-6
    assert told("scaled and fused")["losses"][0] == told("scaled")["losses"][0] < 4


def test_gradients_of_a_closure_are_caught(told: Told) -> None:
    """They are computed within the optimiser's step."""
    assert set(told("closure", "again")["gradient_errors"]) == {"weight", "bias"}


def test_one_rank_tells_the_course_of_all(stage: Path, tmp_path: Path) -> None:
    """Under a launcher that makes no step itself; the ranks end together."""
    report = tmp_path / "told.json"
    course = {"steps": 3, "seed": 0, "seed_offset": 0, "twin_eps": 0.0, "report": str(report)}
    order = tmp_path / "order.json"
    order.write_text(json.dumps({"scratch": str(tmp_path), "changes": [], "course": course}))
    launched = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(JOBS / "ddp.py")]
    variables = environment(steady(), stage, None, order)
    subprocess.run([sys.executable, *launched], env=variables, timeout=TIMEOUT_S, check=True, capture_output=True)
    told = json.loads(report.read_text())
    assert len(told["losses"]) == 3
    assert all(told["inputs"])
    assert told["ended"] is False


def test_the_process_ends_after_the_steps(told: Told, tmp_path: Path) -> None:
    """A job that would train on is over, and its workers with it."""
    script = told.folder / "seeded.py"
    course = {"steps": 2, "seed": 0, "seed_offset": 0, "twin_eps": 0.0}
    order = [{"argv": [str(script)], "course": course, "report": str(tmp_path / "told.json")}]
    command = [sys.executable, str(JOBS / "recorded.py")]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=env, input=json.dumps(order), text=True, timeout=TIMEOUT_S, check=True)
    assert len(json.loads((tmp_path / "told.json").read_text())["losses"]) == 2
