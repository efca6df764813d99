"""The live job -> what a technique may see of it, and the way to say that a change is not possible here."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

from ..process import rank
from ..roots import find
from .calls import Calls
from .nested import each_tensor
from .stepping import Stepping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn

    from .calls import Manner
    from .stepping import May

MEMORY_SHARE = 0.5
UNKNOWN_MEMORY_BYTES = 1 << 30


class Refused(Exception):  # noqa: N818 - it is no error of anybody's
    """The change is not possible in this job; the text says why, for the user."""


class Job:
    """What a technique sees of the job that it changes."""

    def __init__(self, torch: Any, scratch: str) -> None:
        self.torch = torch
        self.scratch = scratch
        self.steppings: list[Stepping] = []
        self.switches: dict[str, Any] = {}  # of the changes that are on, or ready, by their ids
        self.same_draws = False  # whether a change must draw the random numbers that the plain job draws
        self.together = False  # whether somebody has all ranks change at the same step

    def roots(self) -> list[Any]:
        """The modules that are nobody's child and have parameters that an optimiser holds."""
        return find(self.torch)[0]

    def optimisers(self) -> list[Any]:
        """The optimisers that exist; of one and its wrapper, the one that is wrapped."""
        return find(self.torch)[1]

    def loaders(self) -> list[Any]:
        """The `DataLoader`s that exist."""
        loading = sys.modules.get("torch.utils.data.dataloader")
        kind = getattr(loading, "DataLoader", None)
        return [] if kind is None else [thing for thing in gc.get_objects() if issubclass(type(thing), kind)]

    def scalers(self) -> list[Any]:
        """The `GradScaler`s at work: the job scales its losses for the sake of float16."""
        kinds = tuple(
            kind
            for kind in (getattr(self.torch.amp, "GradScaler", None), getattr(self.torch.cuda.amp, "GradScaler", None))
            if kind is not None
        )
        return [thing for thing in gc.get_objects() if issubclass(type(thing), kinds) and thing.is_enabled()]

    def stepping(self, optimisers: Iterable[Any], values: dict[str, Any], may: May) -> Stepping:
        """What gives the optimisers' groups these values while they step, where `may(optimiser)`; off as yet."""
        self.steppings.append(Stepping(optimisers, values, may))
        return self.steppings[-1]

    def steps_with(self, optimiser: Any, name: str) -> bool:
        """Whether a change gives the optimiser's groups a value of that name while it steps."""
        return any(each.handles and name in each.values and optimiser in each.optimisers for each in self.steppings)

    def calls(self, modules: Iterable[Any], manner: Manner, *, innermost: bool = False) -> Calls:
        """What puts `manner(module, call, args, kwargs)` around the outermost calls of the modules; off as yet."""
        return Calls(self.torch, modules, manner, innermost)

    def each_tensor(self, change: Callable[[Any], Any], thing: Any) -> Any:
        """What a module returned, with `change(tensor)` for each tensor within."""
        return each_tensor(self.torch, change, thing)

    @property
    def processor_flags(self) -> frozenset[str]:
        """What the processor can do, in the kernel's words, such as "avx2" and "amx_bf16"."""
        try:
            with open("/proc/cpuinfo") as lines:
                told = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
        except OSError:
            return frozenset()
        return frozenset(told.partition(":")[2].split())

    @property
    def processors(self) -> int:
        """Processors that the job may run on."""
        try:
            return len(os.sched_getaffinity(0))
        except (AttributeError, OSError):
            return os.cpu_count() or 1

    @property
    def ranks_here(self) -> int:
        """How many ranks train on this machine, as launchers tell; all of them where nobody does."""
        world = rank(self.torch)[1]
        try:
            return int(os.environ.get("LOCAL_WORLD_SIZE") or world)
        except ValueError:
            return world

    @property
    def memory_bytes(self) -> int:
        """What a technique may take at most: this rank's share of half of what is available in the group's limit."""
        available = _available_bytes()
        if available is None:
            return UNKNOWN_MEMORY_BYTES
        return int(MEMORY_SHARE * available) // self.ranks_here

    @property
    def scratch_bytes(self) -> int:
        """What a technique may write below `scratch` at most: half of what is free there."""
        try:
            free = os.statvfs(self.scratch)
        except OSError:
            return 0
        return int(MEMORY_SHARE * free.f_bavail * free.f_frsize)

    def refuse(self, reason: str) -> NoReturn:
        """Say that the change is not possible here.

        Raises:
            Refused: always.
        """
        raise Refused(reason)


def _available_bytes() -> int | None:
    found = []
    try:
        with open("/proc/meminfo") as lines:
            found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
        with open("/sys/fs/cgroup/memory.max") as limit, open("/sys/fs/cgroup/memory.current") as used:
            found.append(int(limit.read()) - int(used.read()))
    except (OSError, ValueError, IndexError):  # "max" is no number: there is no limit
        pass
    return min(found) if found else None
