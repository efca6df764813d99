"""Data sets for workers: each shows one reason for or against them."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

COUNT = 22


class Numbers(Dataset):
    """Nothing is drawn."""

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int):
        return torch.full((3,), float(index)), index


class Draws(Numbers):
    """From torch."""

    def __getitem__(self, index: int):
        return torch.rand(3) + index, index


class DrawsFromNumpy(Numbers):
    """From numpy."""

    def __getitem__(self, index: int):
        return torch.from_numpy(np.random.rand(3)) + index, index  # noqa: NPY002


class DrawsFromPython(Numbers):
    """From Python's own generator."""

    def __getitem__(self, index: int):
        return torch.full((3,), random.random()) + index, index


class DrawsFromOwn(Numbers):
    """From a generator that it holds."""

    def __init__(self) -> None:
        self.chance = random.Random(0)

    def __getitem__(self, index: int):
        return torch.ones(3) * self.chance.random() + index, index


class Counts(Numbers):
    """Depends on how many were read before."""

    count = 0

    def __getitem__(self, index: int):
        self.count += 1
        return torch.full((3,), float(self.count)), index


class Fails(Numbers):
    """One sample can't be read."""

    def __getitem__(self, index: int):
        if index == 13:
            raise KeyError("thirteen")
        return super().__getitem__(index)


class Large(Numbers):
    """More than any shared memory holds, if a batch of it were made."""

    def __getitem__(self, index: int):
        return torch.empty((1,)).expand(1 << 36), index


class HoldsFile(Numbers):
    """Reads through an open file."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("rb")


class Epoch(Numbers):
    """Depends on what the training loop sets."""

    epoch = 0

    def __getitem__(self, index: int):
        return torch.full((3,), float(self.epoch)), index


class Sleeps(Numbers):
    """Waits, as for storage."""

    def __getitem__(self, index: int):
        time.sleep(0.01)
        return super().__getitem__(index)


class Stream(IterableDataset):
    """Knows nothing of workers."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(COUNT))


class Sharded(Stream):
    """Shares itself out."""

    def __iter__(self) -> Iterator[int]:
        info = get_worker_info()
        return iter(range(0 if info is None else info.id, COUNT, 1 if info is None else info.num_workers))
