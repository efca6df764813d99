"""One process's agent: the hooks call it, it keeps the record, and on any fault of its own it stands aside.

Every method that a hook calls is `guarded`: an exception inside it takes the agent out of the process, leaves a note in
the record, and never reaches the job. Only the thread that trains is listened to.
"""

from __future__ import annotations

import atexit
import functools
import os
import sys
import threading
import traceback
from typing import TYPE_CHECKING

from . import batch as batches
from . import hooks, loaders, loss, phases, process
from .device import DeviceTimer
from .fetch import FetchPage
from .flops import FlopSampler
from .phases import PhaseClock
from .roots import Roots
from .spool import Spool
from .steps import COUNTED, FORWARD_UNKNOWN, Steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, TypeVar, TypeVarTuple, Unpack

    from .loaders import Loader
    from .roots import RootCall
    from .steps import _Sums

    T = TypeVar("T")
    Args = TypeVarTuple("Args")

SEARCHES = 4


def begin(torch: Any) -> None:
    """Start the agent of this process, once torch has been imported."""
    folder = os.environ.get("SUFFICE_SPOOL")
    if folder:
        Session(torch, folder)


def guarded(method: Callable[[Session, Unpack[Args]], T]) -> Callable[[Session, Unpack[Args]], T | None]:
    """Whatever goes wrong inside ends the agent, not the job; a session that has ended does nothing."""

    @functools.wraps(method)
    def call(self: Session, *args: Unpack[Args]) -> T | None:
        if not self.alive:
            return None
        try:
            return method(self, *args)
        except Exception:
            self.stand_aside(method.__name__)
            return None

    return call


class Session:
    """The state of one process; a forked child starts a new record with the hooks it inherits."""

    def __init__(self, torch: Any, folder: str) -> None:
        self.torch = torch
        self.folder = folder
        self.alive = True
        self.handles: list[Any]
        self.patches, self.handles = hooks.Patches(), []
        self.roots: Roots = None  # type: ignore[assignment]  # `_install` makes it before any hook calls
        self.searches_left = SEARCHES
        self._begin_record()
        self._install()

    @guarded
    def _install(self) -> None:
        process.keep_from_dynamo(self.torch, __package__)
        self.roots = Roots(self.torch, self.forward_begins, self.forward_ends)
        self.patches, self.handles = hooks.install(self, self.torch)
        self.spool.message("process", missing=self.patches.missing, **process.describe(self.torch))
        self.spool.flush()
        atexit.register(self.finish)
        os.register_at_fork(after_in_child=self.forked)

    def _begin_record(self) -> None:
        self.thread: int | None = None
        self.clock = PhaseClock()
        self.spool = Spool(self.folder)
        self.steps = Steps(self.clock, self.spool)
        self.steps.on_close = self._step_closed
        self.loaders = loaders.Loaders(self.clock, self.steps, self.spool)
        self.flops = FlopSampler(self.torch, sys.modules)
        self.scales = loss.Scales()
        self.page: FetchPage | Literal[False] | None = None
        self.device: DeviceTimer | None
        self.device_losses: loss.DeviceLosses | None
        self.device = self.device_losses = None
        self.losses_due: list[tuple[int, list[float]]] = []
        self.losses_here: dict[int, float] = {}
        self.reading_elsewhere = self.fetching = self.described = False
        self.optimising = self.forward_depth = self.backward_depth = 0
        self.optimising_key: int  # of the optimiser whose step is running

    # ---- who is listened to

    def _foreign(self) -> bool:
        return self.thread is not None and self.thread != threading.get_ident()

    def _begin_loop(self) -> None:
        if self.steps.begun_ns is None:
            self.steps.begin()
            process.at_worker_exit(self.finish)

    # ---- loaders

    @guarded
    def iteration_begins(self, loader: Any) -> Loader | None:
        if self.fetching or self._foreign():
            return None
        self._begin_loop()
        known = self.loaders.of(loader, loaders.describe)
        self.loaders.iteration_begins(known, self._looks_like_evaluation())
        self.clock.enter(phases.WAIT)
        return known

    @guarded
    def iterator_made(self, known: Loader | None) -> None:
        if known is not None:
            self.clock.leave()

    @guarded
    def know(self, iterator: Any, loader: Any) -> None:
        iterator.__dict__["_suffice_loader"] = self.loaders.of(loader, loaders.describe)

    @guarded
    def fetch_begins(self, iterator: Any) -> tuple[Loader, int] | None:
        if self.fetching:
            return None
        if self._foreign():
            self.reading_elsewhere = True
            return None
        self._begin_loop()
        known = iterator.__dict__.get("_suffice_loader")
        if known is None:
            known = self.loaders.of(iterator._dataset, loaders.describe_dataset)
        self.fetching = True
        self.optimising = 0
        return known, self.loaders.fetch_begins(known)

    @guarded
    def fetch_ends(self, token: tuple[Loader, int], batch: Any) -> None:
        self.fetching = False
        known, begun_ns = token
        size = batches.size(self.torch, batch)
        copies = self.device is not None and size[2] == "cpu"
        self.loaders.fetch_ends(known, begun_ns, size, phases.COPY if copies else phases.OTHER)
        if not self.roots.found and not known.evaluates:
            self._search(insist=False)

    @guarded
    def fetch_fails(self, token: tuple[Loader, int]) -> None:  # noqa: ARG002 - like its sisters
        self.fetching = False
        self.clock.leave()

    @guarded
    def iteration_ends(self, token: tuple[Loader, int]) -> None:
        self.fetching = False
        self.loaders.iteration_ends(token[0])
        self.loaders.write()

    def _looks_like_evaluation(self) -> bool:
        return not self.torch.is_grad_enabled() or self.roots.training() is False

    # ---- the model

    def _search(self, insist: bool) -> None:
        """Look for the roots; without `insist` only modules that an optimiser holds count."""
        if self.searches_left <= 0:
            return
        self.searches_left -= 1
        optimisers = self.roots.search(insist)
        if self.roots.found and self.roots.device_type() == "cuda" and self.device is None:
            self.device = DeviceTimer(self.torch)
            self.clock.tap = self.device.tap
        for optimiser in optimisers:
            process.name_optimiser(self.spool, optimiser)

    @guarded
    def compile_called(self) -> None:
        self.roots.remove()

    @guarded
    def forward_begins(self, call: RootCall, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._foreign():
            return
        self.forward_depth += 1
        if self.forward_depth == 1:
            self._forward_outermost(call.module(), args, kwargs)
        self.clock.enter(phases.FORWARD)

    def _forward_outermost(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        grad, clock = self.torch.is_grad_enabled(), self.clock
        self._begin_loop()
        current = self.loaders.current
        by_loader = current is not None and current.evaluates
        if not grad and not module.training:
            if not clock.evaluating:
                clock.rest(True)
            return
        if clock.evaluating and not by_loader:
            clock.rest(False)
        if grad and not clock.evaluating:
            self.steps.forward_begins()
            if current is None and self.roots.counts_samples(module):
                self.steps.count(batches.size(self.torch, (*args, kwargs)))
            self._count_operations()

    @guarded
    def forward_ends(self) -> None:
        if self._foreign():
            return
        if self.forward_depth == 1:
            self.flops.leave()
        self.forward_depth = max(0, self.forward_depth - 1)
        self.clock.leave()

    def _count_operations(self) -> None:
        if self.flops.enter(self.steps.current(has_loader=self.loaders.current is not None)):
            self.steps.now.flags |= COUNTED

    @guarded
    def scaled(self, plain: Any, scaled: Any) -> None:
        if isinstance(plain, self.torch.Tensor) and plain.numel() == 1:
            self.scales.note(plain, scaled)

    @guarded
    def backward_begins(self, roots: Any) -> bool | None:
        if self._foreign():
            return None
        self.backward_depth += 1
        if self.backward_depth > 1:
            return True
        self._begin_loop()
        if not self.roots.found:
            self._search(insist=True)
        self.loaders.backward_begins()
        self._read_loss(roots)
        self._count_operations()
        self.clock.enter(phases.BACKWARD)
        return True

    @guarded
    def backward_ends(self, token: bool | None) -> None:
        if token is None:
            return
        self.backward_depth -= 1
        if self.backward_depth == 0:
            self.flops.leave()
            self.clock.leave()
            self.steps.backward_ended()

    def _read_loss(self, roots: Any) -> None:
        root = loss.scalar(self.torch, roots)
        if root is None:
            return
        root = self.scales.unscaled(root)
        if root.device.type == "cpu":
            self.steps.now.losses.append(float(root.detach()))
        elif root.device.type == "cuda":
            if self.device_losses is None:
                self.device_losses = loss.DeviceLosses(self.torch)
            if self.device is None or self.device.recording:
                ticket = self.device_losses.put(root)
                if ticket is not None:
                    self.steps.now.losses.append(ticket)

    # ---- the optimiser, and the end of a step

    @guarded
    def optimiser_begins(self, optimiser: Any) -> None:
        if self.thread is None:
            self.thread = threading.get_ident()
        elif self._foreign():
            return
        self._begin_loop()
        key = id(optimiser)
        if self.optimising and key == self.optimising_key:
            self.optimising = 0  # its last step raised
        self.optimising += 1
        if self.optimising == 1:
            self.optimising_key = key
            if self.clock.evaluating:
                self.clock.rest(False)
            self.steps.optimiser_begins(key)
            self.clock.enter(phases.OPTIMISER)

    @guarded
    def optimiser_ends(self, optimiser: Any) -> None:
        if self._foreign() or not self.optimising:
            return
        self.optimising -= 1
        if self.optimising:
            return
        self.clock.leave()
        if not self.roots.any_called():
            self.steps.now.flags |= FORWARD_UNKNOWN
        self.steps.optimiser_ended(id(optimiser))
        if self.device is not None:
            self.device.cut(self.clock.phase)
        self.roots.settle()
        if not self.described:
            self.described = True
            self.spool.message("facts", **process.facts(self.torch, self.roots))
        self._collect()

    def _step_closed(self, index: int, step: _Sums) -> None:
        if step.losses:
            self.losses_due.append((index, step.losses))
        if self.device is not None:
            self.device.close(index, sum(step.totals))
        if step.flags & COUNTED:
            sizes = {"samples": step.samples, "tokens": step.tokens}
            self.spool.message("flops", step=index, by_dtype=self.flops.take(), **sizes)

    def _collect(self) -> None:
        """Write what has arrived: losses, and the times of the GPU."""
        if self.device_losses is not None:
            self.losses_here.update(self.device_losses.arrived())
        while self.losses_due:
            index, parts = self.losses_due[0]
            if any(isinstance(p, int) and p not in self.losses_here for p in parts):
                break
            values = [self.losses_here.pop(p) if isinstance(p, int) else p for p in parts]
            self.spool.row("loss", [index, sum(values), len(values)])
            del self.losses_due[0]
        if self.device is not None:
            for index, totals in self.device.arrived():
                self.spool.row("device", [index, *totals])

    # ---- the loader's workers

    @guarded
    def worker_begins(self) -> tuple[int, int, int] | None:
        if self.page is None:
            self.page = self._open_page()
        if self.page is False or self.page.thread != threading.get_ident():
            return None
        return self.page.begin()

    @guarded
    def worker_ends(self, token: tuple[int, int, int] | None, indices: Any) -> None:
        if token is not None:
            self.page.end(token, len(indices) if hasattr(indices, "__len__") else 1)  # type: ignore[union-attr]  # it gave the token

    def _open_page(self) -> FetchPage | Literal[False]:
        info = self.torch.utils.data.get_worker_info()
        try:
            return FetchPage(self.folder, -1 if info is None else info.id, self.torch.get_num_threads())
        except OSError as error:
            self.spool.message("fetch unrecorded", reason=str(error))
            return False

    # ---- the ends

    @guarded
    def forked(self) -> None:
        """In the child of a fork: the parent's record stays the parent's."""
        self.clock.tap = None
        self.spool.abandon()
        self._begin_record()
        self.spool.preface("process", forked=True, **process.describe(self.torch))

    @guarded
    def finish(self) -> None:
        """The interpreter ends in good order."""
        self.steps.finish()
        self._collect()
        self.loaders.write()
        fields = {"refused_flops": self.flops.refused, "reading_elsewhere": self.reading_elsewhere}
        self.spool.message("end", **process.at_end(self.torch, self.device is not None), **fields)
        self.spool.close()

    def stand_aside(self, where: str) -> None:
        """Leave the process as it was, and say why in the record."""
        self.alive = False
        trace = traceback.format_exc(limit=-6)
        for undo in (self.flops.leave, self._unhook, lambda: self._say_fault(where, trace)):
            try:
                undo()
            except Exception:  # noqa: PERF203, S110 - there is nobody left to tell
                pass

    def _unhook(self) -> None:
        self.clock.tap = None
        self.patches.undo()
        for handle in self.handles:
            handle.remove()
        if self.roots is not None:
            self.roots.remove()

    def _say_fault(self, where: str, trace: str) -> None:
        self.spool.message("fault", where=where, trace=trace)
        self.spool.close()
