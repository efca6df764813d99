"""The processes of a job that train together -> orders that all of them obey at the same step, and their answers.

Each process connects for itself when its training begins, and waits at the boundaries of its steps. How many there are
the first one tells. Nothing is exchanged among them: they agree because all have the same order.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from typing import Any

from suffice.errors import RigError
from suffice.run.background import Background

BEGIN_S, STEP_S = 300.0, 600.0
LAG_S, LAG = 150.0, 10.0
"""A rank may take so many seconds, or so many times the first answer's, longer than the first that answers."""
POLL_S = 0.1


class JobEndedError(Exception):
    """A process of the job has ended, or said nothing for too long."""


class Link:
    """One process of the job, which answers in lines of JSON."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.buffer = b""
        self.hello: dict[str, Any] = {}

    def received(self) -> dict[str, Any] | None:
        """The next answer, if the whole of it is there once something has come.

        Raises:
            JobEndedError: if the process is gone.
        """
        try:
            data = self.connection.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            raise JobEndedError("it ended")
        self.buffer += data
        line, ended, rest = self.buffer.partition(b"\n")
        if not ended:
            return None
        self.buffer = rest
        answer: dict[str, Any] = json.loads(line)
        return answer


class Links:
    """All processes of the job that train, by their rank."""

    def __init__(
        self,
        process: Background,
        listener: socket.socket,
        on_wait: Callable[[], None] = lambda: None,
        *,
        begin_s: float = BEGIN_S,
        lag_s: float = LAG_S,
    ) -> None:
        """Wait for them, the last of them `begin_s` at most; no rank may take `lag_s` longer for an order than another.

        Raises:
            JobEndedError: if the job ends, or nothing in it begins to train.
            RigError: if some of its ranks run elsewhere, or don't train.
        """
        self.process = process
        self.on_wait = on_wait
        self.lag_s = lag_s
        self.links: list[Link] = []
        listener.settimeout(POLL_S)
        try:
            self._gather(listener, time.monotonic() + begin_s)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self.links)

    def _gather(self, listener: socket.socket, until_s: float) -> None:
        world = 1
        while len(self.links) < world:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                if self.links and time.monotonic() > until_s:
                    raise RigError(f"of {world} ranks {len(self.links)} began to train on this machine") from None
                self._look(until_s)
                continue
            self.links.append(Link(connection))
            (hello,) = self._answers([self.links[-1]])
            self.links[-1].hello = hello
            world, here = hello["world"], hello["world_here"]
            if here < world:
                raise RigError(f"the job has {world} ranks, {here} of them on this machine: changes are tried on one")
        self.links.sort(key=lambda link: int(link.hello["rank"]))

    def _look(self, until_s: float) -> None:
        self.on_wait()
        if self.process.exit_code is not None:
            raise JobEndedError(f"it ended with exit code {self.process.exit_code}")
        if time.monotonic() > until_s:
            raise JobEndedError("it made no step for too long")

    def ask(self, **order: Any) -> list[dict[str, Any]]:
        """Give all of them an order; their answers, by rank.

        Raises:
            JobEndedError: if one of them ends first.
            RigError: if some obey and others don't.
        """
        line = json.dumps(order).encode() + b"\n"
        try:
            for link in self.links:
                link.connection.sendall(line)
        except OSError:
            raise JobEndedError("it ended") from None
        return self._answers(self.links)

    def _answers(self, links: Sequence[Link]) -> list[dict[str, Any]]:
        begun_s = time.monotonic()
        until_s = begun_s + STEP_S
        answers: dict[int, dict[str, Any]] = {}
        while len(answers) < len(links):
            waiting = {link.connection: number for number, link in enumerate(links) if number not in answers}
            ready = wait(list(waiting), POLL_S)
            for connection in ready:
                number = waiting[connection]  # type: ignore[index]  # they are those that were given
                answer = links[number].received()
                if answer is not None:
                    answers[number] = answer
                    took_s = time.monotonic() - begun_s
                    until_s = min(until_s, begun_s + took_s + max(self.lag_s, LAG * took_s))
            if not ready:
                if answers and time.monotonic() > until_s:
                    late = ", ".join(str(number) for number in waiting.values())
                    raise RigError(f"the ranks don't make the same steps: rank {late} came to none where others did")
                self._look(until_s)
        return [answers[number] for number in range(len(links))]

    def close(self) -> None:
        """Let them go: each ends at its next step."""
        for link in self.links:
            link.connection.close()
