"""One process's agent: it installs the hooks, passes what they hear to the record, and stands aside on any fault.

What a hook calls comes from `heard`: an exception inside it takes the agent out of the process, leaves a note in the
record, and never reaches the job. Only the thread that trains is listened to.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import traceback
from typing import TYPE_CHECKING

from . import hooks, process
from .record import Record
from .roots import Roots

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


# What is also heard while steps are passed over.
HEARD_ALWAYS = frozenset(
    (
        "iteration_begins",
        "iterator_made",
        "compile_called",
        "forward_begins",
        "optimiser_ends",
    )
)


def begin(torch: Any) -> None:
    """Start the agent of this process, once torch has been imported."""
    folder, order = os.environ.get("SUFFICE_SPOOL"), os.environ.get("SUFFICE_ORDER")
    session = None
    if folder:
        session = Session(torch, folder)
    if order:
        from .rig import steer

        steer.begin(torch, order, session)


class Session:
    """The agent of one process; a forked child starts a new record with the hooks that it inherits."""

    def __init__(self, torch: Any, folder: str) -> None:
        self.torch = torch
        self.folder = folder
        self.alive = True
        self.finished = False
        self.patches = hooks.Patches()
        self.roots = Roots(torch, self.heard("forward_begins"), self.heard("forward_ends"))
        self.record = Record(torch, folder, self.roots)
        self.record.at_begin = self._loop_begins
        try:
            self._install()
        except Exception:
            self.stand_aside("install")

    def _install(self) -> None:
        process.keep_from_dynamo(self.torch, __package__)
        hooks.install(self.heard, self.torch, self.patches)
        self.record.spool.message("process", missing=self.patches.missing, **process.describe(self.torch))
        self.record.spool.flush()
        atexit.register(self.finish)
        os.register_at_fork(after_in_child=self.forked)

    def heard(self, name: str, any_thread: bool = False) -> Callable[..., Any]:
        """The record's method of that name as a hook may call it: None where nobody listens or something fails.

        What it takes is added up in the record: a step must not be slowed by more than a fixed share.
        """
        my_ident, now = threading.get_ident, time.perf_counter_ns
        always = name in HEARD_ALWAYS

        def call(*args: Any) -> Any:
            record = self.record
            if not self.alive or (record.passing_over and not always):
                return None
            begun = now()
            try:
                if record.thread != my_ident() and not any_thread and not record.overheard(name, my_ident()):
                    return None
                return getattr(record, name)(*args)
            except Exception:
                self.stand_aside(name)
                return None
            finally:
                record.spent_ns += now() - begun

        return call

    def _loop_begins(self) -> None:
        process.at_worker_exit(self.finish)

    def forked(self) -> None:
        """In the child of a fork: the parent's record stays the parent's."""
        if not self.alive:
            return
        try:
            parents = self.record
            parents.let_go()
            self.record = Record(self.torch, self.folder, self.roots)
            self.record.at_begin = self._loop_begins
            self.record.inherits(parents)
            self.record.spool.preface("process", forked=True, **process.describe(self.torch))
            self.finished = False
        except Exception:
            self.stand_aside("forked")

    def finish(self) -> None:
        """The interpreter ends in good order; it may say so twice."""
        if self.alive and not self.finished:
            self.finished = True
            try:
                self.record.finish()
            except Exception:
                self.stand_aside("finish")

    def leave(self) -> None:
        """Write what there is and go: nothing is heard from here on."""
        self.finish()
        self.alive = False
        self.record.let_go()
        self.patches.undo()
        self.roots.remove()

    def stand_aside(self, where: str) -> None:
        """Leave the process as it was, and say why in the record."""
        self.alive = False
        trace = traceback.format_exc(limit=-6)
        spool = self.record.spool
        undoing = (
            self.record.let_go,
            self.patches.undo,
            self.roots.remove,
            lambda: spool.message("fault", where=where, trace=trace),
            spool.close,
        )
        for undo in undoing:
            try:
                undo()
            except Exception:  # there is nobody left to tell
                pass
