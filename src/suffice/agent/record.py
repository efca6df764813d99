"""What the hooks hear -> marks on the phase clock, steps, loaders, losses: the record of one process.

Each method stands for one place that is hooked, and is called in the thread that trains. What may fail is failed in
`session.Session.heard`.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from . import batch as batches
from . import loaders, phases, process
from .device import DeviceTimer
from .fetch import Pages
from .flops import FlopSampler
from .loss import Losses
from .pace import Pace
from .phases import PhaseClock
from .spool import Spool
from .steps import COUNTED, FORWARD_UNKNOWN, Steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .loaders import Loader
    from .roots import RootCall, Roots
    from .steps import Sums

SEARCHES, SEARCHES_IN_ALL = 4, 16
TRAINING_MARKS = ("backward_begins", "optimiser_begins")


class Record:
    """The state of one process; `thread` is the one that trains, at first the main one."""

    def __init__(self, torch: Any, folder: str, roots: Roots) -> None:
        self.torch = torch
        self.roots = roots
        self.thread = threading.main_thread().ident
        self.trained = self.reading_elsewhere = self.described = self.fetching = False
        self.at_begin: Callable[[], None] | None = None
        self.clock = PhaseClock()
        self.spool = Spool(folder)
        self.steps = Steps(self.clock, self.spool)
        self.steps.on_close = self._step_closed
        self.steps.on_freeze = self._step_frozen
        self.loaders = loaders.Loaders(self.clock, self.steps, self.spool)
        self.pages = Pages(folder, torch, self._fetch_unrecorded)
        self.flops = FlopSampler(torch, sys.modules)
        self.losses = Losses(torch, self.spool)
        self.device: DeviceTimer | None = None
        self.searches_left, self.searches_in_all = SEARCHES, SEARCHES_IN_ALL
        self.optimising = self.forward_depth = self.backward_depth = 0
        self.optimiser = 0
        self.passing_over = False
        self.pace = Pace()
        self.spent_ns = self.passed_stops = self.stops_passed = self.passed_at_ns = 0

    def overheard(self, name: str, thread: int) -> bool:
        """Something was marked in another thread; True if that thread is the one that trains after all."""
        if name in TRAINING_MARKS and not self.trained:
            self.thread = thread
            return True
        if name == "fetch_begins":
            self.reading_elsewhere = True
        return False

    def _begin_loop(self) -> None:
        if self.steps.begun_ns is None:
            self.steps.begin()
            if self.at_begin is not None:
                self.at_begin()

    # ---- loaders

    def iteration_begins(self, loader: Any) -> Loader | None:
        if self.fetching:
            return None
        self._listen_again()
        self._begin_loop()
        known = self.loaders.of(loader, loaders.describe)
        evaluates = not self.torch.is_grad_enabled() or self.roots.training() is False
        self.loaders.iteration_begins(known, evaluates)
        self.clock.enter(phases.WAIT)
        return known

    def iterator_made(self, known: Loader | None, iterator: Any) -> None:
        if known is not None:
            self.clock.leave()
            if iterator is not None and hasattr(iterator, "__dict__"):
                iterator.__dict__["_suffice_loader"] = known
                known.watch(iterator)

    def fetch_begins(self, iterator: Any) -> tuple[Loader, int] | None:
        if self.fetching:
            return None
        self._begin_loop()
        known = iterator.__dict__.get("_suffice_loader")
        if known is None:
            known = self.loaders.of(iterator._dataset, loaders.describe_dataset)
        begun_ns = self.loaders.fetch_begins(known)
        self.fetching = True
        self.optimising = 0
        return known, begun_ns

    def fetch_ends(self, token: tuple[Loader, int], batch: Any) -> None:
        self.fetching = False
        known, begun_ns = token
        size = batches.size(self.torch, batch)
        copies = self.device is not None and size[2] == "cpu"
        self.loaders.fetch_ends(known, begun_ns, size, phases.COPY if copies else phases.OTHER)
        if not self.roots.found and not known.evaluates and process.has_optimiser(self.torch):
            self._search(insist=False)
        if self.spool.due(self.clock.since):
            self._flush()

    def fetch_fails(self, token: tuple[Loader, int]) -> None:  # noqa: ARG002 - as its siblings
        self.fetching = False
        self.clock.leave()

    def iteration_ends(self, token: tuple[Loader, int]) -> None:
        self.fetching = False
        self.loaders.iteration_ends(token[0])
        self.loaders.write()

    def worker_begins(self) -> Any:
        return self.pages.begin(self.loaders.current)

    def worker_ends(self, token: Any, indices: Any) -> None:
        if token is not None:
            self.pages.end(token, len(indices) if hasattr(indices, "__len__") else 1)

    def _fetch_unrecorded(self, reason: str) -> None:
        self.spool.message("fetch unrecorded", reason=reason)
        if self.thread == threading.get_ident():  # a worker makes no steps, with which this would go out
            self.spool.flush()

    # ---- the model

    def _search(self, insist: bool) -> None:
        """Look for the roots; without `insist` only modules that an optimiser holds count."""
        if self.searches_left <= 0 or self.searches_in_all <= 0:
            return
        self.searches_left -= 1
        self.searches_in_all -= 1
        for optimiser in self.roots.search(insist):
            process.name_optimiser(self.spool, optimiser)
        self._look_for_device()

    def _look_for_device(self) -> None:
        if self.device is None and self.roots.device_type() == "cuda":
            self.device = DeviceTimer(self.torch)
            self.clock.tap = self.device.tap

    def compile_called(self) -> None:
        """From here on other modules may be the ones that are called."""
        self.roots.remove()
        self.searches_left = SEARCHES

    def forward_begins(self, call: RootCall, args: Any, kwargs: Any) -> bool:
        """True if its end is to be heard as well."""
        module = call.module()
        if self.passing_over:
            if module is None or module.training:
                return False
            self._listen_again()
        self.forward_depth += 1
        if self.forward_depth == 1:
            self._begin_loop()
            self._turn_by_forward(module, args, kwargs)
        self.clock.enter(phases.FORWARD)
        return True

    def _turn_by_forward(self, module: Any, args: Any, kwargs: Any) -> None:
        """The outermost call tells whether the job trains or evaluates, where no loader does."""
        grad, training = self.torch.is_grad_enabled(), module.training
        if not grad and not training:
            if not self.clock.evaluating:
                self.clock.rest(True)
        elif self.clock.evaluating and grad and (training or not self.loaders.evaluating()):
            self.loaders.evaluation_left()
            self.clock.rest(False)
        if grad and not self.clock.evaluating:
            self.steps.forward_begins()
            if not self.loaders.feeding() and self.roots.counts_samples(module):
                self.steps.count(batches.size(self.torch, (*args, kwargs)))
            self._count_operations()

    def forward_ends(self) -> None:
        if self.forward_depth == 1:
            self.flops.leave()
        self.forward_depth = max(0, self.forward_depth - 1)
        self.clock.leave()

    def _count_operations(self) -> None:
        if self.flops.next_at is not None and self.flops.enter(self.steps.current(self.loaders.feeding())):
            self.steps.now.flags |= COUNTED

    # ---- backward and the optimiser: the end of a step

    def scaled(self, plain: Any, scaled: Any) -> None:
        self.losses.scaled(plain, scaled)

    def backward_begins(self, roots: Any) -> bool:
        self.trained = True
        self.backward_depth += 1
        if self.backward_depth > 1:
            return True
        self._begin_loop()
        if not self.roots.found:
            self._search(insist=True)
        self.loaders.backward_begins()
        self._count_operations()
        if self.device is None or self.device.recording:
            self.steps.now.losses += self.losses.read(roots)
        self.clock.enter(phases.BACKWARD)
        return True

    def backward_ends(self, token: bool | None) -> None:
        if token is None:
            return
        self.backward_depth = max(0, self.backward_depth - 1)
        if self.backward_depth == 0:
            self.flops.leave()
            self.clock.leave()
            self.steps.backward_ended(self.roots.optimisers_seen and not process.compiled_graphs())

    def optimiser_begins(self, optimiser: Any) -> None:
        self.trained = True
        self._begin_loop()
        if self.optimising and self.optimiser == id(optimiser):
            self.optimising = 0  # its last step raised
        self.optimising += 1
        if self.optimising == 1:
            self.optimiser = id(optimiser)
            if self.clock.evaluating:
                self.clock.rest(False)
            self.steps.optimiser_begins(self.optimiser)
            self.clock.enter(phases.OPTIMISER)

    def closure_begins(self) -> None:
        """An optimiser calls back for the loss: what is neither forward nor backward there is not the optimiser's."""
        self.clock.enter(phases.OTHER)

    def closure_ends(self) -> None:
        self.clock.leave()

    def optimiser_ends(self, optimiser: Any) -> None:
        if self.passing_over:
            self._passed_stop()
            return
        if not self.optimising:
            return
        self.optimising -= 1
        if self.optimising:
            return
        self.clock.leave()
        self.forward_depth = self.backward_depth = 0
        if not self.roots.any_called():
            self.steps.now.flags |= FORWARD_UNKNOWN
        self.steps.optimiser_ended(id(optimiser))
        if not self.described:
            self.described = True
            self._look_for_device()  # the model may have been moved since it was found
            passes = self.steps.frozen.backwards if self.steps.frozen is not None else None
            self.spool.message("facts", backwards_per_step=passes, **process.facts(self.torch, self.roots))
        if self.roots.settled():
            self._close_early()

    def _close_early(self) -> None:
        """Where steps are alike their end is known at once; the next ones may then be passed over."""
        if self.steps.surely_ended():
            self.steps.batch_wanted()
            steps = 0 if self.clock.stack else self.pace.pass_over()
            if steps:
                self.passing_over = True
                self.passed_stops = steps * self.steps.stops_of_last
                self.stops_passed = 0

    def _passed_stop(self) -> None:
        self.stops_passed += 1
        if self.stops_passed % self.steps.stops_of_last == 0:
            self.passed_at_ns = self.clock.now()
        if self.stops_passed >= self.passed_stops:
            self._listen_again(whole=True)

    def _listen_again(self, whole: bool = False) -> None:
        """`whole`: a step begins here, otherwise it has begun before."""
        if not self.passing_over:
            return
        self.passing_over = False
        count = self.stops_passed // self.steps.stops_of_last
        end_ns = self.passed_at_ns if count else self.steps.end_ns
        self.pace.passed(end_ns - self.steps.end_ns)
        self.steps.passed_over(count, end_ns)
        self.optimising = self.forward_depth = self.backward_depth = 0
        if self.device is not None:
            self.device.restart(self.clock.phase, whole)

    def _step_frozen(self) -> None:
        if self.device is not None:
            self.device.cut(self.clock.phase)

    def _step_closed(self, index: int, step: Sums) -> None:
        spent_ns, self.spent_ns = self.spent_ns, 0
        self.pace.step(sum(step.totals), spent_ns)
        self.losses.closed(index, step.losses)
        if step.flags & COUNTED:
            sizes = {"samples": step.samples, "tokens": step.tokens}
            self.spool.message("flops", step=index, by_dtype=self.flops.take(), **sizes)
        self.losses.collect()
        if self.device is not None:
            self.device.close(index)
            for each, totals in self.device.arrived():
                self.spool.row("device", [each, *totals])
        if self.spool.due(self.steps.end_ns):
            self._flush()

    def _flush(self) -> None:
        begun_ns = self.clock.now()
        self.spool.flush()
        self.spent_ns -= self.clock.now() - begun_ns  # twice a second, whatever the steps: no reason to pass some over

    # ---- the ends

    def inherits(self, parents: Record) -> None:
        """This record is of a forked child; if it is a loader's worker, it serves the loader that is being read."""
        current = parents.loaders.current
        self.pages.loader = -1 if current is None else current.number

    def let_go(self) -> None:
        """Leave the clock, any counting mode and the file to whoever else has them."""
        self.clock.tap = None
        self.flops.leave()
        self.spool.abandon()

    def finish(self) -> None:
        """Write all there is left to tell."""
        self._listen_again()
        self.steps.finish()
        self.losses.collect()
        self.loaders.write()
        told = {
            "refused_flops": self.flops.refused,
            "reading_elsewhere": self.reading_elsewhere,
            "own_ns_per_step": int(self.pace.spent_ns),
        }
        self.spool.message("end", **process.at_end(self.torch, self.device is not None), **told)
        self.spool.close()
