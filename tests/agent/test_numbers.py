"""The job computes the same numbers with the agent as without it."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.conftest import JOBS, TIMEOUT_S, AgentRun, steady


@pytest.mark.parametrize(
    ("mode", "workers"),
    [
        ("eager", 0),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [("eager", 2), ("compile", 0), ("compile", 2)]),
    ],
)
def test_losses_are_bitwise_equal(agent_job: Callable[..., AgentRun], mode: str, workers: int) -> None:
    """Every loss, the state of the random generator and the weights at the end."""
    command = [sys.executable, str(JOBS / "losses.py"), mode, str(workers)]
    plain = subprocess.run(command, env=steady(), capture_output=True, text=True, timeout=TIMEOUT_S, check=True)

    run = agent_job("losses.py", mode, workers)

    assert run.exit_code == 0
    assert len(plain.stdout.splitlines()) == 37
    assert run.stdout == plain.stdout
    (record,) = run.trained
    assert record.fault is None
    assert sum(row.count for row in record.steps) == 36


def test_operations_are_counted_without_changing_a_loss(agent_job: Callable[..., AgentRun]) -> None:
    """The steps in which operations are counted are among those compared above."""
    (record,) = agent_job("losses.py", "eager", 0).trained
    assert [counted["step"] for counted in record.flops] == [3, 30]
    convolution, linear = 8 * 8 * 10 * 10 * 27, 8 * 800 * 3
    # Forward is two operations a product; backward costs as much for the weights, and again but for the first input.
    assert record.flops[0]["by_dtype"] == {"float32": 2 * (2 * convolution + 3 * linear)}
