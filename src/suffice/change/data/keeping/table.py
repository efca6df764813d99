"""Batches of items, filled in as they come -> any batch of known items, gathered from columns at once.

A column is one tensor over all items, in memory that later children share. A batch comes out with the same bits,
structure and strides as collating its items gives.
"""

from __future__ import annotations

import math
import mmap
from typing import TYPE_CHECKING

from .values import ALIGNMENT, NotKeepable

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Structure = Any  # None for a tensor, else a list or dict of structures


def flatten(torch: Any, batch: Any) -> tuple[Structure, list[Any]]:
    """The structure of a batch, and its tensors.

    Raises:
        NotKeepable: if it holds anything else than whole tensors in lists and dicts.
    """
    if type(batch) is torch.Tensor:
        if batch.layout is not torch.strided or batch.requires_grad or not batch.is_contiguous():
            raise NotKeepable("a tensor that is laid out in another way than item by item")
        return None, [batch]
    if type(batch) is list:
        parts = [flatten(torch, each) for each in batch]
        return [structure for structure, _ in parts], [leaf for _, leaves in parts for leaf in leaves]
    if type(batch) is dict:
        named = {key: flatten(torch, each) for key, each in batch.items()}
        return {key: part[0] for key, part in named.items()}, [leaf for _, leaves in named.values() for leaf in leaves]
    raise NotKeepable(type(batch).__name__)


def build(structure: Structure, leaves: list[Any]) -> Any:
    """The batch of that structure; takes its tensors out of `leaves`, from the first on."""
    if structure is None:
        return leaves.pop(0)
    if isinstance(structure, list):
        return [build(each, leaves) for each in structure]
    return {key: build(each, leaves) for key, each in structure.items()}


def shape_of(torch: Any, batch: Any) -> Any:
    """What a batch is like but for its length, in JSON: its structure, and type and shape of an item's part of each.

    Raises:
        NotKeepable: if batches like it can't be gathered.
    """
    structure, leaves = flatten(torch, batch)
    if any(leaf.device.type != "cpu" for leaf in leaves):
        raise NotKeepable("a tensor that lies on a device")
    return [structure, [[str(leaf.dtype).rpartition(".")[2], list(leaf.shape[1:])] for leaf in leaves]]


class Table:
    """Columns for `rows` items whose batches have that `shape`.

    Raises:
        ValueError: if the columns would take more than `most_bytes`.
        OSError: if there is no memory for them.
    """

    def __init__(self, torch: Any, rows: int, shape: Any, most_bytes: int) -> None:
        self.torch = torch
        self.shape = shape
        self.structure = shape[0]
        kinds = [(getattr(torch, name), each) for name, each in shape[1]]
        counts = [rows * math.prod(each) for _, each in kinds]
        places, size = [], _aligned(rows)
        for (dtype, _), count in zip(kinds, counts):
            places.append(size)
            size = _aligned(size + count * int(torch.empty(0, dtype=dtype).element_size()))
        self.size = size
        if size > most_bytes:
            raise ValueError(f"all samples take {size / 1e9:.1f} GB, and {most_bytes / 1e9:.1f} GB may be taken")
        memory = mmap.mmap(-1, size)
        self.filled = torch.frombuffer(memory, dtype=torch.uint8, count=rows)
        self.columns = [
            torch.frombuffer(memory, dtype=dtype, count=count, offset=place).view(rows, *each)
            if count
            else torch.empty((rows, *each), dtype=dtype)
            for (dtype, each), count, place in zip(kinds, counts, places)
        ]

    def has(self, rows: Any) -> bool:
        """Whether all these rows (a tensor of numbers) are known."""
        return bool(self.filled[rows].all())

    def gather(self, rows: Any) -> Any:
        """The batch of these rows, in memory of its own."""
        return build(self.structure, [column.index_select(0, rows) for column in self.columns])

    def fill(self, rows: Any, batch: Any) -> None:
        """Take in the batch that was collated of these rows.

        Raises:
            NotKeepable: if it is not like the first.
        """
        leaves = flatten(self.torch, batch)[1]
        if shape_of(self.torch, batch) != self.shape or any(len(leaf) != len(rows) for leaf in leaves):
            raise NotKeepable("samples of several shapes or types")
        for column, leaf in zip(self.columns, leaves):
            column[rows] = leaf
        self.filled[rows] = 1


class Direct:
    """The columns that a `TensorDataset` is; `numbers` are the rows that a subset of it consists of, or None.

    Raises:
        NotKeepable: if gathering from them gives other batches than collating.
    """

    def __init__(self, torch: Any, dataset: Any, numbers: Any, collate: Callable[[list[Any]], Any]) -> None:
        self.torch = torch
        self.dataset = dataset
        self.columns = dataset.tensors
        self.numbers = numbers
        self.size = 0
        some = [dataset[i] for i in range(min(2, len(dataset)))]
        self.structure, leaves = flatten(torch, collate(some))
        gathered = flatten(torch, self._gathered(torch.arange(len(some))))[1]
        if [leaf.stride() for leaf in leaves] != [leaf.stride() for leaf in gathered]:
            raise NotKeepable("tensors that are laid out in another way than item by item")

    def has(self, rows: Any) -> bool:
        """All rows are, as long as the data set has the same tensors."""
        return len(rows) > 0 and self.dataset.tensors is self.columns

    def gather(self, rows: Any) -> Any:
        """The batch of these rows, in memory of its own."""
        return self._gathered(rows if self.numbers is None else self.numbers[rows])

    def _gathered(self, numbers: Any) -> Any:
        leaves = [column.index_select(0, numbers.to(column.device)) for column in self.columns]
        return build(self.structure, leaves)

    def fill(self, rows: Any, batch: Any) -> None:
        """There is nothing to fill."""


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
