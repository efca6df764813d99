"""Samples of a model in a folder: arrays grouped by their shapes, split once into three parts that never mix.

calibrate   what quantisers see
search      by what candidates are compared
held-out    by what the chosen one is judged at the end
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from suffice.errors import ModelError

SPLITS = {"calibrate": 0.2, "search": 0.3, "held-out": 0.5}
MOST_CALIBRATED = 300
MOST_SAMPLES = 20_000
FEWEST_SPLIT = 10
FEW = 64

Array = Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Samples of equal shape: their inputs along axis 0, and their labels, which may be missing."""

    inputs: tuple[Array, ...]
    labels: Array | None

    def __len__(self) -> int:
        return len(self.inputs[0])

    def part(self, places: Any) -> Batch:
        """Some of the samples."""
        labels = None if self.labels is None else self.labels[places]
        return Batch(inputs=tuple(each[places] for each in self.inputs), labels=labels)


def write_samples(folder: Path, batches: Iterable[Batch], *, seed: int = 0) -> dict[str, int]:
    """Split the samples and write them into the folder; how many each part has.

    Raises:
        ModelError: if there are none, or their inputs have no common axis 0.
    """
    groups: dict[tuple[Any, ...], list[Batch]] = {}
    total = 0
    for batch in batches:
        sizes = {len(each) for each in (*batch.inputs, *([] if batch.labels is None else [batch.labels]))}
        if len(sizes) != 1:
            raise ModelError(f"inputs and labels of one batch must have as many samples each, found {sorted(sizes)}")
        key = tuple((each.shape[1:], each.dtype.str) for each in batch.inputs)
        groups.setdefault(key, []).append(batch)
        total += len(batch)
        if total >= MOST_SAMPLES:
            break
    if not total:
        raise ModelError("there are no samples")
    wholes = [_joined(group) for group in groups.values()]
    places = [(number, place) for number, whole in enumerate(wholes) for place in range(len(whole))]
    random.Random(seed).shuffle(places)  # noqa: S311 - it shuffles
    parts = dict(_parts(places))
    for split, chosen in parts.items():
        own = [[place for group, place in chosen if group == number] for number in range(len(wholes))]
        write_part(folder, split, [whole.part(np.array(some)) for whole, some in zip(wholes, own, strict=True) if some])
    write_part(folder, "few", [of_size(read_samples(folder, "search"), FEW)])
    return {split: len(chosen) for split, chosen in parts.items()}


def write_part(folder: Path, split: str, batches: Iterable[Batch]) -> None:
    """Write samples as one part, a file for each batch."""
    (folder / split).mkdir(parents=True, exist_ok=True)
    for number, batch in enumerate(batches):
        _save(folder / split / f"{number}.npz", batch)


def _parts(places: Sequence[tuple[int, int]]) -> Iterator[tuple[str, Sequence[tuple[int, int]]]]:
    """The parts, which share no sample; of fewer samples than `FEWEST_SPLIT` each has all, and can prove nothing."""
    begin = 0
    for split, share in SPLITS.items():
        count = round(len(places) * share) if split != "held-out" else len(places) - begin
        yield split, places if len(places) < FEWEST_SPLIT else places[begin : begin + count]
        begin += count


def _joined(group: Sequence[Batch]) -> Batch:
    inputs = tuple(np.concatenate(each) for each in zip(*(batch.inputs for batch in group), strict=True))
    labelled = all(batch.labels is not None for batch in group)
    return Batch(inputs=inputs, labels=np.concatenate([batch.labels for batch in group]) if labelled else None)


def _save(path: Path, batch: Batch) -> None:
    arrays = {f"input{number}": each for number, each in enumerate(batch.inputs)}
    np.savez(path, **arrays, **({} if batch.labels is None else {"labels": batch.labels}))


def read_samples(folder: Path, split: str) -> list[Batch]:
    """A part of the samples, a batch for each shape."""
    found = []
    for path in sorted((folder / split).glob("*.npz"), key=lambda each: int(each.stem)):
        with np.load(path, allow_pickle=False) as arrays:
            count = sum(name.startswith("input") for name in arrays.files)
            inputs = tuple(arrays[f"input{number}"] for number in range(count))
            found.append(Batch(inputs=inputs, labels=arrays["labels"] if "labels" in arrays.files else None))
    return found


def in_batches(batches: Iterable[Batch], size: int) -> Iterator[Batch]:
    """The same samples in the same order, `size` at most at a time."""
    for batch in batches:
        for begin in range(0, len(batch), size):
            yield batch.part(slice(begin, begin + size))


def to_calibrate(folder: Path, names: Sequence[str]) -> list[dict[str, Array]]:
    """Samples for a quantiser, one a time, by the names of the inputs."""
    seen = in_batches(read_samples(folder, "calibrate"), 1)
    return [dict(zip(names, each.inputs, strict=True)) for each in islice(seen, MOST_CALIBRATED)]


def of_size(batches: Sequence[Batch], size: int) -> Batch:
    """So many samples of the most frequent shape; where there are fewer, they repeat."""
    largest = max(batches, key=len)
    return largest.part(np.arange(size) % len(largest))
