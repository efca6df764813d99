"""The metric of whole runs: what a job logs or prints last, and an error that helps where it does neither."""

import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

import suffice
from suffice.change.catalog import CATALOG
from suffice.errors import GoalError, RigError
from suffice.loop.improving import FullProof, _whole_runs
from suffice.prove.full import Metric, full_pairs
from suffice.prove.workshop import METRICS, Workshop
from suffice.run.sandbox import choose
from suffice.run.stage import stage_agent

LOGS = "import suffice; suffice.log(accuracy=0.5, loss=2); suffice.log(accuracy=0.75); print('accuracy: 0.1')"

FAILS_WITH_A_PLAN = """
import json, os, suffice
if json.load(open(os.environ["SUFFICE_ORDER"]))["changes"]:
    raise SystemExit("it can't be changed")
suffice.log(accuracy=0.5)
"""


def workshop(place: Path, program: str) -> Workshop:
    """Where runs of this program are made."""
    work, scratch = place / "work", place / "scratch"
    work.mkdir(parents=True)
    scratch.mkdir()
    return Workshop(
        command=(sys.executable, "-c", program),
        environment={},
        sandbox=choose(scratch, folder=place, stays_open=[work]),
        stage=stage_agent(place / "agent"),
        folder=work,
    )


@pytest.mark.parametrize(("metric", "value"), [("accuracy", 0.75), ("loss", 2.0), (r"accuracy: ([0-9.]+)", 0.1)])
def test_a_job_logs_or_prints_its_metric(tmp_path: Path, metric: str, value: float) -> None:
    """The latest value counts, and each run has its own."""
    (pair,) = full_pairs(workshop(tmp_path, LOGS), (), Metric.parse(metric), seeds=1)
    assert (pair.plain, pair.changed) == (value, value)


def test_a_plan_with_which_the_job_fails_is_not_kept(tmp_path: Path) -> None:
    """The search goes on and says so; a job that fails without it ends the search."""
    kept, studio = [CATALOG["flush-denormals"].change({})], Mock(workshop=workshop(tmp_path, FAILS_WITH_A_PLAN))
    full = FullProof(metric=Metric.parse("accuracy"), margin=0.1, seeds=2)
    stays, judgement = _whole_runs(studio, kept, full)
    assert stays == []
    assert judgement.met is False
    assert "with the plan a whole run of the job ended with exit code 1" in judgement.reason
    assert "it can't be changed" in judgement.reason

    studio = Mock(workshop=workshop(tmp_path / "always", "raise SystemExit('never works')"))
    with pytest.raises(RigError, match="never works"):
        _whole_runs(studio, kept, full)


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
