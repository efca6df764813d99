"""Batches in page-locked memory, from which they are copied to the GPU while the host goes on: no copy waits any more.

What a loader hands out is pinned (`pin_memory`), and `Tensor.to` and `Tensor.cuda` copy what is pinned without waiting
(`non_blocking`). Where a loader has workers, a thread of its own would pin; here the thread that trains does, so what
is tried gains a little less than the option of the loader, which stays the better place for it.

Not without a GPU, nor where the loader pins and the script does not wait already. A script that writes into a batch
after it has copied it to the GPU must not have this: the copy may still be under way. It has not been tried on a GPU.

Practice: SUS05-BP04: use accelerators well, and only where they are needed
Source: torch.utils.data, "Memory Pinning"; PyTorch tutorial "A guide on good usage of non_blocking and pin_memory()".
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .looking.calls import StandIn, iterating

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from suffice.records import Profile

RISK = "exact"
CLOCK = "wall"
BLOCK = 4
WARM_UP = 2
PRACTICE = "SUS05-BP04: use accelerators well, and only where they are needed"

COPIES = ("to", "cuda")
DRAWS = ("larger-batch", "sequence-bucketing")


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """One setting for a job on a GPU that a loader feeds."""
    rank = profile.ranks[0]
    if not rank.device.startswith("cuda"):
        return "there is no GPU that batches are copied to"
    if not any(each.role == "training" for each in rank.loaders):
        return "no DataLoader feeds the training"
    return [{}]


def prepare(job: Any, settings: dict[str, Any]) -> PinnedMemory:  # noqa: ARG001 - techniques share one signature
    """The switch; refused where there is no GPU, or torch's loaders hand out batches in another way."""
    if not any(parameter.device.type == "cuda" for root in job.roots() for parameter in root.parameters()):
        job.refuse("there is no GPU that batches are copied to")
    if any(each in job.switches for each in DRAWS):
        job.refuse("its batches are put together anew by another change")
    pinning: Any = getattr(sys.modules.get("torch.utils.data._utils.pin_memory"), "pin_memory", None)
    if pinning is None:
        job.refuse("this torch's loaders pin their batches in another way")
    return PinnedMemory(job, iterating(job, "__next__"), pinning)


class PinnedMemory:
    """The switch: pins what loaders hand out for training, and copies without waiting what is pinned."""

    def __init__(self, job: Any, gets: Any, pinning: Callable[[Any], Any]) -> None:
        self.job = job
        self.pinning = pinning
        self.stand_in = StandIn(gets, self._get)
        self.copies = {name: self._copying(name) for name in COPIES}
        self.before: dict[str, Any] = {}
        self.is_on = False
        self.given_up: str | None = None
        self.counts = {"pinned": 0, "copied": 0}

    def on(self) -> None:
        """From the next batch on."""
        if not self.is_on:
            self.is_on = True
            self.stand_in.put_in()
            tensor_type = self.job.torch.Tensor
            self.before = {name: vars(tensor_type)[name] for name in self.copies if name in vars(tensor_type)}
            for name, copying in self.copies.items():
                setattr(tensor_type, name, copying)

    def off(self) -> None:
        """What was pinned before stays so, and is copied as the script says."""
        if self.is_on:
            self.is_on = False
            self.stand_in.take_out()
            tensor_type = self.job.torch.Tensor
            for name, copying in self.copies.items():
                if vars(tensor_type).get(name) is copying:
                    delattr(tensor_type, name)
                    if name in self.before:
                        setattr(tensor_type, name, self.before[name])

    def _get(self, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """In the place of an iterator's `__next__`."""
        batch = original(*args, **kwargs)
        if self.given_up is not None or not args or args[0]._pin_memory or not self.job.torch.is_grad_enabled():
            return batch
        try:
            pinned = self.pinning(batch)
        except Exception as error:  # the job goes on with what it has
            self.given_up = "a batch could not be pinned: {}: {}".format(type(error).__name__, error)
            return batch
        self.counts["pinned"] += 1
        return pinned

    def _copying(self, name: str) -> Callable[..., Any]:
        original = getattr(self.job.torch.Tensor, name)

        def copy(tensor: Any, *args: Any, **kwargs: Any) -> Any:
            # One argument that is no tensor and no type: a device, or none for `cuda`, which means the current one.
            plain = tensor.device.type == "cpu" and len(args) <= 1 and not kwargs
            if plain and self._to_gpu(name, args) and tensor.is_pinned():
                self.counts["copied"] += 1
                return original(tensor, *args, non_blocking=True)
            return original(tensor, *args, **kwargs)

        return copy

    def _to_gpu(self, name: str, args: tuple[Any, ...]) -> bool:
        if name == "cuda":
            return True
        place = args[0] if args else None
        if isinstance(place, int) and not isinstance(place, bool):
            return True
        return isinstance(place, (str, self.job.torch.device)) and str(place).startswith("cuda")

    def facts(self) -> dict[str, Any]:
        """How many batches were pinned, and how many copies did not wait."""
        return {**self.counts, "given_up": self.given_up}
