"""A command -> its end on this machine: streams, signals and exit pass through as if nobody stood in between.

The command keeps suffice's process group, terminal and streams. Keys such as Ctrl-C reach the whole group from the
terminal, and so does what is sent to the group; a signal for suffice alone is sent on. The loop below also drives the
measuring: it has no thread of its own.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from suffice.errors import CommandError
from suffice.run.group import Witness, group_witness

PASSED_ON = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
# Python ignores these; a command expects the system's default.
DEFAULTED = (signal.SIGPIPE, signal.SIGXFSZ)
GROUP_S = 0.01  # in which a signal to a group has reached all of it
NOT_FOUND, NOT_EXECUTABLE = 127, 126  # as shells say it


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a command ended, and what the kernel counted for it and for the descendants that it waited for.

    `begun_s` and `ended_s` are seconds of the monotonic clock, which the agent and the meters use as well.
    """

    exit_code: int
    signal: int | None
    begun_s: float
    ended_s: float
    processor_s: float
    peak_memory_bytes: int
    read_bytes: int
    written_bytes: int
    interrupted: bool


def run_here(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    on_start: Callable[[int], None],
    on_tick: Callable[[], None],
    tick_s: Callable[[], float],
) -> Ended:
    """Start the command, call `on_tick` after every `tick_s()` seconds, and return when it has ended.

    Raises:
        CommandError: if there is no such command, or it can't be executed.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    try:
        begun_s = time.monotonic()
        pid = _spawn(command, environment, mask)
        on_start(pid)
        with _exit_of(pid) as exits, group_witness(PASSED_ON) as witness:
            interrupted, status, usage = _wait(pid, exits, witness, on_tick, tick_s)
        return _ended(begun_s, status, usage, interrupted=interrupted)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _spawn(command: Sequence[str], environment: Mapping[str, str], mask: set[int]) -> int:
    try:
        return os.posix_spawnp(command[0], list(command), environment, setsigmask=mask, setsigdef=DEFAULTED)
    except FileNotFoundError:
        raise CommandError(
            f"there is no command {command[0]!r} on the PATH",
            hint="what follows `--` is started as it stands, without a shell; try it without suffice first",
            exit_code=NOT_FOUND,
        ) from None
    except OSError as error:
        raise CommandError(
            f"the command {command[0]!r} can't be started: {error.strerror}", exit_code=NOT_EXECUTABLE
        ) from None


@contextmanager
def _exit_of(pid: int) -> Iterator[list[int]]:
    """What `select` finds ready once the process has ended; nothing on a kernel that can't tell."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        yield []
        return
    try:
        yield [descriptor]
    finally:
        os.close(descriptor)


def _wait(
    pid: int, exits: Sequence[int], witness: Witness, on_tick: Callable[[], None], tick_s: Callable[[], float]
) -> tuple[bool, int, resource.struct_rusage]:
    interrupted = False
    next_tick_s = time.monotonic()
    while True:
        now_s = time.monotonic()
        if now_s >= next_tick_s:
            on_tick()
            next_tick_s = max(next_tick_s + tick_s(), now_s)
        select.select(exits, [], [], max(0.0, next_tick_s - time.monotonic()))
        waited, status, usage = os.wait4(pid, os.WNOHANG)
        interrupted |= _pass_on(pid if waited == 0 else None, witness)
        if waited == pid:
            return interrupted, status, usage


def _pass_on(pid: int | None, witness: Witness) -> bool:
    """Send on what came for suffice alone; True if anything came."""
    came = False
    # Never with a time to wait: Python makes signals up when a stop of suffice itself outlasts it.
    while (received := signal.sigtimedwait(PASSED_ON, 0)) is not None:
        came = True
        time.sleep(GROUP_S)
        # What the terminal sends (si_code > 0), or anybody to the group, the command has got itself.
        if pid is not None and received.si_code <= 0 and not witness.has_seen(received.si_signo):
            os.kill(pid, received.si_signo)
    if came:
        witness.forget()
    return came


def _ended(begun_s: float, status: int, usage: resource.struct_rusage, *, interrupted: bool) -> Ended:
    code = os.waitstatus_to_exitcode(status)
    return Ended(
        exit_code=code if code >= 0 else 128 - code,
        signal=-code if code < 0 else None,
        begun_s=begun_s,
        ended_s=time.monotonic(),
        processor_s=usage.ru_utime + usage.ru_stime,
        peak_memory_bytes=usage.ru_maxrss * 1024,
        read_bytes=usage.ru_inblock * 512,
        written_bytes=usage.ru_oublock * 512,
        interrupted=interrupted,
    )


def leave_as(ended: Ended) -> None:
    """End suffice the way the command ended: by the same signal, or with the same exit code."""
    sys.stdout.flush()
    sys.stderr.flush()
    if ended.signal is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        if ended.signal not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(ended.signal, signal.SIG_DFL)
        os.kill(os.getpid(), ended.signal)
    sys.exit(ended.exit_code)
