"""Make batches of samples of like length, where a batch is padded to its longest sample.

Of so many batches that the sampler would make next, the samples are sorted by length and cut into batches of the same
sizes, which come in random order. An epoch has the same samples and as many batches. The lengths are read once, in a
process of their own; nothing is drawn from the job's generators.

Not where samples are of one length, are not padded, take long to read, or come in a fixed order; not for iterable data
sets, nor for samplers that put batches together by themselves. Samples of one batch are more alike than by chance, so
it is another training.
Source: "Attention Is All You Need", arXiv 1706.03762, section 5.1: batches by approximate sequence length.
"""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING

from ..data.looking import apart
from .batches.drawing import Drawing, training_loaders, unfit
from .batches.lengths import is_padded, lengths_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from suffice.records import Profile

    from .batches.drawing import Drawn

RISK = "semantic"
CLOCK = "wall"
BLOCK = 8
WARM_UP = 0
PRACTICE = "ODL, model building: meet the criteria that were set, and do not exceed them"

POOL = 50  # batches that are sorted together
LOADERS = 4
READ_S, LIMIT_S = 20.0, 60.0
LEAST_GAIN = 1.05


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """One setting for a job that is fed with batches; whether they are padded, the live job tells."""
    rank = profile.ranks[0]
    batches = [each.batch_size for each in rank.loaders if each.role == "training" and each.batch_size]
    if (rank.facts.get("world_size") or 1) > 1:
        return "the ranks would have to agree on the batches"
    if not batches:
        return "no DataLoader feeds the training with batches"
    return [{"pool": POOL}] if max(batches) > 1 else "its batches hold one sample, which is padded to nothing"


class SequenceBucketing:
    """The switch."""

    def __init__(self, job: Any, pool: int) -> None:
        self.job = job
        self.pool = pool
        self.is_on = False
        self.sorted = self.plain = 0
        self.lengths: dict[int, Sequence[int]] = {}
        self.gains: dict[int, float] = {}
        self.reasons: dict[int, str] = {}
        self.drawing = Drawing(job, self._draw, lambda _: None)

    @property
    def block(self) -> int:
        """Steps of an arm: lengths differ from batch to batch."""
        return max(BLOCK, self.drawing.block)

    @property
    def warm_up(self) -> int:
        """Steps until the batches that were asked for ahead are trained on."""
        return self.drawing.warm_up

    def take_in(self, loader: Any) -> str:
        """Read the lengths of a loader's samples, if it is new; why batches by length are no use, or nothing."""
        key = id(loader.dataset)
        if key not in self.lengths and key not in self.reasons and len(self.reasons) < LOADERS:
            try:
                found = apart.run(self.job.torch, lambda: self._study(loader), LIMIT_S)
            except apart.Failed as failed:
                found = str(failed)
            if isinstance(found, str):
                self.reasons[key] = found
            else:
                self.lengths[key], self.gains[key] = found, gain_of(found, loader.batch_sampler.batch_size, self.pool)
        return self.reasons.get(key, "")

    def _study(self, loader: Any) -> list[int] | str:
        """The lengths of its samples, or why they are no use."""
        size = loader.batch_sampler.batch_size
        lengths = lengths_of(loader.dataset, READ_S)
        if isinstance(lengths, str):
            return lengths
        if size < 2 or len(lengths) < 2 * size:
            return "it has too few samples to sort"
        if not is_padded(self.job.torch, loader, lengths, size):
            return "no padding is seen: a batch is not as long as its longest sample"
        gain = gain_of(lengths, size, self.pool)
        if gain < LEAST_GAIN:
            return f"batches of like length would be {1 - 1 / gain:.1%} shorter, which is no gain"
        return lengths

    def on(self) -> None:
        """From the next batch on that is asked for."""
        self.is_on = True
        self.drawing.put_in()

    def off(self) -> None:
        """The sampler's batches; what was sorted already comes before the epoch ends."""
        self.is_on = False
        if self.drawing.idle():
            self.drawing.take_out()

    def reads(self, loader: Any) -> None:
        """An iteration begins."""
        if not _unfit(loader):
            self.take_in(loader)
            self.drawing.reads(loader)

    def _draw(self, iteration: Drawn, next_one: Callable[[], Any]) -> tuple[Any, int]:
        lengths = self.lengths.get(id(iteration.dataset))
        if self.is_on and lengths is not None and not iteration.ahead:
            iteration.ahead = sorted_batches(_some(next_one, self.pool), lengths)
        if self.is_on and iteration.ahead:
            self.sorted += 1
            return iteration.ahead.pop(), 1
        try:
            self.plain += 1
            return next_one(), 1
        except StopIteration:
            if not iteration.ahead:
                raise
            return iteration.ahead.pop(), 1

    def facts(self) -> dict[str, Any]:
        """How many batches were sorted, how much shorter they are to be, and what was not to be sorted."""
        return {
            "sorted": self.sorted,
            "plain": self.plain,
            "longer_without": max(self.gains.values(), default=None),
            "refused": "; ".join(dict.fromkeys(self.reasons.values())) or None,
        }


def _some(next_one: Callable[[], Any], count: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(count):
        try:
            found.append(next_one())
        except StopIteration:
            break
    return found


def sorted_batches(batches: Sequence[Any], lengths: Sequence[int]) -> list[Any]:
    """Batches of the same sizes and samples, by length, in an order that the samples decide."""
    flat = [index for batch in batches for index in batch]
    if not all(type(index) is int and 0 <= index < len(lengths) for index in flat):
        return list(batches)[::-1]  # taken from the end
    chance = random.Random(repr(flat[:64]))  # noqa: S311 - it shuffles
    sizes = [len(batch) for batch in batches]
    chance.shuffle(sizes)  # the last one may be smaller
    flat.sort(key=lambda index: lengths[index])
    made = []
    for size in sizes:
        made.append(flat[:size])
        del flat[:size]
    chance.shuffle(made)
    return made


def gain_of(lengths: Sequence[int], size: int, pool: int) -> float:
    """How many times as long batches by chance are as those by length, when both are padded to their longest."""
    order = list(range(len(lengths)))
    random.Random(0).shuffle(order)  # noqa: S311 - as above
    plain = [order[start : start + size] for start in range(0, len(order) - size + 1, size)]
    by_length = [each for at in range(0, len(plain), pool) for each in sorted_batches(plain[at : at + pool], lengths)]
    longest = [sum(max(lengths[index] for index in batch) for batch in batches) for batches in (plain, by_length)]
    return longest[0] / max(1, longest[1])


def prepare(job: Any, settings: dict[str, Any]) -> SequenceBucketing:
    """Read the lengths of the samples of the loaders that there are; of later ones when they are first read."""
    if "larger-batch" in job.switches:
        job.refuse("its batches are put together to larger ones already")
    switch = SequenceBucketing(job, int(settings.get("pool", POOL)))
    loaders = training_loaders(job)
    reasons = [f"{type(each.dataset).__name__}: {_unfit(each) or switch.take_in(each)}" for each in loaders[:LOADERS]]
    if loaders and not switch.lengths:
        job.refuse("; ".join(dict.fromkeys(reasons)))
    return switch


def _unfit(loader: Any) -> str:
    reason = unfit(loader)
    if reason:
        return reason
    if loader.collate_fn is sys.modules["torch.utils.data"].default_collate:
        return "its batches are put together without padding"
    if type(loader.sampler).__name__ == "SequentialSampler":
        return "its samples come in a fixed order"
    try:
        return "" if len(loader.dataset) else "it is empty"
    except TypeError:
        return "it has no length"
