"""Accumulation, mixed precision, two optimisers, closures: steps, losses, samples and operations are the job's own."""

import re
import sys
from collections.abc import Callable

import pytest

from suffice.agent.steps import COUNTED
from suffice.measure.spool.reader import PHASES, StepRow
from tests.conftest import AgentRun

ACCUMULATED = """
import torch
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Embedding(50, 8), torch.nn.Linear(8, 10))
optimiser = torch.optim.AdamW(model.parameters())
total = 0
for index, (tokens,) in enumerate(DataLoader(TensorDataset(torch.randint(0, 50, (256, 16))), batch_size=4)):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(tokens).float().square().mean() / 2
    loss.backward()
    total += loss.item()
    if index % 2:
        optimiser.step()
        optimiser.zero_grad()
        print(total.hex())
        total = 0
"""

CLOSURE = """
import torch
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
optimiser = torch.optim.LBFGS(model.parameters(), max_iter=4)
data = TensorDataset(torch.randn(64, 4), torch.randn(64, 1))
for x, y in DataLoader(data, batch_size=8):
    seen = []

    def closure():
        optimiser.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        seen.append(loss.item())
        return loss

    optimiser.step(closure)
    print(sum(seen).hex(), len(seen))
"""


def part(row: StepRow, name: str) -> int:
    return row.ns[PHASES.index(name)]


@pytest.mark.alone  # beside other tests the marks of its short steps may cost too much, and some go by unmarked
def test_accumulation_in_mixed_precision(agent_run: Callable[..., AgentRun]) -> None:
    """A step of two batches has their samples and tokens, their losses bit for bit, and their known operations."""
    run = agent_run([sys.executable, "-c", ACCUMULATED])
    assert (run.exit_code, run.stderr) == (0, "")
    (record,) = run.trained
    assert record.fault is None
    assert [(row.last, row.samples, row.tokens) for row in record.steps] == [(i, 8, 128) for i in range(32)]
    assert [(i, value.hex()) for i, value in record.losses] == list(enumerate(run.stdout.split()))
    linear = 2 * (4 * 16) * 8 * 10  # once forward, and backward once for the weights and once for the input
    assert [(told["step"], told["by_dtype"]) for told in record.flops] == [
        (step, {"bfloat16": 2 * 3 * linear}) for step in (3, 30)
    ]
    assert [(told["samples"], told["tokens"]) for told in record.flops] == [(8, 128)] * 2
    assert [row.last for row in record.steps if row.flags & COUNTED] == [3, 30]
    assert [optimiser["name"] for optimiser in record.optimisers] == ["AdamW"]
    assert record.facts["parameters"] == 50 * 8 + 8 * 10 + 10
    assert (record.facts["backwards_per_step"], record.facts["searches_unused"]) == (2, False)


def test_two_optimisers_and_a_gradient_scaler(agent_job: Callable[..., AgentRun]) -> None:
    """A GAN's step holds both updates, and its loss is the sum of both losses before they were scaled."""
    run = agent_job("gan.py")
    assert (run.exit_code, run.stderr) == (0, "")
    (record,) = run.trained
    assert record.fault is None
    printed = [sum(map(float, pair)) for pair in re.findall(r"losses (\S+) (\S+)", run.stdout)]
    assert [value for _, value in record.losses] == pytest.approx(printed, abs=2e-6)
    assert [(row.last, row.samples, row.tokens) for row in record.steps] == [(i, 16, 0) for i in range(20)]
    assert sorted(record.facts["models"]) == ["Sequential", "Sequential"]
    assert len(record.optimisers) == 2


def test_a_closure_is_not_the_optimisers_time(agent_run: Callable[..., AgentRun]) -> None:
    """Each call of LBFGS is one step, whose closure's forward and backward passes are told as such."""
    run = agent_run([sys.executable, "-c", CLOSURE])
    assert (run.exit_code, run.stderr) == (0, "")
    (record,) = run.trained
    assert record.fault is None
    printed = [line.split() for line in run.stdout.splitlines()]
    assert all(int(calls) > 1 for _, calls in printed)
    assert [value.hex() for _, value in record.losses] == [losses for losses, _ in printed]
    assert [row.samples for row in record.steps] == [8] * 8
    assert all(part(row, name) > 0 for row in record.steps for name in ("forward", "backward", "optimiser", "other"))


def test_a_loop_without_a_loader(agent_job: Callable[..., AgentRun]) -> None:
    """Where batches are cut by hand, the model's input tells samples and tokens, and no waiting is made up."""
    run = agent_job("nanogpt.py")
    assert (run.exit_code, run.stderr) == (0, "")
    (record,) = run.trained
    assert record.fault is None
    assert [row.last for row in record.steps] == list(range(24))
    # The model is found in the first backward pass, after the first batch.
    assert [(row.samples, row.tokens) for row in record.steps[1:]] == [(8, 8 * 32)] * 23
    assert sum(part(row, "wait_for_data") for row in record.steps) == 0
    evaluated = [row.last for row in record.steps if part(row, "evaluation_forward")]
    assert evaluated == [8, 16]
    assert record.loaders == {}
