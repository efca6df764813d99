"""Orders on a socket -> the job runs on, in blocks of steps with a change on and off, and tells the time of each.

At a step's boundary the job waits for the next order, so what suffice takes to think is in no step. Of several ranks
each has a socket of its own and the same orders, and obeys them at the same step: what an order makes of the steps to
come is the same on all of them, also where it fails. Where a step holds the samples of several, a switch counts them
in `worth`. Where suffice has gone, the process ends: its files are a sandbox's, and nobody waits for it.

    {"do": "run", "steps": n, "warm_up": m}    m + n steps      -> {"wall_s": […], "processor_s": […],
                                                               "of_children_s": s, "disturbed": …}
    {"do": "prepare", "id": …, "settings": {…}, "seconds": s}   -> {"prepared": facts} or {"refused": reason}
    {"do": "switch", "ids": […], "on": true}                    -> {"block": n, "warm_up": m} that they want, and
                                                               "ahead": batches that workers may have; or refused
    {"do": "keep" | "drop", "id": …}                            -> {"done": …}
    {"do": "facts"}                                             -> {"facts": {id: {…}}, "refused": {id: reason}}
    {"do": "leave"}  the record is written and closed           -> {"done": "leave"}
    {"do": "end"}

"disturbed": something happened that has nothing to do with the change (a new epoch, a compilation).
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import traceback
from typing import TYPE_CHECKING

from ..process import rank
from .job import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from .steer import Steering

    # Yields where the job has to make a step; the value of the expression is (wall_ns, cpu_ns) at its end.
    Steps = Generator[None, None, Any]

PATIENCE = 100


class Rig:
    """Obeys suffice at the boundaries of steps; every order is a generator that yields once a step."""

    def __init__(self, steering: Steering, session: Any, path: str) -> None:
        self.steering = steering
        self.session = session
        self.path = path
        self.orders: Any = None
        self.pacemaker = self.steps_of_others = 0
        self.running: Steps | None = None
        self.recording = session is not None
        steering.job.together = True
        steering.at_begin = self._connect
        steering.at_step = self._at_step

    def _connect(self) -> None:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # A socket's path may not be longer than 107 bytes, and the folder's may.
        folder = os.open(os.path.dirname(self.path), os.O_RDONLY | os.O_DIRECTORY)
        link.connect("/proc/self/fd/{}/{}".format(folder, os.path.basename(self.path)))
        os.close(folder)
        self.link = link
        self.orders = link.makefile("r")
        number, world = rank(self.steering.torch)
        here, by_hand = self.steering.job.ranks_here, self.steering.by_hand.optimiser is not None
        self._say(hello=2, rank=number, world=world, world_here=here, by_hand=by_hand)

    def _say(self, **told: Any) -> None:
        try:
            self.link.sendall(json.dumps(told).encode() + b"\n")
        except OSError:
            self._leave()

    def _leave(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    def _at_step(self, optimiser: Any) -> None:
        """A job that obeys no more ends: nobody waits for its files, and other ranks would wait for it."""
        try:
            self._stepped(optimiser)
        except Exception:  # such as a socket that suffice left with an answer unread
            traceback.print_exc()
            self._leave()

    def _stepped(self, optimiser: Any) -> None:
        """Of several optimisers the first one's step is the boundary, as long as it goes on stepping."""
        if id(optimiser) != self.pacemaker:
            self.steps_of_others += 1
            if self.pacemaker and self.steps_of_others < PATIENCE:
                return
            self.pacemaker = id(optimiser)
        self.steps_of_others = 0
        while True:
            if self.running is None:
                line = self.orders.readline()
                if not line:
                    self._leave()
                order = json.loads(line)
                if order["do"] == "end":
                    self._leave()
                self.running = self._obey(order)
            answer = self._goes_on()
            if answer is None:
                return
            self.running = None
            self._say(**answer)

    def _goes_on(self) -> dict[str, Any] | None:
        """None if the job has to make a step now, else the answer to the order."""
        try:
            next(self.running)  # type: ignore[arg-type]  # there is one
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        except Refused as refusal:
            return {"refused": str(refusal)}
        except Exception:
            return {"refused": "it failed: " + traceback.format_exc(limit=-3)}
        return None

    def _obey(self, order: dict[str, Any]) -> Steps:
        actions: dict[str, Callable[[dict[str, Any]], Steps]] = {
            "run": self._run,
            "prepare": self._prepare,
            "switch": self._switch,
            "keep": self._keep,
            "drop": self._drop,
            "facts": self._facts,
            "leave": self._leave_record,
        }
        return actions[order["do"]](order)

    def _run(self, order: dict[str, Any]) -> Steps:
        for _ in range(order["warm_up"]):
            yield
        wall_s, processor_s = [], []
        before, worth, children = self._events(), self._worth(), _children_s()
        for _ in range(order["steps"]):
            begun = time.perf_counter(), time.process_time()
            yield
            wall_s.append(time.perf_counter() - begun[0])
            processor_s.append(time.process_time() - begun[1])
        of_children_s = sum(now_s - children.get(pid, 0.0) for pid, now_s in _children_s().items())
        times = {"wall_s": wall_s, "processor_s": processor_s, "of_children_s": of_children_s}
        return {**times, "worth": self._worth() - worth, "disturbed": before != self._events()}

    def _prepare(self, order: dict[str, Any]) -> Steps:
        self._stop_recording()
        try:
            switch = self.steering.prepare(order["id"], order["settings"])
            loader = self.steering.loader
            if hasattr(switch, "reads") and loader is not None:
                switch.reads(loader)
            if hasattr(switch, "rehearse") and loader is not None:
                switch.rehearse(loader, order["seconds"])
        except BaseException:
            self._forget(order["id"])
            raise
        return {"prepared": self.steering.facts().get(order["id"], {})}
        yield

    def _stop_recording(self) -> None:
        """What the agent's marks cost differs from step to step; a comparison does without them."""
        if self.recording:
            self.recording = False
            self.session.leave()

    def _forget(self, change_id: str) -> None:
        switch = self.steering.switches.pop(change_id, None)
        if switch is not None:
            try:
                switch.off()
            except Exception:  # it was never on
                pass

    def _switch(self, order: dict[str, Any]) -> Steps:
        self._stop_recording()
        switches = [self.steering.switches[change_id] for change_id in order["ids"]]
        for switch in switches:
            (switch.on if order["on"] else switch.off)()
        wanted = {name: max([0, *(getattr(switch, name, 0) for switch in switches)]) for name in ("block", "warm_up")}
        loader = self.steering.loader
        ahead = getattr(loader, "num_workers", 0) * (getattr(loader, "prefetch_factor", None) or 0)
        return {**wanted, "ahead": ahead}
        yield

    def _worth(self) -> float:
        """The steps of the plain job's size that were made so far, where a switch counts them."""
        return max((switch.worth for switch in self.steering.switches.values() if hasattr(switch, "worth")), default=0)

    def _events(self) -> tuple[int, int]:
        """What has happened so far that makes a step unlike others: epochs begun, graphs compiled."""
        dynamo = sys.modules.get("torch._dynamo.utils")
        graphs = dynamo.counters["stats"].get("unique_graphs", 0) if dynamo is not None else 0
        return self.steering.iterations, graphs

    def _keep(self, order: dict[str, Any]) -> Steps:
        self.steering.switches[order["id"]].on()
        return {"done": order["id"]}
        yield

    def _drop(self, order: dict[str, Any]) -> Steps:
        switch = self.steering.switches.pop(order["id"], None)
        if switch is not None:
            switch.off()
        return {"done": order["id"]}
        yield

    def _leave_record(self, order: dict[str, Any]) -> Steps:  # noqa: ARG002 - as its siblings
        self._stop_recording()
        return {"done": "leave"}
        yield

    def _facts(self, order: dict[str, Any]) -> Steps:  # noqa: ARG002 - as its siblings
        return {"facts": self.steering.facts(), "refused": self.steering.refused}
        yield


def _children_s() -> dict[int, float]:
    """Processor seconds of the first thread of each child that lives now: that is where workers work."""
    found = {}
    for task in os.listdir("/proc/self/task"):
        try:
            with open("/proc/self/task/{}/children".format(task)) as listed:
                children = listed.read().split()
        except OSError:  # the thread has ended, or this kernel does not tell
            continue
        for child in children:
            try:
                with open("/proc/{}/schedstat".format(child)) as times:
                    found[int(child)] = int(times.read().split()[0]) / 1e9
            except (OSError, ValueError, IndexError):  # it has ended
                continue
    return found
