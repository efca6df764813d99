"""The metric of whole runs: what a job logs or prints last, and an error that helps where it does neither."""

import sys
from pathlib import Path

import pytest

import suffice
from suffice.errors import GoalError
from suffice.prove.full import Metric, full_pairs
from suffice.prove.workshop import METRICS, Workshop
from suffice.run.sandbox import choose
from suffice.run.stage import stage_agent

LOGS = "import suffice; suffice.log(accuracy=0.5, loss=2); suffice.log(accuracy=0.75); print('accuracy: 0.1')"


@pytest.mark.parametrize(("metric", "value"), [("accuracy", 0.75), ("loss", 2.0), (r"accuracy: ([0-9.]+)", 0.1)])
def test_a_job_logs_or_prints_its_metric(tmp_path: Path, metric: str, value: float) -> None:
    """The latest value counts, and each run has its own."""
    work, scratch = tmp_path / "work", tmp_path / "scratch"
    work.mkdir()
    scratch.mkdir()
    workshop = Workshop(
        command=(sys.executable, "-c", LOGS),
        environment={},
        sandbox=choose(scratch, folder=tmp_path, stays_open=[work]),
        stage=stage_agent(tmp_path / "agent"),
        folder=work,
    )
    (pair,) = full_pairs(workshop, (), Metric.parse(metric), seeds=1)
    assert (pair.plain, pair.changed) == (value, value)


@pytest.mark.parametrize("metric", ["accuracy: [0-9]", "([0-9]) ([0-9])", "accuracy: (", "no name"])
def test_what_is_no_metric_is_told(metric: str) -> None:
    """A pattern needs one group."""
    with pytest.raises(GoalError) as caught:
        Metric.parse(metric)
    assert "--metric" in caught.value.hint


@pytest.mark.parametrize(
    ("metric", "says"), [("f1", "told no f1"), ("f1: (.+)", "nothing that the run printed"), ("acc(.)", "no number")]
)
def test_a_run_that_tells_nothing_is_told(tmp_path: Path, metric: str, says: str) -> None:
    """With what to do, where that is known."""
    (tmp_path / "output.txt").write_text("accuracy\n")
    (tmp_path / METRICS).write_text('{"accuracy": 1}\n')
    with pytest.raises(GoalError, match=says):
        Metric.parse(metric).read(tmp_path / "output.txt")


def test_without_suffice_beside_it_a_log_goes_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """But a value that is no number is an error there as well, before it is one in a search."""
    monkeypatch.delenv("SUFFICE_METRICS", raising=False)
    suffice.log(accuracy=0.5)
    with pytest.raises(ValueError, match="could not convert"):
        suffice.log(accuracy="high")
