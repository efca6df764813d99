"""A loader -> the length of each of its samples, and whether its batches are padded to the longest in them.

To be asked in a process of its own, for samples are read. A length is the size of one part of a sample along one axis:
that which differs most from sample to sample.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...data.looking.tracing import read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

TRIED = 64
MOST_PARTS = 24


def sizes_of(sample: Any, path: str = "") -> Iterator[tuple[str, int]]:
    """(path, size) of each axis of each tensor or array, and of each text and list of numbers in a sample."""
    shape = getattr(sample, "shape", None)
    if shape is not None and not isinstance(sample, str):
        yield from ((f"{path}|{axis}", int(size)) for axis, size in enumerate(shape))
    elif isinstance(sample, (str, bytes)) or (isinstance(sample, list) and _of_numbers(sample)):
        yield path, len(sample)
    elif isinstance(sample, Mapping):
        for name, part in list(sample.items())[:MOST_PARTS]:
            yield from sizes_of(part, f"{path}.{name}")
    elif isinstance(sample, (list, tuple)):
        for place, part in enumerate(sample[:MOST_PARTS]):
            yield from sizes_of(part, f"{path}.{place}")


def _of_numbers(parts: list[Any]) -> bool:
    return all(isinstance(part, (int, float)) for part in parts[:MOST_PARTS])


def lengths_of(dataset: Any, limit_s: float) -> list[int] | str:
    """The length of every sample by its index, or the reason why there is none."""
    count = len(dataset)
    begun = time.monotonic()
    tried = [dict(sizes_of(read(dataset, count * place // TRIED))) for place in range(min(TRIED, count))]
    expected_s = (time.monotonic() - begun) * count / max(1, len(tried))
    paths = {path for sizes in tried for path in sizes}
    spreads = {path: _spread([sizes.get(path, 0) for sizes in tried]) for path in sorted(paths)}
    if not spreads or max(spreads.values()) == 0:
        return "its samples are all of one length"
    if expected_s > limit_s:
        return f"reading its {count} samples for their lengths would take {expected_s:.0f} s"
    chosen = max(spreads, key=lambda path: spreads[path])
    return [dict(sizes_of(read(dataset, index))).get(chosen, 0) for index in range(count)]


def _spread(sizes: Sequence[int]) -> float:
    """The standard deviation over the mean, so that axes of other scales can be compared."""
    mean = sum(sizes) / len(sizes)
    return (sum((size - mean) ** 2 for size in sizes) / len(sizes)) ** 0.5 / mean if mean else 0.0


def is_padded(torch: Any, loader: Any, lengths: Sequence[int], size: int) -> bool:
    """Whether some axis of a batch is as long as the longest sample in it, whatever the others are."""
    order = sorted(range(len(lengths)), key=lambda index: lengths[index])
    shortest, longest = order[:size], order[-size:]
    made = [_shapes(torch, loader, indices) for indices in (shortest, [*order[: size - 1], order[-1]], longest)]
    return any(
        short < mixed == long
        for shapes in zip(*made)
        if len({len(shape) for shape in shapes}) == 1
        for short, mixed, long in zip(*shapes)
    )


def _shapes(torch: Any, loader: Any, indices: Sequence[int]) -> list[tuple[int, ...]]:
    batch = loader.collate_fn([read(loader.dataset, index) for index in indices])
    return [tuple(tensor.shape) for tensor in _tensors(torch, batch)]


def _tensors(torch: Any, part: Any) -> Iterator[Any]:
    if isinstance(part, torch.Tensor):
        yield part
    elif isinstance(part, Mapping):
        for each in part.values():
            yield from _tensors(torch, each)
    elif isinstance(part, (list, tuple)):
        for each in part:
            yield from _tensors(torch, each)
