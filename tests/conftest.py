"""What the tests share: the jobs of tests/jobs, run with the agent alone or under `suffice measure`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from suffice.measure.spool.reader import ProcessRecord, SpoolReader
from suffice.records import Profile
from suffice.run.stage import environment, stage_agent

JOBS = Path(__file__).parent / "jobs"
TIMEOUT_S = 240.0


@dataclass(frozen=True, kw_only=True)
class AgentRun:
    """A command that ran with the agent in it, without suffice beside it."""

    exit_code: int
    stdout: str
    stderr: str
    spool: Path
    records: list[ProcessRecord]

    @property
    def trained(self) -> list[ProcessRecord]:
        """The processes that made steps."""
        return [r for r in self.records if r.steps]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A command that ran under `suffice measure`."""

    exit_code: int
    stdout: bytes
    stderr: str
    profile: Profile
    home: Path


def steady(base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """An environment in which arithmetic takes one thread, whatever the machine."""
    return {**base, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent, staged once."""
    return stage_agent(tmp_path_factory.mktemp("agent"))


@pytest.fixture
def agent_run(stage: Path, tmp_path: Path) -> Callable[..., AgentRun]:
    """Run a command with the agent: `agent_run([sys.executable, "x.py"], env={...}, stdin=b"...")`."""

    def run(command: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: bytes = b"") -> AgentRun:
        spool = tmp_path / f"spool-{len(list(tmp_path.glob('spool-*')))}"
        spool.mkdir()
        variables = environment(steady() if env is None else env, stage, spool)
        done = subprocess.run(
            [str(word) for word in command],
            env=variables,
            input=stdin,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return AgentRun(
            exit_code=done.returncode,
            stdout=done.stdout.decode(errors="replace"),
            stderr=done.stderr.decode(errors="replace"),
            spool=spool,
            records=SpoolReader(spool).close(),
        )

    return run


@pytest.fixture
def agent_job(agent_run: Callable[..., AgentRun]) -> Callable[..., AgentRun]:
    """Run a job of tests/jobs with the agent: `agent_job("cnn.py", "--workers", 2)`."""

    def run(name: str, *arguments: Any, **options: Any) -> AgentRun:
        return agent_run([sys.executable, JOBS / name, *map(str, arguments)], **options)

    return run


@pytest.fixture
def measure(tmp_path: Path) -> Callable[..., Measured]:
    """Run a command under `suffice measure`: `measure([sys.executable, "x.py"], "--rate", "2")`."""
    home = tmp_path / "home"

    def run(
        command: Sequence[str],
        *flags: str,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        cwd: Path | None = None,
    ) -> Measured:
        path = tmp_path / "profile.json"
        path.unlink(missing_ok=True)
        done = subprocess.run(
            [*suffice_command(), "measure", "--json", str(path), *flags, "--", *map(str, command)],
            env={**(steady() if env is None else env), "SUFFICE_HOME": str(home)},
            input=stdin,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
            cwd=cwd,
        )
        stderr = done.stderr.decode(errors="replace")
        assert path.exists(), f"suffice wrote no profile; exit code {done.returncode}:\n{stderr}"
        profile = Profile.from_json(json.loads(path.read_text()))
        return Measured(exit_code=done.returncode, stdout=done.stdout, stderr=stderr, profile=profile, home=home)

    return run


@pytest.fixture
def measure_job(measure: Callable[..., Measured]) -> Callable[..., Measured]:
    """Run a job of tests/jobs under `suffice measure`: `measure_job("nanogpt.py")`."""

    def run(name: str, *arguments: Any, **options: Any) -> Measured:
        return measure([sys.executable, str(JOBS / name), *map(str, arguments)], **options)

    return run


def suffice_command() -> list[str]:
    """The command line, in the Python that runs the tests."""
    return [sys.executable, "-m", "suffice"]
