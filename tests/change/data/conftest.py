"""What the tests of data techniques share: files of samples, a job's view of itself, trainings in other processes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from suffice.agent.rig.job import Job
from suffice.change.data import sample_cache
from suffice.change.data.keeping.values import bits
from suffice.change.data.looking import apart, choice, study, tracing
from tests.change.data.data_job import train
from tests.change.data.made_sets import write_files
from tests.conftest import steady

HERE = Path(__file__).parent
ROOT = HERE.parent.parent.parent


class Only(Job):
    """A job with one loader: others live in the process of the tests."""

    def __init__(self, job: Job, *loaders: Any) -> None:
        super().__init__(job.torch, job.scratch)
        self.only = list(loaders)

    def loaders(self) -> list[Any]:
        return self.only


@pytest.fixture(autouse=True)
def no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept hangs on no machine's pace: it is worth it on a fast one, and all is looked at on a slow."""
    for module, name, value in (
        (choice, "GAIN", 0.0),
        (choice, "WORTH_IT", 0.01),
        (study, "WORTH_IT", 0.01),
        (study, "TRACE_S", 60.0),
        (tracing, "LEAST_CALL_S", 0.0),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Names of 24 files."""
    return write_files(tmp_path / "samples", 24)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """As a technique sees it, with a scratch folder."""
    (tmp_path / "scratch").mkdir()
    return Job(torch, str(tmp_path / "scratch"))


@pytest.fixture
def order(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """What `data_job` is to do: `order("Files", "sample-cache", workers=2)`."""

    def make(dataset: str, change: str = "", **options: Any) -> dict[str, Any]:
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        return {"dataset": dataset, "change": change, "folder": str(tmp_path), "scratch": str(scratch), **options}

    return make


@pytest.fixture(scope="session")
def warm() -> None:
    """What a first training imports is imported before the forks, and not in each."""
    model = torch.nn.Linear(1, 1)
    torch.optim.SGD(model.parameters(), lr=0.1).step()


@pytest.fixture
def course(warm: None, order: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Train in a fork of this process: `course("Files", "sample-cache", workers=2)`; its losses and facts."""
    return lambda *names, **options: apart.run(torch, lambda: train(order(*names, **options)), 120.0)


@pytest.fixture
def program(order: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Train in a program of its own, where warnings are errors."""

    def run(*names: str, **options: Any) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "tests.change.data.data_job", json.dumps(order(*names, **options))],
            cwd=ROOT,
            env=steady(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    return run


@pytest.fixture
def caching(job: Job) -> Iterator[Callable[..., Any]]:
    """`caching(dataset)`: its switch, on, and the loader; functions get their code back at the end."""
    made = []

    def cache(dataset: Dataset, **settings: Any) -> tuple[Any, Any]:
        loader = DataLoader(dataset, 4, shuffle=True)
        switch = sample_cache.prepare(Only(job, loader), settings)
        made.append(switch)
        switch.on()
        return switch, loader

    yield cache
    for switch in made:
        switch.off()
        switch.turn_back()


def epoch(loader: Any, seed: int = 5) -> list[str]:
    """Fingerprints of its batches, under a seed."""
    torch.manual_seed(seed)
    random.seed(seed)
    return [bits(torch, batch) for batch in loader]
