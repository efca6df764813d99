"""A worker calls functions of ours in a process of its own, and survives whatever that process does."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from suffice.run.work import answer
from suffice.run.worker import Worker, WorkerError

HERE = "suffice.run.work:answer"
"""Calls another function by its order: as good as any."""


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    """One worker; ended with the test."""
    with Worker(tmp_path, limit_s=20) as found:
        yield found


def test_it_returns_what_the_function_returns(worker: Worker) -> None:
    """Functions are given what the worker keeps, and it stays the same process."""
    first = worker.call("suffice.form.calls:peak_bytes")
    assert first > 1 << 20
    assert worker.call("suffice.form.calls:peak_bytes") >= first


def test_what_a_function_raises_is_told_with_its_place(worker: Worker) -> None:
    """And the worker can be called again."""
    with pytest.raises(WorkerError, match=r"ModelError: there is no file nowhere.py \(at target.py:"):
        worker.call(
            "suffice.measure.model.torch_target:inspect_module", "nowhere.py:model", ".", trust=False, quality=None
        )
    assert worker.call("suffice.form.calls:peak_bytes")


def test_a_process_that_dies_is_told(worker: Worker) -> None:
    """With the signal, now and later."""
    assert worker.call("suffice.form.calls:peak_bytes")
    os.kill(worker.process.process.pid, signal.SIGSEGV)
    with pytest.raises(WorkerError, match="ended"):
        worker.call("suffice.form.calls:peak_bytes")
    with pytest.raises(WorkerError, match="ended"):
        worker.call("suffice.form.calls:peak_bytes")


def test_a_call_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """Torch alone takes longer to import than this."""
    with Worker(tmp_path, limit_s=0.2) as worker, pytest.raises(WorkerError, match="longer than 0 s"):
        worker.call(
            "suffice.measure.model.torch_target:inspect_module", "nowhere.py:model", ".", trust=False, quality=None
        )


def test_a_call_that_takes_too_much_memory_is_ended(tmp_path: Path) -> None:
    """As its process is, with its children."""
    with (
        Worker(tmp_path, limit_bytes=40 << 20) as worker,
        pytest.raises(WorkerError, match="are allowed"),
    ):
        worker.call(
            "suffice.measure.model.torch_target:inspect_module", "nowhere.py:model", ".", trust=False, quality=None
        )


def test_only_functions_of_ours_are_called() -> None:
    """Whatever an order names."""
    assert answer({"call": "os:system", "args": ["true"], "kwargs": {}}, {}) == {"error": "os is none of ours"}
    assert "AttributeError" in answer({"call": "suffice.run.work:nothing", "args": [], "kwargs": {}}, {})["error"]


def test_every_name_that_is_called_is_a_function() -> None:
    """Calls go by name: a name that nothing has would be found in a search alone."""
    import ast
    import re

    source = Path(__file__).parents[2] / "src" / "suffice"
    names = {
        name for path in source.rglob("*.py") for name in re.findall(r'"suffice\.([\w.]+):(\w+)"', path.read_text())
    }
    assert len(names) > 5
    for module, function in names:
        tree = ast.parse((source / f"{module.replace('.', '/')}.py").read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, (module, function)
