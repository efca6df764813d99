"""Whole batches, gathered: the same bits, structure and strides as put together one by one, or none at all."""

from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from suffice.agent.rig.job import Job, Refused
from suffice.change.data import batch_gather
from suffice.change.data.keeping.values import bits
from tests.change.data import made_sets
from tests.change.data.conftest import Only, epoch

Course = Callable[..., dict[str, Any]]


@pytest.fixture
def gathering(job: Job) -> Iterator[Callable[..., Any]]:
    """`gathering(loader)`: its switch, on; torch gets its function back at the end."""
    made = []

    def gather(loader: DataLoader) -> Any:
        switch = batch_gather.prepare(Only(job, loader), {})
        made.append(switch)
        switch.on()
        return switch

    yield gather
    for switch in made:
        switch.off()
        switch.stand_in.take_out()


class Made(Dataset):
    """Items by a function of the index."""

    def __init__(self, make: Callable[[int], Any], count: int = 30) -> None:
        self.make = make
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return self.make(index)


def picture(index: int) -> torch.Tensor:
    return torch.arange(12, dtype=torch.float32).reshape(1, 3, 4) * (index + 1)


SETS: dict[str, Callable[[], Dataset]] = {
    "tensors": lambda: TensorDataset(torch.randn(30, 2, 3), torch.arange(30)),
    "one tensor": lambda: TensorDataset(torch.randn(30, 2)),
    "part": lambda: Subset(Subset(TensorDataset(torch.randn(60, 2), torch.arange(60)), range(5, 50)), range(3, 33)),
    "whole items": lambda: Made(lambda i: (picture(i), i % 3)),
    "dict": lambda: Made(lambda i: {"x": picture(i), "y": [float(i), i > 3], "z": np.float32(i)}),
    "arrays": lambda: Made(lambda i: (np.full((2, 2), i, dtype=np.int16), np.int64(i))),
    "bare": lambda: Made(lambda i: i),
    "empty parts": lambda: Made(lambda i: (torch.zeros(0, 3), torch.tensor(i))),
    "bfloat16": lambda: Made(lambda i: torch.full((3,), i, dtype=torch.bfloat16)),
    "permuted": lambda: Made(lambda i: picture(i).permute(2, 0, 1)),
}


@pytest.mark.parametrize("name", SETS)
def test_batches_are_the_same(name: str, gathering: Callable[..., Any]) -> None:
    """Three epochs of them, the last one shorter; and all but the first are gathered."""
    torch.manual_seed(0)
    loader = DataLoader(SETS[name](), 4, shuffle=name != "bare")
    epochs = [epoch(loader, seed) for seed in (1, 2, 3)]
    torch_state = torch.get_rng_state()
    switch = gathering(loader)
    for seed in (1, 2, 3):
        switch.reads(loader)
        assert epoch(loader, seed) == epochs[seed - 1]
    assert torch.equal(torch.get_rng_state(), torch_state)
    facts = switch.facts()
    assert facts["given_up"] is None
    first = 0 if isinstance(switch.gathered[id(loader.dataset)].table, batch_gather.Direct) else 8
    assert (facts["misses"], facts["hits"] + facts["checked"]) == (first, 24 - first)


Named = namedtuple("Named", "x")  # noqa: PYI024 - as users write it


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[int]:
        return iter(range(4))


REFUSED: dict[str, tuple[Callable[[], DataLoader], str]] = {
    "random": (lambda: DataLoader(Made(lambda i: torch.rand(2) * i), 4), "draw random numbers .from torch"),
    "numpy": (lambda: DataLoader(Made(lambda i: np.random.rand(2) * i), 4), "draw random numbers .from numpy"),  # noqa: NPY002
    "count": (lambda: DataLoader(Made(Counting()), 4), "not the same each time"),
    "shapes": (lambda: DataLoader(Made(lambda i: torch.zeros(1 + i % 2)), 1, shuffle=True), "make no batch|one shape"),
    "text": (
        lambda: DataLoader(Made(lambda i: (picture(i), f"name {i}")), 4),
        "could be gathered: (str|tuple)",
    ),
    "named": (lambda: DataLoader(Made(lambda i: Named(picture(i))), 4), "could be gathered: .*Named"),
    "collate": (lambda: DataLoader(Made(picture), 4, collate_fn=torch.stack), "function of the job's own"),
    "unbatched": (lambda: DataLoader(Made(picture), batch_size=None), "function of the job's own"),
    "stream": (lambda: DataLoader(Stream()), "no samples by number"),
    "graph": (lambda: DataLoader(TensorDataset(torch.ones(8, 2, requires_grad=True)), 4), "laid out"),
    "fails": (lambda: DataLoader(Made(lambda i: [][i]), 4), "IndexError"),
}


class Counting:
    """Tells how often it was called."""

    count = 0

    def __call__(self, index: int) -> int:
        self.count += 1
        return self.count + index


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_gathered_is_refused(name: str, gathering: Callable[..., Any]) -> None:
    """With the reason; no generator has moved."""
    make, reason = REFUSED[name]
    before = torch.get_rng_state()
    with pytest.raises(Refused, match=reason):
        gathering(make())
    assert torch.equal(before, torch.get_rng_state())


def test_too_large_a_data_set_is_refused(job: Job) -> None:
    """All of it has to fit into what may be taken."""

    class Small(Only):
        memory_bytes = 100

    with pytest.raises(Refused, match="may be taken"):
        batch_gather.prepare(Small(job, DataLoader(Made(picture), 4)), {})


def test_tensors_that_are_written_to_are_gathered_as_they_are(gathering: Callable[..., Any]) -> None:
    """A data set of tensors is no copy."""
    dataset = TensorDataset(torch.zeros(8, 2))
    loader = DataLoader(dataset, 4)
    gathering(loader)
    dataset.tensors[0].fill_(7)
    assert [float(batch[0].sum()) for batch in loader] == [56.0, 56.0]
    dataset.tensors = (torch.ones(8, 2),)
    assert [float(batch[0].sum()) for batch in loader] == [8.0, 8.0]


def test_batches_are_nobody_elses(gathering: Callable[..., Any]) -> None:
    """Who writes into a batch spoils no other."""
    loader = DataLoader(Made(picture), 10)
    gathering(loader)
    plain = epoch(loader)
    for batch in loader:
        batch.zero_()
    assert epoch(loader) == plain


def test_a_changed_data_set_ends_it(gathering: Callable[..., Any], files: list[str]) -> None:
    """An attribute, between two batches; a file, between two epochs."""
    dataset = made_sets.ByIndex(files, power=1)
    loader = DataLoader(dataset, 4)
    switch = gathering(loader)
    plain = epoch(loader)
    dataset.power = 2
    assert epoch(loader) != plain
    assert "changed while it was read" in switch.facts()["given_up"]
    dataset = made_sets.ByIndex(files)
    loader = DataLoader(dataset, 4)
    switch = gathering(loader)
    plain = epoch(loader)
    Path(files[2]).write_bytes(bytes(made_sets.SIDE**2))
    switch.reads(loader)
    assert epoch(loader) != plain
    assert "a file that" in switch.facts()["given_up"]


def test_a_spot_check_ends_what_nobody_could_see(gathering: Callable[..., Any]) -> None:
    """One batch of some hundred is put together after all, and compared."""
    hidden = [1]
    loader = DataLoader(Made(lambda i: picture(i) * hidden[0]), 2)
    switch = gathering(loader)
    epoch(loader)
    hidden[0] = 2
    for _ in range(30):
        epoch(loader)
    assert "differs" in switch.facts()["given_up"]


def test_a_rehearsal_reads_all_apart(gathering: Callable[..., Any]) -> None:
    """The job itself reads nothing."""
    read: list[int] = []
    loader = DataLoader(Made(lambda i: (read.append(i), picture(i))[1]), 4)
    plain = [bits(torch, batch) for batch in loader]
    switch = gathering(loader)
    assert switch.rehearse(loader, 30.0)
    read.clear()
    assert [bits(torch, batch) for batch in loader] == plain
    assert read == []
    assert switch.rehearse(DataLoader(TensorDataset(torch.ones(2, 2)), 2), 1.0) is False


def test_off_gives_torch_its_function_back(gathering: Callable[..., Any]) -> None:
    """And batches are put together one by one."""
    function = torch.utils.data._utils.fetch._MapDatasetFetcher.fetch
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    code = function.__code__
    loader = DataLoader(TensorDataset(torch.ones(8, 2)), 4)
    switch = gathering(loader)
    assert function.__code__ is not code
    switch.off()
    assert function.__code__ is code
    epoch(loader)
    assert switch.facts()["hits"] == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_losses_are_bitwise_equal(course: Course, workers: int) -> None:
    """Also where it is switched every other step, and in workers."""
    plain = course("ByIndex", workers=workers, epochs=5)
    for options in ({}, {"when": "middle", "toggle": 2}):
        gathered = course("ByIndex", "batch-gather", workers=workers, epochs=5, **options)
        for part in ("losses", "labels", "states", "refused"):
            assert gathered[part] == plain[part]
        assert gathered["facts"]["hits"] >= (5 if not options else 1 - workers)  # workers fetch ahead of the turns
        assert gathered["facts"]["given_up"] is None
