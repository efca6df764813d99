"""Training frameworks, their launchers, and a training command that a package brings: measured unchanged."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import JOBS, TIMEOUT_S, Measured, steady
from tests.programs.conftest import check_split, python, the_rank

pytestmark = pytest.mark.programs
LOADER = ("wait_for_data", "forward", "backward", "optimiser")
FABRIC = """
import torch
from lightning.fabric import Fabric
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
fabric = Fabric()
fabric.seed_everything(0, verbose=False)
model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))
model, optimiser = fabric.setup(model, torch.optim.SGD(model.parameters(), lr=0.1))
data = TensorDataset(torch.randn(160, 16), torch.randint(0, 3, (160,)))
for x, y in fabric.setup_dataloaders(DataLoader(data, batch_size=16)):
    loss = nn.functional.cross_entropy(model(x), y)
    optimiser.zero_grad()
    fabric.backward(loss)
    optimiser.step()
    print(loss.item().hex())
"""


def beside_python(name: str) -> Path:
    """A command that lies beside the Python of the tests."""
    return Path(sys.executable).with_name(name)


def check(run: Measured, *, steps: int) -> None:
    """One process trained, made that many steps, and read a loader."""
    rank = the_rank(run.profile)
    assert run.exit_code == 0
    assert rank.figures["steps"].value == steps
    check_split(run.profile, rank, *LOADER)
    (training,) = [loader for loader in rank.loaders if loader.role == "training"]
    assert training.figures["wait_s"].value > 0


@pytest.mark.slow
def test_lightning(beside: Callable[..., Measured]) -> None:
    """Lightning calls `training_step`, not the module: the forward pass is found in the module's children."""
    pytest.importorskip("lightning")
    run = beside(python(JOBS / "lightning_job.py"))
    check(run, steps=40)
    assert the_rank(run.profile).figures["evaluation_s"].value > 0


@pytest.mark.slow
def test_fabric_run(under: Callable[..., Measured], tmp_path: Path) -> None:
    """Lightning's own launcher starts a script written for Fabric; it prints what it prints without either."""
    pytest.importorskip("lightning")
    path = tmp_path / "job.py"
    path.write_text(FABRIC)
    with subprocess.Popen(python(path), env=steady(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as alone:
        run = under([beside_python("fabric"), "run", "--accelerator", "cpu", "--devices", "1", path])
        stdout, _ = alone.communicate(timeout=TIMEOUT_S)
    check(run, steps=10)
    assert run.stdout == stdout


def test_accelerate(beside: Callable[..., Measured]) -> None:
    """A loop written for Accelerate accumulates over two batches: 20 steps out of 40 batches."""
    pytest.importorskip("accelerate")
    check(beside(python(JOBS / "accelerate_job.py")), steps=20)


@pytest.mark.slow
def test_accelerate_launch(beside: Callable[..., Measured]) -> None:
    """Accelerate's own launcher starts the same loop, as a process of its own."""
    pytest.importorskip("accelerate")
    launch = [beside_python("accelerate"), "launch", "--cpu", "--num_processes", "1", "--num_machines", "1"]
    check(beside([*launch, "--mixed_precision", "no", "--dynamo_backend", "no", JOBS / "accelerate_job.py"]), steps=20)


@pytest.mark.slow
def test_the_trainer_of_transformers(under: Callable[..., Measured], tmp_path: Path) -> None:
    """A Trainer prints the same losses as without suffice, and its steps are found."""
    pytest.importorskip("transformers")
    command = python(JOBS / "trainer_job.py", tmp_path / "out")
    with subprocess.Popen(command, env=steady(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as alone:
        run = under(command)
        stdout, _ = alone.communicate(timeout=TIMEOUT_S)
    check(run, steps=20)
    assert losses(run.stdout) == losses(stdout)
    assert losses(stdout)
    assert b"steps 20" in run.stdout


def losses(stdout: bytes) -> list[bytes]:
    """What a Trainer printed, without its times."""
    return re.findall(rb"'(?:eval_|train_)?loss': '?([\d.]+)", stdout)


@pytest.mark.slow
def test_a_training_command_of_a_package(under: Callable[..., Measured], tmp_path: Path) -> None:
    """`chemprop train` learns from a table of molecules: the same predictions, and its optimiser steps."""
    pytest.importorskip("chemprop")
    molecules = tmp_path / "molecules.csv"
    ethers = [(f"{'C' * (i % 8 + 1)}O{'C' * (i // 8)}", i % 8 + 0.5 * (i // 8)) for i in range(1, 41)]
    molecules.write_text("smiles,target\n" + "".join(f"{smiles},{target}\n" for smiles, target in ethers))
    epochs, batch_size, learns_from = 3, 8, 32

    def train(out: str) -> list[str | Path]:
        options = f"--epochs {epochs} --batch-size {batch_size} --num-workers 0 --accelerator cpu --devices 1"
        columns = "--smiles-columns smiles --target-columns target --pytorch-seed 1"
        place = ["-i", molecules, "-o", tmp_path / out]
        return [beside_python("chemprop"), "train", *place, *options.split(), *columns.split()]

    with subprocess.Popen(train("alone"), env=steady(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as alone:
        run = under(train("under"))
        assert alone.wait(timeout=TIMEOUT_S) == 0
    check(run, steps=epochs * learns_from // batch_size)
    predicted = "model_0/test_predictions.csv"
    assert (tmp_path / "under" / predicted).read_bytes() == (tmp_path / "alone" / predicted).read_bytes()
    assert "Adam" in the_rank(run.profile).facts["optimisers"]
