"""Whatever goes wrong in the agent, and wherever the job forks, copies or saves, the job is what it was without it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from suffice.measure.spool.reader import PHASES
from tests.conftest import TIMEOUT_S, AgentRun, steady

FAULTY = """
import sys
import torch
from collections.abc import Mapping
from torch.optim import optimizer
from torch.utils.data import DataLoader

way = sys.argv[1] if len(sys.argv) > 1 else ""


class Odd(torch.nn.Linear):
    def __getattribute__(self, name):
        if way == "module" and name == "training":
            raise RuntimeError("nobody is to ask this")
        return super().__getattribute__(name)


class Groups(list):
    def __iter__(self):
        if way == "optimiser":
            raise RuntimeError("nobody is to ask this")
        return super().__iter__()


class Update(torch.optim.Optimizer):
    def __init__(self, parameters):
        super().__init__(parameters, {})
        self.held = list(self.param_groups[0]["params"])
        self.param_groups = Groups(self.param_groups)

    def step(self):
        for p in self.held:
            p.data -= 0.1 * p.grad
            p.grad = None


class Batch(Mapping):
    def __init__(self, x):
        self.x = x

    def __getitem__(self, key):
        return self.x

    def __iter__(self):
        if way == "batch":
            raise RuntimeError("nobody is to ask this")
        return iter(["x"])

    def __len__(self):
        return 1


torch.manual_seed(0)
model = Odd(4, 1)
update = Update(model.parameters())
for batch in DataLoader(torch.randn(64, 4), batch_size=8, collate_fn=lambda xs: Batch(torch.stack(xs))):
    loss = model(batch["x"]).square().mean()
    loss.backward()
    update.step()
    print(loss.item().hex())
left = [hasattr(f, "__wrapped__") for f in (torch.autograd.backward, DataLoader.__iter__, torch.compile)]
print(left, "_compiled_call_impl" in model.__dict__, len(optimizer._global_optimizer_post_hooks))
"""

FAMILY = """
import multiprocessing, sys, threading
import torch
from torch.utils.data import DataLoader


def train(steps):
    model = torch.nn.Linear(4, 1)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for batch in DataLoader(torch.randn(steps, 4)):
        model(batch).sum().backward()
        optimiser.step()


def look_on(model, stop):
    while not stop.is_set():
        with torch.no_grad():
            model.eval()(torch.randn(2, 4))
        for _ in DataLoader(torch.randn(4, 4)):
            pass


if __name__ == "__main__":
    torch.set_num_threads(1)
    stop = threading.Event()
    other = torch.nn.Linear(4, 1)
    held = torch.optim.SGD(other.parameters(), lr=0.1)
    thread = threading.Thread(target=look_on, args=(other, stop))
    thread.start()
    train(6)
    stop.set()
    thread.join()
    for method, steps in (("fork", 5), ("spawn", 7)):
        child = multiprocessing.get_context(method).Process(target=train, args=(steps,))
        child.start()
        child.join()
        assert child.exitcode == 0
    train(2)
"""

COPIES = """
import copy, hashlib, io, pickle, sys
import torch


class Frank(torch.nn.Linear):
    def __getstate__(self):
        return self.__dict__


def digest(thing):
    file = io.BytesIO()
    torch.save(thing, file)  # unlike pickle's own, it holds no addresses
    return hashlib.sha256(file.getvalue()).hexdigest()


torch.manual_seed(0)
plain, frank = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 1)), Frank(4, 1)
optimiser = torch.optim.Adam([*plain.parameters(), *frank.parameters()])
for _ in range(6):
    (plain(torch.randn(8, 4)) + frank(torch.randn(8, 4))).sum().backward()
    optimiser.step()

for thing in (plain, copy.deepcopy(plain), copy.copy(plain), optimiser, plain.state_dict(), optimiser.state_dict()):
    assert b"suffice" not in pickle.dumps(thing)
    print(digest(thing))
print(sorted(copy.copy(plain).__dict__))
assert b"suffice" not in pickle.dumps(frank)

# A shallow copy is called for itself, not for what it was copied from, whoever made it and though that is gone.
for twin in (copy.copy(frank), frank._replicate_for_data_parallel()):
    twin._parameters = {"weight": torch.ones(1, 4), "bias": torch.zeros(1)}
    print(twin(torch.ones(1, 4)).item())
del frank, optimiser
print(twin(torch.ones(1, 4)).item())
if len(sys.argv) > 1:
    torch.save(plain, sys.argv[1])
"""


@pytest.fixture(scope="module")
def without_the_agent() -> str:
    """What the faulty job prints by itself."""
    command = [sys.executable, "-c", FAULTY]
    return subprocess.run(command, env=steady(), capture_output=True, text=True, timeout=TIMEOUT_S, check=True).stdout


@pytest.mark.parametrize(
    ("way", "where"), [("module", "forward_begins"), ("optimiser", "fetch_ends"), ("batch", "fetch_ends")]
)
def test_a_fault_never_reaches_the_job(
    agent_run: Callable[..., AgentRun], without_the_agent: str, way: str, where: str
) -> None:
    """A fault in a hook is told in the record, all hooks are removed, and the job prints what it did without them."""
    run = agent_run([sys.executable, "-c", FAULTY, way])
    assert (run.exit_code, run.stderr) == (0, "")
    assert run.stdout == without_the_agent
    (record,) = run.records
    assert record.fault is not None
    assert record.fault["where"] == where
    assert "nobody is to ask this" in record.fault["trace"]


def test_children_have_records_of_their_own_and_threads_none(
    agent_run: Callable[..., AgentRun], tmp_path: Path
) -> None:
    """A forked and a spawned child tell their own steps; threads that evaluate beside the training are not heard."""
    program = tmp_path / "family.py"
    program.write_text(FAMILY)
    run = agent_run([sys.executable, program])
    assert (run.exit_code, run.stderr) == (0, "")
    steps = {sum(row.count for row in record.steps): record for record in run.trained}
    assert sorted(steps) == [5, 7, 8]
    parent = steps[8].process["pid"]
    assert [steps[count].process["parent"] for count in (5, 7)] == [parent, parent]
    assert steps[5].process.get("forked")
    assert all(record.fault is None for record in run.records)
    evaluated = PHASES.index("evaluation_forward")
    assert sum(row.ns[evaluated] for record in run.trained for row in record.steps) == 0
    assert steps[8].end["reading_elsewhere"]
    assert len(steps[8].loaders) == 2


def test_a_job_that_trains_in_a_thread_is_heard(agent_run: Callable[..., AgentRun], tmp_path: Path) -> None:
    """Where the main thread only waits, the thread that trains is the one that is listened to."""
    program = tmp_path / "threaded.py"
    start = "thread = threading.Thread(target=train, args=(9,)); thread.start(); thread.join()"
    program.write_text(FAMILY.partition("if __name__")[0] + start + "\n")
    run = agent_run([sys.executable, program])
    assert (run.exit_code, run.stderr) == (0, "")
    (record,) = run.trained
    assert 8 <= sum(row.count for row in record.steps) <= 9
    assert record.fault is None


def test_copies_and_saved_files_are_clean(agent_run: Callable[..., AgentRun], tmp_path: Path) -> None:
    """Copies, pickles and saved files are byte for byte those of a job without the agent, and load without it."""
    plain = subprocess.run(
        [sys.executable, "-c", COPIES], env=steady(), capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    saved = tmp_path / "model.pt"
    run = agent_run([sys.executable, "-c", COPIES, saved])
    assert (run.exit_code, run.stderr) == (0, "")
    assert run.stdout == plain.stdout
    assert run.stdout.splitlines()[-3:] == ["4.0"] * 3
    (record,) = run.trained
    assert any(row.ns[PHASES.index("forward")] for row in record.steps)
    load = (
        f"import torch; print(tuple(torch.load({json.dumps(str(saved))}, weights_only=False)(torch.ones(2, 4)).shape))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", load], env=steady(), capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    assert loaded.stdout == "(2, 1)\n"
