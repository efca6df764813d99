"""What ranks exchange, changed: two real ranks on this machine, switched together."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from suffice.agent.rig.job import Refused
from suffice.change.ranks import bucket_view
from tests.change.small_jobs import cnn
from tests.conftest import TIMEOUT_S, steady

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def told():
    """What `ranks_job.py` prints."""
    if not torch.distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    command = [sys.executable, "-W", "ignore", str(ROOT / "tests/change/ranks_job.py")]
    environment = {**steady(), "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["bucket-view", "bucket-size", "static-graph"])
def test_two_ranks_compute_the_same_bits(told, name):
    """Losses and weights, on from the first step, and switched before every step on both ranks."""
    assert told[name]["from the start"]
    assert told[name]["switched"]


@pytest.mark.parametrize("name", ["bucket-view", "bucket-size"])
def test_ranks_that_train_are_refused(told, name):
    """Where nobody has them change at the same step they would wait for each other for ever."""
    assert "could not change at the same step" in told[name]["in training"]


def test_gradients_are_views_while_it_is_on(told):
    """And memory of their own when it is off."""
    assert told["views"] == {"on": True, "off": False}


def test_an_exchange_a_step_trains_the_same_model(told):
    """Two of three exchanges are spared once it is known that three passes make a step; the ranks stay alike."""
    found = told["accumulating"]
    assert found["passes_per_step"] == 3
    assert found["exchanges_spared"] == 2 * (12 - 4)
    assert found["given_up"] is None
    assert found["alike"]
    assert found["furthest"] < 1e-5


def test_a_shorter_step_is_averaged_and_ends_it(told):
    """The gradients of the step are exchanged before the optimiser takes them; from then on each pass is."""
    found = told["a shorter step"]
    assert found["given_up"] == "a step of 2 passes followed steps of 3"
    assert found["exchanges_spared"] == 2 * (12 - 4 - 4) + 2
    assert found["alike"]
    assert found["furthest"] < 1e-5


def test_a_loop_that_steps_each_time_is_left_alone(told):
    """There is nothing to spare: it stays the same to the bit."""
    assert told["one pass"]["exchanges_spared"] == 0
    assert told["one pass"]["furthest"] == 0.0


REFUSALS = {
    "bare": "no model is wrapped",
    "has views": "has it already",
    "has size": "has it already",
    "no search": "does not search",
    "found": "1 of 6 parameters have no gradient",
    "processor": "over NCCL alone, and the ranks exchange them over gloo",
}


@pytest.mark.parametrize("name", REFUSALS)
def test_it_is_refused_with_the_reason(told, name):
    """Where there is nothing to exchange, it would be lost, it is this already, or torch can't."""
    assert REFUSALS[name] in told["refusals"][name]


def test_a_hook_of_the_job_is_not_lost(told):
    """A new reducer would not have it."""
    assert all("communication hook" in reason for reason in told["refusals"]["hooked"])


def test_one_rank_is_refused():
    """There is nothing to exchange."""
    with pytest.raises(Refused, match="no model is wrapped"):
        bucket_view.prepare(cnn().job, {})
