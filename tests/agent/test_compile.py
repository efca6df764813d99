"""Under torch.compile the agent adds no graph and no graph break, and still tells forward from the rest."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from suffice.measure.spool.reader import PHASES
from tests.conftest import JOBS, TIMEOUT_S, AgentRun, steady

SLOW = [pytest.param(way, marks=pytest.mark.slow) for way in ("step", "inplace", "function", "late")]


@pytest.mark.parametrize("way", ["module", *SLOW])
def test_no_graph_and_no_break_is_added(agent_job: Callable[..., AgentRun], way: str) -> None:
    """Whatever is compiled: the module, the module in place, a function around it, a whole step, or later on."""
    command = [sys.executable, str(JOBS / "graphs.py"), way]
    plain = subprocess.run(command, env=steady(), capture_output=True, text=True, timeout=TIMEOUT_S, check=True)

    run = agent_job("graphs.py", way)

    assert json.loads(run.stdout) == json.loads(plain.stdout)
    assert all(record.fault is None for record in run.records)


@pytest.mark.parametrize("way", ["module", *SLOW[1::2]])
def test_forward_is_told_when_a_module_is_compiled(agent_job: Callable[..., AgentRun], way: str) -> None:
    """The call of a compiled module is timed from outside of it."""
    (record,) = agent_job("graphs.py", way).trained
    assert all(row.ns[PHASES.index("forward")] > 0 for row in record.steps[-3:])


@pytest.mark.slow
def test_a_compiled_job_is_not_counted(agent_job: Callable[..., AgentRun]) -> None:
    """Counting operations would run the step uncompiled, which changes its numbers."""
    (record,) = agent_job("graphs.py", "module").trained
    assert record.flops == []
    assert "compiled" in record.end["refused_flops"]
