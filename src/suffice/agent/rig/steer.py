"""An order -> the job is changed at its first training step: by a plan, for a course, or as a rig that obeys suffice.

The order is a file of JSON that `SUFFICE_ORDER` names:

    scratch   a folder for the techniques' files
    changes   [{"id": …, "settings": {…}}, …]: switched on before the first batch is read, or the first forward pass;
              one that the process should have been started with and was not has the reason as "refused"
    course    what `course.CourseRecorder` takes, with the path for its `report`; absent in a rig and in a plan's run
    seeds     {"seed": …, "seed_offset": …} of a whole run that is compared; absent otherwise
    socket    where the rig's orders come from; absent otherwise
    by_hand   whether the job was found to update its weights without an optimiser

Whatever fails here is told and leaves the job as it was. Only a process that trains is steered.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import traceback
from typing import TYPE_CHECKING

from ..hooks import Patches
from ..process import keep_from_dynamo, rank
from .agreement import refused_by_any
from .by_hand import ByHand
from .job import Job, Refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Tell = Callable[..., None]

OURS = __package__.partition(".")[0]
ROOMS = ("train", "ranks", "data", "process", "semantic")
OF_ALL_RANKS = ("ranks", "semantic")
"""The rooms of what would part the ranks if one did without it: they would exchange something else, or less often."""


def technique(change_id: str) -> Any:
    """The module of a technique, from the staged folder.

    Raises:
        Refused: if there is none of this name.
    """
    from importlib import import_module

    package = __package__.rpartition(".")[0]
    if not change_id.replace("-", "").isalnum():
        raise Refused("{!r} is no name of a technique".format(change_id))
    for room in ROOMS:
        name = "{}.change.{}.{}".format(package, room, change_id.replace("-", "_"))
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    raise Refused("there is no technique {}".format(change_id))


def _room(change_id: str) -> str:
    """The room of a technique; empty where there is none of this name."""
    try:
        return str(technique(change_id).__name__).split(".")[-2]
    except Refused:
        return ""


class Steering:
    """Hooks into the loop: before a loader is iterated, before the first forward pass, after each optimiser step."""

    def __init__(self, torch: Any, order: dict[str, Any], tell: Tell) -> None:
        self.torch = torch
        self.order = order
        self.tell = tell
        self.job = Job(torch, order["scratch"])
        self.by_hand = ByHand(torch, known=order.get("by_hand", False))
        self.patches = Patches()
        self.switches = self.job.switches
        self.refused: dict[str, str] = {}
        self.begun = self.failed = False
        self.at_step: Callable[[Any], None] | None = None
        self.at_begin: Callable[[], None] | None = None
        self.iterations = 0
        self.loader: Any = None

    def install(self) -> None:
        """Wait for the training to begin."""
        loading = sys.modules.get("torch.utils.data.dataloader")
        self.patches.replace(getattr(loading, "DataLoader", None), "__iter__", self._around_iter)
        self.by_hand.install(self.patches, self.guarded)
        optim = sys.modules["torch.optim.optimizer"]
        self.patches.handles.append(optim.register_optimizer_step_post_hook(self._stepped))
        modules = sys.modules["torch.nn.modules.module"]
        self.first_forward = modules.register_module_forward_pre_hook(self._called)
        atexit.register(self._tell_facts)

    def _around_iter(self, original: Any) -> Any:
        def __iter__(loader: Any) -> Any:  # noqa: N807 - the name that it stands for
            self.guarded(self._reads, loader)
            return original(loader)

        return __iter__

    def _reads(self, loader: Any) -> None:
        if not self.begun and self.by_hand.trains():
            self.begin()
        self.iterations += 1
        if self.torch.is_grad_enabled():
            self.loader = loader
        for switch in list(self.switches.values()):
            if hasattr(switch, "reads"):
                switch.reads(loader)

    def _called(self, module: Any, args: Any) -> None:  # noqa: ARG002 - torch passes them
        if not self.begun and self.torch.is_grad_enabled() and self.by_hand.trains():
            self.guarded(self.begin)

    def _stepped(self, optimiser: Any, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - as above
        self.begin_once()
        if self.at_step is not None and not self.failed:
            self.guarded(self.at_step, optimiser)

    def begin_once(self) -> None:
        """The training begins here, unless it has begun."""
        if not self.begun:
            self.guarded(self.begin)

    def begin(self) -> None:
        """The training begins here: switch on what was ordered."""
        self.begun = True
        self.first_forward.remove()
        for change in self.order.get("changes", ()):
            if "refused" in change:
                self._goes_without(change["id"], change["refused"])
            else:
                self._switch_on(change["id"], change["settings"])
        self._agree([change["id"] for change in self.order.get("changes", ())])
        for change_id in self.switches:
            self.tell("change", id=change_id, applied=True)
        if self.at_begin is not None:
            self.at_begin()

    def _agree(self, ids: list[str]) -> None:
        """Go without what another rank goes without, where all must do the same."""
        of_all = [change_id for change_id in ids if _room(change_id) in OF_ALL_RANKS]
        if not of_all:
            return
        refused = {change_id: self.refused[change_id] for change_id in of_all if change_id in self.refused}
        for change_id, reason in refused_by_any(self.torch, of_all, refused).items():
            switch = self.switches.get(change_id)
            if switch is not None:
                switch.off()
            if change_id not in self.refused:
                self._goes_without(change_id, reason)

    def _switch_on(self, change_id: str, settings: dict[str, Any]) -> None:
        """Apply a change for good, or tell why not."""
        try:
            self.prepare(change_id, settings).on()
        except Refused as refusal:
            self._goes_without(change_id, str(refusal))
        except Exception:
            self._goes_without(change_id, traceback.format_exc(limit=-3))

    def _goes_without(self, change_id: str, reason: str) -> None:
        self.switches.pop(change_id, None)
        self.refused[change_id] = reason
        self.tell("change", id=change_id, applied=False, reason=reason)

    def prepare(self, change_id: str, settings: dict[str, Any]) -> Any:
        """The switch of a change, made ready and still off."""
        switch = technique(change_id).prepare(self.job, settings)
        keep_from_dynamo(self.torch, OURS)
        self.switches[change_id] = switch
        return switch

    def guarded(self, call: Callable[..., None], *args: Any) -> None:
        """Call something of ours; what it raises is told, and steering ends."""
        if self.failed:
            return
        try:
            call(*args)
        except Exception:
            self.failed = True
            self.patches.undo()
            for switch in self.switches.values():
                try:
                    switch.off()
                except Exception:  # it is told below what failed first
                    pass
            self.tell("change", id="steering", applied=False, reason=traceback.format_exc(limit=-5))

    def facts(self) -> dict[str, dict[str, Any]]:
        """What the switches tell of themselves."""
        told = {}
        for change_id, switch in self.switches.items():
            try:
                told[change_id] = dict(switch.facts()) if hasattr(switch, "facts") else {}
            except Exception:
                told[change_id] = {"fault": traceback.format_exc(limit=-2)}
        return told

    def _tell_facts(self) -> None:
        for change_id, facts in self.facts().items():
            if facts:
                self.tell("change facts", id=change_id, facts=facts)


def begin(torch: Any, path: str, session: Any) -> None:
    """Steer this process by the order in a file; `session` is the agent's, which is None during a course."""
    tell = session.record.spool.message if session is not None else (lambda *_, **__: None)
    try:
        _begin(torch, path, session, tell)
    except Exception:
        tell("change", id="steering", applied=False, reason=traceback.format_exc(limit=-3))


def _begin(torch: Any, path: str, session: Any, tell: Tell) -> None:
    with open(path) as file:
        order = json.load(file)
    steering = Steering(torch, order, tell)
    if order.get("seeds"):
        from .course import seed

        seed(torch, order["seeds"]["seed"], order["seeds"]["seed_offset"])
    if order.get("course"):
        _begin_course(torch, steering, order["course"])
    if order.get("socket"):
        from .rig import Rig

        Rig(steering, session, order["socket"])
    steering.install()
    keep_from_dynamo(torch, OURS)


def _begin_course(torch: Any, steering: Steering, course: dict[str, Any]) -> None:
    from .course import CourseRecorder, seed
    from .draws import steady_draws

    refused = []

    def tell(kind: str, **fields: Any) -> None:
        if kind == "change" and not fields["applied"]:
            refused.append("{}: {}".format(fields["id"], fields["reason"]))
            number = rank(torch)[0]
            if number:  # the first rank tells the course, and does not know of it
                with open("{}.{}".format(course["report"], number), "w") as file:
                    file.write("on rank {}: {}".format(number, "; ".join(refused)))

    def report(told: dict[str, Any]) -> None:
        draft = course["report"] + ".draft"
        with open(draft, "w") as file:
            json.dump({**told, "refused": refused, "facts": steering.facts()}, file)
        os.replace(draft, course["report"])

    steering.tell = tell
    steady_draws(torch)
    steering.job.same_draws = True
    seed(torch, course["seed"], course.get("seed_offset", 0))
    recorder = CourseRecorder(torch, steering.job, course, report)
    # A job without a loader begins within its first forward pass, and what is put in there comes too late for it.
    recorder.inputs.before_first = steering.begin_once
    recorder.install(steering.patches)
