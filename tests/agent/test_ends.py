"""A job that is killed keeps its record but for the last second; one that ends otherwise keeps all of it."""

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.conftest import TIMEOUT_S, AgentRun, steady

SECOND_NS = 1_000_000_000

KILLED = """
import os, signal, sys, time
import torch

step_s, steps = float(sys.argv[1]), int(sys.argv[2])
model = torch.nn.Linear(4, 1)
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
longest, before = 0, time.perf_counter_ns()
for step in range(steps):
    model(torch.ones(2, 4)).sum().backward()
    time.sleep(step_s)
    optimiser.step()
    now = time.perf_counter_ns()
    longest, before = max(longest, now - before), now
print(now, longest, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""

INTERRUPTED = """
import os, signal
import torch

model = torch.nn.Linear(4, 1)
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(20):
    model(torch.ones(2, 4)).sum().backward()
    optimiser.step()
os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.parametrize(("step_s", "steps"), [(0.0005, 4_000), pytest.param(0.7, 4, marks=pytest.mark.slow)])
def test_a_kill_costs_at_most_the_last_second(agent_run: Callable[..., AgentRun], step_s: float, steps: int) -> None:
    """Of a job that is killed without notice all is known but what it did in its last second and its last step."""
    run = agent_run([sys.executable, "-c", KILLED, step_s, steps])
    assert run.exit_code == -signal.SIGKILL
    killed_ns, longest_ns = map(int, run.stdout.split())
    (record,) = run.trained
    assert record.damaged_lines == 0
    assert killed_ns - record.steps[-1].end_ns <= SECOND_NS + longest_ns
    assert record.steps[-1].end_ns <= killed_ns
    assert record.begun_ns is not None
    assert sum(sum(row.ns) for row in record.steps) == record.steps[-1].end_ns - record.begun_ns
    assert sum(row.count for row in record.steps) == record.steps[-1].last + 1 <= steps
    assert record.end == {}


def test_an_interrupted_job_keeps_everything(agent_run: Callable[..., AgentRun]) -> None:
    """Where somebody presses Ctrl-C every step is told, and the job ends as it would have done by itself."""
    command = [sys.executable, "-c", INTERRUPTED]
    plain = subprocess.run(command, env=steady(), capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    run = agent_run(command)
    assert (run.exit_code, run.stderr) == (plain.returncode, plain.stderr)
    assert "KeyboardInterrupt" in plain.stderr
    (record,) = run.trained
    assert (sum(row.count for row in record.steps), len(record.losses)) == (20, 20)
    assert record.tail_end_ns is not None
    assert "refused_flops" in record.end
