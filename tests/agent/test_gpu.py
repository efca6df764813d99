"""On a real GPU: its own split, losses behind the job's work, nothing that waits. Passed over where there is none."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from suffice.measure.spool.reader import PHASES, TRAINING_PHASES
from tests.conftest import TIMEOUT_S, AgentRun, steady

EXACT = """
import sys
import torch
from torch.utils.data import DataLoader, TensorDataset

torch.use_deterministic_algorithms(True)
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 512), torch.nn.ReLU(), torch.nn.Linear(512, 1)).cuda()
optimiser = torch.optim.Adam(model.parameters())
seen = []
for x, y in DataLoader(TensorDataset(torch.randn(1024, 64), torch.randn(1024, 1)), batch_size=16):
    loss = (model(x.cuda(non_blocking=True)) - y.cuda(non_blocking=True)).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    seen.append(loss.detach())
print(*(value.item().hex() for value in seen))
"""

WAITS = """
import torch

# Both raise into whoever makes the job wait; `set_sync_debug_mode` is torch's own guard.
torch.cuda.set_sync_debug_mode("error")
torch.cuda.synchronize = torch.cuda.Event.synchronize = None
model = torch.nn.Linear(256, 256, device="cuda")
optimiser = torch.optim.SGD(model.parameters(), lr=0.01, foreach=True)
x = torch.randn(64, 256, device="cuda")
for _ in range(200):
    model(x).square().mean().backward()
    optimiser.step()
"""

SPLIT = """
import torch

model = torch.nn.Linear(64, 64, device="cuda")
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
x = torch.randn(64, 64, device="cuda")
for step in range(60):
    loss = model(x).square().mean()
    if step % 2:
        torch.cuda._sleep(20_000_000)  # cycles, between forward and backward: the GPU's "other"
    loss.backward()
    optimiser.step()
torch.cuda.synchronize()
"""


@pytest.fixture(scope="module", autouse=True)
def gpu() -> None:
    """A GPU that torch can use."""
    if not pytest.importorskip("torch").cuda.is_available():
        pytest.skip("no GPU here")


def part(ns: tuple[int, ...], name: str) -> int:
    return ns[PHASES.index(name)]


def test_losses_are_bitwise_equal_and_told(agent_run: Callable[..., AgentRun]) -> None:
    """The job's losses are those without the agent, and the record holds the same numbers."""
    command = [sys.executable, "-c", EXACT]
    environment = {**steady(), "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    plain = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    run = agent_run(command, env=environment)
    assert run.exit_code == 0, run.stderr
    assert run.stdout == plain.stdout
    (record,) = run.trained
    assert record.fault is None
    printed = run.stdout.split()
    assert len(record.losses) > 40
    assert all(value.hex() == printed[step] for step, value in record.losses)


def test_the_job_is_never_made_to_wait(agent_run: Callable[..., AgentRun]) -> None:
    """Where any call that waits for the GPU is an error, there is none."""
    run = agent_run([sys.executable, "-c", WAITS])
    assert run.exit_code == 0, run.stderr
    (record,) = run.trained
    assert record.fault is None
    assert sum(row.count for row in record.steps) == 200


def test_the_gpus_own_time_is_told_where_it_was_spent(agent_run: Callable[..., AgentRun]) -> None:
    """Work that only the GPU does shows in its own split, in the steps and the part where it was queued."""
    run = agent_run([sys.executable, "-c", SPLIT])
    assert run.exit_code == 0, run.stderr
    (record,) = run.trained
    told = dict(record.device)
    slow = [ns for step, ns in told.items() if step % 2 and step > 4]
    quick = sorted(part(ns, "other") for step, ns in told.items() if step % 2 == 0 and step > 4)
    assert len(slow) > 5
    assert min(part(ns, "other") for ns in slow) > 5 * quick[len(quick) // 2]
    assert all(part(ns, "other") > 0.5 * sum(ns) for ns in slow)


@pytest.mark.parametrize("kind", ["cnn", "lm", "scaled", "compiled"])
def test_jobs_on_a_gpu(agent_job: Callable[..., AgentRun], kind: str) -> None:
    """Loaders with a copy, batches made on the GPU, two optimisers with a scaler, and a compiled model."""
    run = agent_job("gpu.py", kind, 4)
    assert run.exit_code == 0, run.stderr
    (record,) = run.trained
    assert record.fault is None
    assert record.device
    assert record.losses
    assert record.facts["device"].startswith("cuda")
    assert record.end["gpu_memory_peak_bytes"] > 0
    device_ns, step_ns = (
        sum(sum(ns[: len(TRAINING_PHASES)]) for _, ns in record.device),
        sum(sum(row.ns) for row in record.steps if row.last in dict(record.device)),
    )
    assert device_ns == pytest.approx(step_ns, rel=0.3)
    assert (sum(part(ns, "copy") for _, ns in record.device) > 0) == (kind in ("cnn", "scaled"))
