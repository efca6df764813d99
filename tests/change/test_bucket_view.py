"""Gradients as views into what is exchanged: two real ranks on this machine, switched together."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from suffice.agent.rig.job import Refused
from suffice.change.train import bucket_view
from tests.change.small_jobs import cnn
from tests.conftest import TIMEOUT_S, steady

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def told():
    """What `ranks_job.py` prints."""
    if not torch.distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    command = [sys.executable, "-W", "ignore", str(ROOT / "tests/change/ranks_job.py")]
    environment = {**steady(), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_two_ranks_compute_the_same_bits(told):
    """Losses and weights, on from the first step, and switched before every step on both ranks."""
    assert told["from the start"]
    assert told["switched"]


def test_gradients_are_views_while_it_is_on(told):
    """And memory of their own when it is off."""
    assert all(told["views"])
    assert not any(told["views when off"])


def test_ranks_that_train_are_refused(told):
    """Nobody could have them change at the same step, and they would wait for each other for ever."""
    assert "could not change at the same step" in told["in training"]


def test_other_ways_of_exchange_are_refused(told):
    """What the job has asked for would be lost, or is this already."""
    assert "has it already" in told["has it"]
    assert "static graph" in told["static"]


def test_one_rank_is_refused():
    """There is nothing to exchange."""
    with pytest.raises(Refused, match="no model is wrapped"):
        bucket_view.prepare(cnn().job, {})
