"""What the tests of whole programs share: a command under suffice, and alone beside it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from suffice.records import Profile, Rank
from tests.conftest import TIMEOUT_S, Measured, steady

TRAIN = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
torch.manual_seed(0)
loader = DataLoader(TensorDataset(torch.randn(96, 16), torch.randint(0, 3, (96,))), batch_size=8)
model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in loader:
    loss = nn.functional.cross_entropy(model(x), y)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    print(loss.item().hex())
"""
"""A program that makes 12 steps and prints the loss of each to the last bit."""
STEPS = 12


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """`TRAIN` in a file."""
    path = tmp_path / "train.py"
    path.write_text(TRAIN)
    return path


@pytest.fixture(scope="session")
def trained() -> bytes:
    """What `TRAIN` prints without suffice."""
    command = [sys.executable, "-c", TRAIN]
    return subprocess.run(command, env=steady(), capture_output=True, timeout=TIMEOUT_S, check=True).stdout


@pytest.fixture(scope="session")
def peaks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the peak of this machine is kept from one test to the next, since it takes seconds to measure."""
    return tmp_path_factory.mktemp("peaks") / "peaks.json"


@pytest.fixture
def under(measure: Callable[..., Measured], peaks: Path, tmp_path: Path) -> Callable[..., Measured]:
    """Run a command under suffice: its record is whole, and the agent had no fault."""

    def run(command: Sequence[str | Path], **options: Any) -> Measured:
        (tmp_path / "home").mkdir(exist_ok=True)
        if peaks.exists():
            shutil.copy(peaks, tmp_path / "home" / "peaks.json")
        done = measure([str(word) for word in command], "--no-live", **options)
        if (tmp_path / "home" / "peaks.json").exists():
            shutil.copy(tmp_path / "home" / "peaks.json", peaks)
        assert not [note.text for note in done.profile.notes if re.search("fault|can't be read", note.text)]
        return done

    return run


@pytest.fixture
def beside(under: Callable[..., Measured]) -> Callable[..., Measured]:
    """Run a command under suffice, and alone beside it: exit code and standard output are the same."""

    def run(command: Sequence[str | Path], **options: Any) -> Measured:
        words, env = [str(word) for word in command], options.pop("env", steady())
        with subprocess.Popen(
            words, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        ) as alone:
            done = under(command, env=env, **options)
            stdout, _ = alone.communicate(timeout=TIMEOUT_S)
        assert done.exit_code == alone.returncode, done.stderr
        assert done.stdout == stdout
        return done

    return run


def the_rank(profile: Profile) -> Rank:
    """The only process that trained."""
    (rank,) = profile.ranks
    return rank


def check_split(profile: Profile, rank: Rank, *parts: str) -> None:
    """Each of the parts was seen, nothing else but `other`, and they sum up to a step; the run's to the run."""
    assert set(rank.split) == {f"{part}_s" for part in (*parts, "other")}
    assert all(rank.split[f"{part}_s"].value > 0 for part in parts)
    mean_s = sum(figure.value for figure in rank.split.values())
    step_s = rank.figures["step_s"]
    assert step_s.low is not None
    assert mean_s >= step_s.low
    training_s = rank.figures["training_s"].value
    assert 0 < training_s < profile.figures["duration_s"].value
    whole_s = sum(figure.value for figure in profile.parts.values())
    assert whole_s == pytest.approx(profile.figures["duration_s"].value, rel=0.02)


def python(*words: str | Path) -> list[str | Path]:
    """A command of the Python that runs the tests."""
    return [sys.executable, *words]
