"""A job that trains, and an order -> a report of its first steps, after which the process ends.

What a step computed is read exactly, whatever that costs: a course is a trial and nobody's real run. A step ends where
the first of the optimisers has stepped. Whatever fails in here becomes a note of the report.

The order: `steps`, `seed`, `seed_offset`, `twin_eps`, and `write_reference` or `compare_with`, a file of ours.
The report has the fields of `suffice.records.Course`; losses are written as `float.hex` has them.
"""

from __future__ import annotations

import atexit
import os
import sys
import traceback
from typing import TYPE_CHECKING

from ... import hooks
from ...process import keep_from_dynamo, rank
from . import reference
from .inputs import Inputs
from .losses import Losses
from .reads import Reads
from .twin import stir

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ...hooks import Patches
    from ..job import Job

VITAL = frozenset(("optimiser_begins", "optimiser_ends"))
PATIENCE = 100  # steps of other optimisers, after which the first is taken to have retired


class CourseRecorder:
    """Hears the hooks of the agent; `report` is called once with the course, then `leave`."""

    def __init__(
        self,
        torch: Any,
        job: Job,
        order: dict[str, Any],
        report: Callable[[dict[str, Any]], None],
        leave: Callable[[], None] | None = None,
    ) -> None:
        self.torch = torch
        self.job = job
        self.order = order
        self.report = report
        self.leave = leave or _leave_process
        self.pid = os.getpid()
        self.reported = False
        self.inputs = Inputs(torch, self._guard, self._make_twin)
        self.reads = Reads(torch)
        self.told: dict[str, list[Any]] = {"losses": [], "inputs": [], "indices": [], "notes": []}
        self.losses = Losses(torch)
        self.gradients: reference.Tensors = {}
        self.caught: set[int] = set()
        self.stepping: Any = None
        self.pacemaker = self.steps_of_others = 0
        self.kept_alive: list[Any] = []

    def install(self, patches: Patches) -> None:
        """Listen; `patches` keeps the way back."""
        hooks.install(self._heard, self.torch, patches)
        self.reads.install(patches)
        patches.replace(self.torch.optim.Optimizer, "__init__", self._then_look)
        patches.replace(self.torch, "compile", self._then_look)
        self.told["notes"] += ["{} is missing in this torch".format(name) for name in patches.missing]
        keep_from_dynamo(self.torch, __package__.split(".")[0])
        atexit.register(self._at_exit)

    # ---- how hooks reach the recorder

    def _heard(self, name: str, any_thread: bool = False) -> Callable[..., Any]:  # noqa: ARG002 - as a session has it
        events: dict[str, Callable[..., Any]] = {
            "iteration_begins": self._iteration_begins,
            "iterator_made": self.reads.iterator_made,
            "fetch_begins": self.reads.fetch_begins,
            "fetch_ends": self.reads.fetch_ends,
            "compile_called": self.inputs.remove,
            "scaled": self.losses.scaled,
            "backward_begins": self.losses.backward_begins,
            "backward_ends": self.losses.backward_ends,
            "optimiser_begins": self._optimiser_begins,
            "closure_ends": self._catch_gradients,
            "optimiser_ends": self._optimiser_ends,
        }
        return self._guard(events.get(name, _nothing), name in VITAL)

    def _guard(self, method: Callable[..., Any], vital: bool = False) -> Callable[..., Any]:
        """A method as a hook may call it; in a forked child it does nothing. Without a vital one the course is over."""

        def call(*args: Any) -> Any:
            if self.reported or os.getpid() != self.pid:
                return None
            try:
                return method(*args)
            except Exception:
                self._note("the recorder failed: " + traceback.format_exc(limit=-3))
                if vital:
                    self._finish(ended=True)
                    self.leave()
                return None

        return call

    def _note(self, text: str) -> None:
        if text not in self.told["notes"]:
            self.told["notes"].append(text)

    def _then_look(self, original: Any) -> Any:
        look = self._guard(self.inputs.look)

        def call(*args: Any, **kwargs: Any) -> Any:
            made = original(*args, **kwargs)
            look()
            return made

        return call

    # ---- a step

    def _iteration_begins(self, loader: Any) -> Any:
        self.inputs.look()
        return self.reads.iteration_begins(loader)

    def _optimiser_begins(self, optimiser: Any) -> None:
        self.stepping = optimiser
        self._catch_gradients()

    def _catch_gradients(self) -> None:
        """Copy the gradients of an optimiser's first step: before it, or once its closure has computed them."""
        optimiser = self.stepping
        if optimiser is None or id(optimiser) in self.caught:
            return
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        if all(p.grad is None for p in parameters):
            return
        self.caught.add(id(optimiser))
        # A job that ends early lets its model go before the course is told.
        self.kept_alive += [optimiser, self.inputs.roots()]
        names = self.names()
        scale = getattr(optimiser, "grad_scale", None)  # a fused optimiser takes the scale away itself
        for parameter in parameters:
            gradient = None if parameter.grad is None else reference.copied(parameter.grad)
            if gradient is not None and scale is not None:
                gradient /= float(scale)
            self.gradients[names.get(id(parameter), "parameter {}".format(len(self.gradients)))] = gradient

    def names(self) -> dict[int, str]:
        """The name of each parameter by its `id`."""
        return reference.parameters_of(self.inputs.roots(), self.job.optimisers())

    def _optimiser_ends(self, optimiser: Any) -> None:
        if self.stepping is None:
            return  # an optimiser's step within another's
        self._catch_gradients()
        self.stepping = None
        if id(optimiser) != self.pacemaker:
            self.steps_of_others += 1
            if self.pacemaker and self.steps_of_others < PATIENCE:
                return
            self.pacemaker = id(optimiser)
        self.steps_of_others = 0
        self._step_ended()

    def _step_ended(self) -> None:
        self.told["losses"].append(self.losses.take())
        self.told["inputs"].append(self.inputs.take())
        self.told["indices"].append(self.reads.take())
        if len(self.told["losses"]) >= self.order["steps"]:
            self._finish(ended=False)
            self.leave()
        else:
            self.inputs.look_after_step()

    def _make_twin(self) -> None:
        eps = self.order.get("twin_eps") or 0.0
        if eps:
            stir(self.torch, self.inputs.roots(), eps, self.order["seed"] + self.order.get("seed_offset", 0))

    # ---- the end

    def _at_exit(self) -> None:
        """A process that made no step, such as a launcher of the one that does, has nothing to tell."""
        if self.told["losses"] and not self.reported and os.getpid() == self.pid:
            self._finish(ended=True)

    def _finish(self, ended: bool) -> None:
        """Tell the course; of several ranks the first one does."""
        self.reported = True
        if rank(self.torch)[0]:
            return
        if self.order.get("twin_eps") and not self.inputs.begun:
            self._note("no forward pass was seen before which the weights could be changed")
        found: dict[str, Any] = {}
        try:
            found = self._against_reference()
        except Exception:
            self._note("gradients and state were not compared: " + traceback.format_exc(limit=-3))
        if not ended:
            why_not = self.reads.read_again()
            if why_not:
                self._note(why_not)
        told = {
            **self.told,
            **found,
            "changes": list(self.order.get("changes", ())),
            "seed": self.order["seed"] + self.order.get("seed_offset", 0),
            "steps": self.order["steps"],
            "reads": {index: prints for index, prints in self.reads.seen.items() if len(prints) > 1},
            "twin_eps": self.order.get("twin_eps") or 0.0,
            "ended": ended,
        }
        try:
            self.report(told)
        except Exception:  # there is nobody left to tell
            pass

    def _against_reference(self) -> dict[str, Any]:
        """Write gradients and state for other courses, or hold them against those of the baseline's course."""
        to_write, to_read = self.order.get("write_reference"), self.order.get("compare_with")
        if not (to_write or to_read):
            return {}
        ours = {"gradients": self.gradients, "state": reference.state_of(self.torch, self.inputs.roots())}
        if to_read:
            found, notes = reference.compare(self.torch, to_read, ours, set(self.names().values()))
            self.told["notes"] += notes
            return found
        if reference.bytes_of(ours) > self.job.scratch_bytes:
            self._note("gradients and state were not kept: there is too little room in the scratch folder")
        elif to_write:
            reference.write(self.torch, to_write, ours)
        return {}


def _nothing(*_: Any) -> None:
    """Of what else the hooks tell nothing is recorded."""


def _leave_process() -> None:
    """End the process at once, its children first: no more of the job is wanted."""
    import multiprocessing

    for child in multiprocessing.active_children():
        child.terminate()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    os._exit(0)
