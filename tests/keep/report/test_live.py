"""While a job runs, one line stands at the foot of its terminal; what the job prints is never touched by it."""

import os
import re
import sys
from pathlib import Path

import pytest
from tests.conftest import steady, suffice_command
from tests.terminal import Terminal

JOB = """
import sys, time
import torch
torch.set_num_threads(1)
model = torch.nn.Linear(4, 1)
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(150):
    model(torch.randn(8, 4)).mean().backward()
    optimiser.step()
    time.sleep(0.02)
    print(f"step {step:03d} of the job", flush=True)
"""
LIVE = re.compile(r"suffice · \d+ steps · [\d.]+ ms a step: [a-z ]+ \d+%.* · [\d.]+ W")
PRINTED = [f"step {step:03d} of the job" for step in range(150)]


def start(tmp_path: Path, *, columns: int = 120, lines: int = 24, **options: object) -> Terminal:
    """The job under suffice, on a terminal."""
    env = steady({**os.environ, "SUFFICE_HOME": str(tmp_path / "home")})
    command = [*suffice_command(), "measure", "--", sys.executable, "-c", JOB]
    return Terminal(command, env=env, columns=columns, lines=lines, **options)


def printed(terminal: Terminal) -> list[str]:
    """What is left of the job's lines on the screen and above it."""
    return [line for line in terminal.text if re.match(r"step \d", line)]


def test_one_line_while_the_job_runs(tmp_path: Path) -> None:
    """It tells the steps, the time of one, where it goes, and the power; at the end it is gone."""
    with start(tmp_path) as terminal:
        terminal.read(lambda seen: LIVE.match(seen.foot) is not None)
        assert LIVE.match(terminal.foot)
        assert not any("suffice ·" in line for line in terminal.text[:-1])
        assert terminal.end() == 0
        assert printed(terminal) == PRINTED
        assert not any("suffice ·" in line for line in terminal.text)
        assert any("of a training step is" in line for line in terminal.text)


@pytest.mark.alone
def test_a_narrow_terminal_that_is_resized(tmp_path: Path) -> None:
    """On thirty columns the line is cut, never wrapped; after a pull at the window the job's lines are whole."""
    with start(tmp_path, columns=30, lines=10) as terminal:
        terminal.read(lambda seen: re.match(r"suffice · \d+ steps", seen.foot) is not None)
        assert re.match(r"suffice · \d+ steps", terminal.foot)
        assert len(terminal.foot) < 30
        seen = len(terminal.raw)
        terminal.resize(60, 20)
        terminal.read(lambda now: b"\x1b[20;1H" in now.raw[seen:])
        assert terminal.end() == 0
        assert re.findall(rb"step \d+ of the job\r\n", terminal.raw) == [f"{p}\r\n".encode() for p in PRINTED]
        assert not any("suffice ·" in line for line in terminal.screen.display)


@pytest.mark.parametrize("lines", [4])
def test_a_terminal_too_low(tmp_path: Path, lines: int) -> None:
    """Where few lines are, the job has them all."""
    with start(tmp_path, lines=lines) as terminal:
        terminal.read(lambda seen: b"step 100" in seen.raw)
        assert "suffice ·".encode() not in terminal.raw


@pytest.mark.slow
def test_standard_error_in_a_file(tmp_path: Path) -> None:
    """Nothing of the line goes into a file, nor onto the terminal of the job; the report does."""
    with (tmp_path / "stderr").open("wb") as file, start(tmp_path, stderr=file) as terminal:
        assert terminal.end() == 0
    assert terminal.raw == "".join(f"{line}\r\n" for line in PRINTED).encode()
    told = (tmp_path / "stderr").read_text()
    assert "\x1b" not in told
    assert "suffice ·" not in told
    assert "of a training step is" in told
