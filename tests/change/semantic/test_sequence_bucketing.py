"""Batches of like length: the same samples with less padding, and none where nothing is padded."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from suffice.agent.rig.job import Refused
from suffice.change.semantic import sequence_bucketing
from suffice.change.semantic.sequence_bucketing import gain_of, sorted_batches
from tests.change.small_jobs import JobOf

COUNT, BATCH = 210, 8


class Texts(Dataset):
    """Sequences of 5 to 104 tokens: (tokens, index)."""

    def __init__(self, length: Any = lambda index: 5 + index * 37 % 100, make: Any = None) -> None:
        self.length = length
        self.make = make or (lambda tokens, index: (tokens, index))

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> Any:
        torch.rand(())  # what it draws must not move the job's own numbers
        return self.make(torch.full((self.length(index),), index), index)


def padded(samples: list[Any]) -> Any:
    """As most write it."""
    return pad_sequence([tokens for tokens, _ in samples], batch_first=True), torch.tensor([i for _, i in samples])


def padded_dicts(samples: list[Any]) -> Any:
    """As tokenizers do, to a multiple of eight."""
    longest = -(-max(len(each["input_ids"]) for each in samples) // 8) * 8
    rows = [each["input_ids"] + [0] * (longest - len(each["input_ids"])) for each in samples]
    return {"input_ids": torch.tensor(rows), "labels": torch.tensor([each["labels"] for each in samples])}


def packed(samples: list[Any]) -> Any:
    """One after the other, with where each begins: nothing is padded."""
    lengths = torch.tensor([len(tokens) for tokens, _ in samples])
    return torch.cat([tokens for tokens, _ in samples]), lengths.cumsum(0)


def loader_of(dataset: Any = None, collate: Any = padded, **options: Any) -> DataLoader:
    return DataLoader(dataset or Texts(), BATCH, collate_fn=collate, **{"shuffle": True, **options})


def job_of(loader: DataLoader) -> JobOf:
    net = nn.Linear(1, 1)
    job = JobOf([net], [torch.optim.SGD(net.parameters(), lr=0.1)], "/nowhere", ())
    job.loaders = lambda: [loader]  # type: ignore[method-assign]
    return job


@pytest.fixture(autouse=True)
def codes() -> Iterator[None]:
    """Torch gets its functions back."""
    kind = torch.utils.data.dataloader._BaseDataLoaderIter
    functions = [kind._next_index, kind.__next__]
    before = [function.__code__ for function in functions]
    yield
    for function, code in zip(functions, before, strict=True):
        function.__code__ = code


def epoch(loader: DataLoader, switch: Any = None, *, toggle: bool = False) -> list[tuple[int, list[int]]]:
    """(length, samples) of each batch."""
    torch.manual_seed(3)
    if switch is not None:
        switch.reads(loader)
    seen = []
    for tokens, samples in loader:
        seen.append((tokens.shape[1], samples.tolist()))
        if toggle:
            (switch.off if switch.is_on else switch.on)()
    return seen


def samples_of(batches: list[tuple[int, list[int]]]) -> list[int]:
    return sorted(sample for _, samples in batches for sample in samples)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("toggle", [False, True])
def test_an_epoch_has_the_same_samples_and_less_padding(workers: int, toggle: bool) -> None:  # noqa: FBT001
    """Every sample once, in batches of the same sizes, also when it is switched at every step."""
    loader = loader_of(num_workers=workers)
    plain = epoch(loader)
    switch = sequence_bucketing.prepare(job_of(loader), {"pool": 10})
    switch.on()
    for _ in range(2):
        found = epoch(loader, switch, toggle=toggle)
        assert samples_of(found) == list(range(COUNT))
        assert sorted(len(samples) for _, samples in found) == [2] + [BATCH] * 26
        if not toggle:
            assert sum(longest for longest, _ in found) < 0.75 * sum(longest for longest, _ in plain)
    facts = switch.facts()
    assert facts["longer_without"] > 1.3
    assert facts["sorted"] > 0
    assert facts["refused"] is None


def test_off_is_the_sampler_again_and_draws_nothing() -> None:
    """Bitwise: the order, and the state of the generator afterwards."""
    loader = loader_of()
    job, plain, state = job_of(loader), epoch(loader), torch.get_rng_state()
    switch = sequence_bucketing.prepare(job, {})
    assert torch.equal(torch.get_rng_state(), state)
    switch.on()
    sorted_ones = epoch(loader, switch)
    assert sorted_ones != plain
    assert epoch(loader, switch) == sorted_ones, "the same seed gives the same batches"
    switch.off()
    assert epoch(loader, switch) == plain


def test_an_epoch_that_is_left_loses_nothing_of_the_next() -> None:
    """What was sorted ahead goes with the epoch that it was sorted for."""
    loader = loader_of(num_workers=1, persistent_workers=True)
    switch = sequence_bucketing.prepare(job_of(loader), {})
    switch.on()
    switch.reads(loader)
    for _ in zip(range(3), loader, strict=False):
        pass
    assert samples_of(epoch(loader, switch)) == list(range(COUNT))


def test_batches_of_dicts_are_understood() -> None:
    """Lists of numbers under a name, padded to a multiple of eight."""
    dataset = Texts(make=lambda tokens, index: {"input_ids": tokens.tolist(), "labels": index})
    switch = sequence_bucketing.prepare(job_of(loader_of(dataset, padded_dicts)), {})
    assert switch.facts()["longer_without"] > 1.3


def test_sorting_keeps_sizes_and_samples() -> None:
    """Known by hand: two lengths, two batches; indices that are no numbers stay as they are."""
    lengths = [1, 9, 1, 9]
    assert sorted(map(sorted, sorted_batches([[0, 1], [2, 3]], lengths))) == [[0, 2], [1, 3]]
    assert gain_of([1, 9] * 200, 2, 100) == pytest.approx((9 * 0.75 + 1 * 0.25) / 5, rel=0.1)
    assert sorted_batches([["a"], ["b"]], lengths) == [["b"], ["a"]]


REFUSED = [
    (lambda: loader_of(Texts(length=lambda _: 7)), "all of one length"),
    (lambda: loader_of(collate=packed), "no padding is seen"),
    (lambda: loader_of(Texts(length=lambda index: 100 + index % 2)), "no gain"),
    (lambda: loader_of(shuffle=False), "a fixed order"),
    (lambda: loader_of(collate=None), "without padding"),
    (lambda: DataLoader(Texts(), COUNT, shuffle=True, collate_fn=padded), "too few samples"),
    (lambda: loader_of(Texts(make=lambda tokens, index: (tokens, 1 // (index - 9)))), "ZeroDivisionError"),
]


@pytest.mark.parametrize(("make", "reason"), REFUSED, ids=[each[1] for each in REFUSED])
def test_it_is_refused_with_the_reason(make: Any, reason: str) -> None:
    """Where batches by length are no use, or can't be made."""
    with pytest.raises(Refused, match=reason):
        sequence_bucketing.prepare(job_of(make()), {})


def test_it_and_a_larger_batch_do_not_meet() -> None:
    """Both put the batches together."""
    job = job_of(loader_of())
    job.switches["larger-batch"] = object()
    with pytest.raises(Refused, match="larger ones already"):
        sequence_bucketing.prepare(job, {})
