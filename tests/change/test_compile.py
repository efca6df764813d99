"""Compiled calls: within the agent's marks, counted, undone, and given up where they can't be compiled."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from suffice.agent.rig.job import Refused
from suffice.change.train import compile as technique
from tests.change.small_jobs import JobOf, cnn, stack
from tests.conftest import TIMEOUT_S, steady

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What `compile_job.py` prints, run with every warning an error; compiling for the first time takes a while."""
    scratch = tmp_path_factory.mktemp("compile")
    quick = {"TORCHINDUCTOR_VEC_ISA_OK": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    environment = {**steady(), **quick, "PYTHONPATH": str(ROOT), "TORCHINDUCTOR_CACHE_DIR": str(scratch / "cache")}
    command = [sys.executable, "-W", "error", str(ROOT / "tests/change/compile_job.py"), str(scratch)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("model", ["layers", "recurrent", "broken"])
def test_it_stands_within_the_agents_marks_and_goes_without_a_trace(told, model):
    """Every call is still marked once; off, the mark stands alone; nothing is left when that goes."""
    assert told[model]["inside"]
    assert told[model]["off"]
    assert told[model]["gone"]
    assert told[model]["calls_marked"] == 20


def test_compiled_steps_round_and_no_more(told):
    """On in two steps of three, with dropout; one graph for training, none for evaluations of another batch size."""
    facts = told["layers"]["facts"]
    assert 0 < told["layers"]["furthest"] < 1e-5
    assert (facts["graphs"], facts["breaks"], facts["recompiles"]) == (1, 0, 0)
    assert facts["compile_s"] > 0
    assert "fault" not in facts


def test_a_model_without_a_graph_is_told(told):
    """Torch compiles nothing of an LSTM and says nothing: we do."""
    assert told["recurrent"]["furthest"] == 0.0
    assert told["recurrent"]["facts"]["graphs"] == 0
    assert "no graph" in told["recurrent"]["facts"]["fault"]


def test_what_cannot_be_compiled_is_called_as_before(told):
    """Without a working compiler the job goes on to the bit, its backward pass included; the reason is told."""
    assert told["broken"]["furthest"] == 0.0
    assert "No working C++ compiler" in told["broken"]["facts"]["fault"]


def test_a_compiled_model_is_refused():
    """The job compiles already."""
    training = cnn()
    training.net = torch.compile(training.net, backend="eager")
    with pytest.raises(Refused, match="compiles already"):
        technique.prepare(training.job, {})


def test_a_part_compiled_in_place_is_refused():
    """The same for `Module.compile` on a part of the model."""
    training = stack()
    training.net.head.compile(backend="eager")
    with pytest.raises(Refused, match="compiles already"):
        technique.prepare(training.job, {})


def test_a_machine_without_a_compiler_is_refused(monkeypatch, tmp_path):
    """Before anything is loaded that compiling needs."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(Refused, match="no compiler for C"):
        technique.prepare(stack().job, {})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_other_models_are_refused():
    """None, or one that TorchScript compiles."""
    with pytest.raises(Refused, match="there is no model"):
        technique.prepare(JobOf([], [], "", ()), {})
    traced = torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2))
    with pytest.raises(Refused, match="TorchScript"):
        technique.prepare(JobOf([traced], [], "", ()), {})
