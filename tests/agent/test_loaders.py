"""Which loaders train and which evaluate, what they kept waiting, and what their workers did meanwhile."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from suffice.agent.fetch import FIELDS, PAGE, UNKNOWN, Pages
from suffice.measure.spool.reader import PHASES, ProcessRecord
from tests.conftest import JOBS, AgentRun

MS = 1_000_000

LOADERS = """
import threading, time
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

torch.set_num_threads(1)


class Training(Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, index):
        return torch.ones(4)


class Validation(Training):
    pass


class Sampled(Training):
    pass


class Elsewhere(Training):
    pass


class Stream(IterableDataset):
    def __iter__(self):
        return (torch.ones(4) for _ in range(24))


def read():
    for _ in DataLoader(Elsewhere(), batch_size=4):
        pass


model = torch.nn.Linear(4, 1)
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)


def update(*batches):
    sum(model(batch).sum() for batch in batches).backward()
    optimiser.step()
    optimiser.zero_grad()


if __name__ == "__main__":
    training = DataLoader(Training(), batch_size=4, num_workers=1, persistent_workers=True)
    validation, sampled = DataLoader(Validation(), batch_size=5), DataLoader(Sampled(), batch_size=2)
    thread = threading.Thread(target=read)
    for epoch in range(3):
        for index, batch in enumerate(training):
            update(batch)
            if epoch == 2 and index == 4:
                break
        with torch.no_grad():
            for batch in validation:
                model(batch)
                if epoch == 1:
                    break
        for batch in sampled if epoch == 0 else ():
            model(batch)  # neither no_grad nor eval(): only the loader's end tells that nothing was learnt
    thread.start()
    for first, second in zip(training, DataLoader(Stream(), batch_size=8)):
        update(first, second)
    thread.join()
"""

FETCHING = """
import sys, time
import torch
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


class Sleeps(Dataset):
    def __len__(self):
        return 60

    def __getitem__(self, index):
        time.sleep(0.004)
        return torch.ones(4)


class Burns(Sleeps):
    def __getitem__(self, index):
        begun = time.thread_time(), time.perf_counter()
        while time.thread_time() - begun[0] < 0.004 or time.perf_counter() - begun[1] < 0.004:
            pass
        return torch.ones(4)


if __name__ == "__main__":
    model = torch.nn.Linear(4, 1)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    for dataset in (Sleeps(), Burns()):
        for workers in (0, 1):
            for batch in DataLoader(dataset, batch_size=2, num_workers=workers):
                model(batch).sum().backward()
                optimiser.step()
"""


def by_dataset(record: ProcessRecord) -> dict[str, dict]:
    """The loaders by the name of their data set."""
    return {loader["dataset"]: loader for loader in record.loaders.values()}


def test_loaders_are_told_apart(agent_run: Callable[..., AgentRun], tmp_path: Path) -> None:
    """Training loaders, two kinds of validation, a stream beside a loader, early breaks, and one read elsewhere."""
    program = tmp_path / "loaders.py"
    program.write_text(LOADERS)
    run = agent_run([sys.executable, program])
    assert (run.exit_code, run.stderr) == (0, "")
    (record,) = run.trained
    assert record.fault is None
    loaders = by_dataset(record)
    assert sorted(loaders) == ["Sampled", "Stream", "Training", "Validation"]
    roles = {name: loader["role"] for name, loader in loaders.items()}
    assert roles == {"Training": "training", "Validation": "evaluation", "Sampled": "evaluation", "Stream": "training"}
    # `zip` asks the first loader once more before it learns that the second has ended.
    fetches = {name: loader["fetches"] for name, loader in loaders.items()}
    assert fetches == {"Training": 25 + 4, "Validation": 17, "Sampled": 20, "Stream": 3}
    assert (loaders["Training"]["samples"], loaders["Validation"]["samples"]) == (4 * 29, 5 * 17)
    assert (loaders["Training"]["workers"], loaders["Training"]["persistent_workers"]) == (1, True)
    assert all(0 < loader["first_wait_ns"] <= loader["wait_ns"] for loader in loaders.values())
    assert record.end["reading_elsewhere"]
    assert [row.samples for row in record.steps if row.count == 1][:5] == [4] * 5
    assert [row.samples for row in record.steps][-3:] == [12] * 3
    assert sum(row.count for row in record.steps) == 25 + 3
    evaluated = [sum(row.ns[PHASES.index("evaluation_wait") :]) for row in record.steps]
    assert all(evaluated[index] for index in (10, 20, 25))
    assert sum(map(bool, evaluated)) == 3


def test_pages_tell_what_fetching_took(agent_run: Callable[..., AgentRun], tmp_path: Path) -> None:
    """Where samples sleep, the time is off the processor; where they burn, it is on it; in workers and without."""
    program = tmp_path / "fetching.py"
    program.write_text(FETCHING)
    run = agent_run([sys.executable, program])
    assert (run.exit_code, run.stderr) == (0, "")
    pages = [dict(zip(FIELDS, PAGE.unpack(path.read_bytes()), strict=True)) for path in run.spool.glob("*.fetch")]
    (record,) = run.trained
    by_loader = {page["loader"]: page for page in pages}
    assert len(pages) == 4
    assert sorted(by_loader) == sorted(record.loaders)
    for number, loader in record.loaders.items():
        page = by_loader[number]
        on_processor = page["processor"] / (page["wall"] - max(0, page["run_queue"]))
        assert on_processor < 0.3 if loader["dataset"] == "Sleeps" else on_processor > 0.7
        assert (page["batches"], page["items"], page["busy"]) == (30, 60, 0)
        assert page["wall"] >= 60 * 4 * MS
        assert page["worker"] == (0 if loader["workers"] else UNKNOWN)
        me, over_me = record.process["pid"], record.process["parent"]
        assert (page["pid"] == me, page["parent"]) == ((False, me) if loader["workers"] else (True, over_me))
        assert page["first_items"] == 2
        assert 0 < page["first_wall"] < page["wall"]


def test_workers_without_room_for_a_page_say_so(agent_run: Callable[..., AgentRun], tmp_path: Path) -> None:
    """Where no page can be made the record says why, once, and the job goes on."""
    program = tmp_path / "fetching.py"
    crowd = """
import os
real = os.open
def open(path, *arguments, **named):
    if str(path).endswith(".fetch"):
        raise OSError(28, "No space left on device")
    return real(path, *arguments, **named)
os.open = open
"""
    program.write_text(crowd + FETCHING)
    run = agent_run([sys.executable, program])
    assert (run.exit_code, run.stderr) == (0, "")
    assert not list(run.spool.glob("*.fetch"))
    told = [record for record in run.records if record.unrecorded_fetch is not None]
    assert "No space left" in str(told[0].unrecorded_fetch)
    assert len(told) == 3
    assert all(record.fault is None for record in run.records)


def test_a_machine_without_proc_tells_less(agent_run: Callable[..., AgentRun]) -> None:
    """Where /proc says nothing the run queue and the bytes are unknown, and the rest is told."""
    bare = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    if shutil.which("unshare") is None or subprocess.run([*bare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("only root may hide /proc")
    run = agent_run([*bare, sys.executable, JOBS / "cnn.py", "--epochs", "1", "--workers", "1"])
    assert run.exit_code == 0  # torch itself complains
    (record,) = run.trained
    assert record.fault is None
    assert sum(row.count for row in record.steps) == 10
    pages = [dict(zip(FIELDS, PAGE.unpack(path.read_bytes()), strict=True)) for path in run.spool.glob("*.fetch")]
    assert pages
    for page in pages:
        assert (page["run_queue"], page["thread_run"], page["read_bytes"]) == (UNKNOWN, UNKNOWN, 0)
        assert page["wall"] > 0
        assert page["processor"] > 0


class NoTorch:
    """As much of torch as a page asks."""

    def __init__(self) -> None:
        self.utils = self.data = self

    def get_worker_info(self) -> None:
        return None

    def get_num_threads(self) -> int:
        return 1


def test_a_process_has_a_bounded_number_of_pages(tmp_path: Path) -> None:
    """However many loaders a process fetches for, its pages are few, and short fetches are not all looked at."""
    pages = Pages(str(tmp_path), NoTorch(), pytest.fail)
    for number in range(100):
        pages.loader = number
        for _ in range(32):
            if token := pages.begin(None):
                pages.end(token, 1)
    totals = [dict(zip(FIELDS, PAGE.unpack(path.read_bytes()), strict=True)) for path in tmp_path.glob("*.fetch")]
    assert 1 < len(totals) <= 16
    assert sum(page["batches"] for page in totals) < 0.2 * 32 * 100
