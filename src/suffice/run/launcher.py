"""An order as JSON and a command -> the command itself, in the same process, where its writes land in a scratch place.

suffice starts this file with its own Python, with `-I -S`: standard library only. It shuts the process in and then
becomes the command, so that process id, group, terminal, streams and exit are the command's own. When it can't shut the
process in it ends with 125, and the command was not started.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import stat
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NoReturn

FAILED, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127
NEW_USER, NEW_MOUNTS = 0x10000000, 0x00020000
BIND, RECURSIVE, SLAVE = 1 << 12, 1 << 14, 1 << 19
MOUNT_SETATTR, LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 442, 444, 445, 446  # on every architecture
AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000
READ_ONLY = struct.pack("QQQQ", 1, 0, 0, 0)
NO_NEW_PRIVILEGES = 38
# The richest first: whole folders renamed and hard links kept together need what older kernels or other users lack.
OPTIONS = {False: ("redirect_dir=on,index=on", "index=off"), True: ("userxattr",)}
LANDLOCK_VERSION, LEAST_VERSION = 1, 3  # from 3 on it covers truncate
WRITE_FILE, TRUNCATE, ALL_WRITES = 1 << 1, 1 << 14, 1 << 1 | sum(1 << bit for bit in range(4, 15))

_libc = ctypes.CDLL(None, use_errno=True)


class RefusedError(Exception):
    """The kernel refused; the text says what."""


def check(result: int, what: str) -> int:
    """The result of a call into the C library, or its error."""
    if result < 0:
        number = ctypes.get_errno()
        raise RefusedError(f"{what}: {os.strerror(number)}")
    return result


def shut_in_overlay(order: Mapping[str, Any]) -> None:
    """Lay an overlay over each layer, with its changes in the scratch; make all else read-only but what is `open`."""
    _new_namespaces(own_user=order["own_user"])
    os.chdir(order["scratch"])
    layers, rebound = set(order["layers"]), set(order["rebound"])
    held = _hold({*layers, *rebound, *order["open"], *order["read_only"]})
    before = {path: os.fstat(descriptor).st_dev for path, descriptor in held.items()}
    for number, path in enumerate(sorted((layers | rebound) & held.keys())):
        if path in rebound or not _lay_over(path, held[path], number, order):
            _bind(held[path], path)
            _make_read_only(AT_FDCWD, path, AT_RECURSIVE)
        elif os.stat(path).st_dev == before[path]:
            raise RefusedError(f"the overlay of {path} is not to be seen")
    for path in order["open"]:
        _bind(held[path], path)
    for path in held.keys() & set(order["read_only"]):
        _make_read_only(held[path], "", AT_EMPTY_PATH)
    for descriptor in held.values():
        os.close(descriptor)


def _new_namespaces(*, own_user: bool) -> None:
    user, group = os.geteuid(), os.getegid()
    check(_libc.unshare(NEW_MOUNTS | (NEW_USER if own_user else 0)), "a mount namespace" + " of a user" * own_user)
    if own_user:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    check(_libc.mount(None, b"/", None, RECURSIVE | SLAVE, None), "mounts of its own")


def _hold(paths: set[str]) -> dict[str, int]:
    """A descriptor of each place as it is before anything is laid over it; what this user can't reach needs none."""
    held = {}
    for path in paths:
        with suppress(PermissionError, FileNotFoundError):
            held[path] = os.open(path, os.O_PATH | os.O_CLOEXEC)
    return held


def _lay_over(path: str, below: int, number: int, order: Mapping[str, Any]) -> bool:
    """Whether the overlay could be mounted; a layer that is `needed` has to be."""
    upper, work = f"{number}.changes", f"{number}.work"
    os.mkdir(work)
    os.mkdir(upper)
    _dress(upper, os.fstat(below))
    for options in OPTIONS[order["own_user"]]:
        data = f"lowerdir=/proc/self/fd/{below},upperdir={upper},workdir={work},{options}"
        if _libc.mount(b"overlay", os.fsencode(path), b"overlay", 0, data.encode()) == 0:
            return True
    number = ctypes.get_errno()
    if path in order["needed"]:
        raise RefusedError(f"an overlay of {path}: {os.strerror(number)}")
    return False


def _dress(folder: str, like: os.stat_result) -> None:
    with suppress(OSError):  # somebody else's folder, in which this user may write
        os.chown(folder, like.st_uid, like.st_gid)
    os.chmod(folder, stat.S_IMODE(like.st_mode))
    os.utime(folder, ns=(like.st_atime_ns, like.st_mtime_ns))


def _bind(descriptor: int, path: str) -> None:
    source = f"/proc/self/fd/{descriptor}".encode()
    check(_libc.mount(source, os.fsencode(path), None, BIND | RECURSIVE, None), f"{path} in its place")


def _make_read_only(descriptor: int, path: str, flags: int) -> None:
    arguments = (descriptor, os.fsencode(path), flags, READ_ONLY, len(READ_ONLY))
    check(_libc.syscall(MOUNT_SETATTR, *arguments), f"{path or 'what lies around'} read-only")


def shut_in_landlock(order: Mapping[str, Any]) -> None:
    """Refuse every write but in what is `open`, and to files that exist in what is `devices`."""
    version = check(_libc.syscall(LANDLOCK_CREATE, None, 0, LANDLOCK_VERSION), "Landlock")
    if version < LEAST_VERSION:
        raise RefusedError(f"Landlock of version {version}, which does not cover truncate (Linux 6.2 does)")
    rules = check(_libc.syscall(LANDLOCK_CREATE, struct.pack("Q", ALL_WRITES), 8, 0), "a Landlock ruleset")
    for paths, rights in ((order["open"], ALL_WRITES), (order["devices"], WRITE_FILE | TRUNCATE)):
        for path, descriptor in _hold(set(paths)).items():
            rule = struct.pack("=Qi", rights, descriptor)
            check(_libc.syscall(LANDLOCK_ADD, rules, LANDLOCK_VERSION, rule, 0), f"Landlock's rule for {path}")
            os.close(descriptor)
    check(_libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0), "no new privileges")
    check(_libc.syscall(LANDLOCK_RESTRICT, rules, 0), "Landlock's rules")
    os.close(rules)


def _share_lock(place: str) -> None:
    """As long as the command runs, no other suffice takes its scratch for one that was left behind."""
    descriptor = os.open(os.path.dirname(place), os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    os.set_inheritable(descriptor, True)


KINDS = {"overlay": shut_in_overlay, "landlock": shut_in_landlock}


def become(command: list[str], folder: str) -> NoReturn:
    """Become the command, in the folder as it is seen from inside."""
    try:
        os.chdir(folder)
        os.execvp(command[0], command)
    except FileNotFoundError:
        leave(f"there is no command {command[0]!r} on the PATH", NOT_FOUND)
    except OSError as error:
        leave(f"the command {command[0]!r} can't be started: {error.strerror}", NOT_EXECUTABLE)


def leave(message: str, code: int) -> NoReturn:
    """End without the command."""
    sys.stderr.write(f"suffice: {message}\n")
    sys.stderr.flush()
    os._exit(code)


def main() -> NoReturn:
    """`launcher.py ORDER COMMAND…`."""
    # Python sets these for itself; what the command gets is what suffice was told to give it.
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        if number != signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    order, command = json.loads(sys.argv[1]), sys.argv[2:]
    try:
        _share_lock(order["scratch"])
        KINDS[order["kind"]](order)
    except (RefusedError, OSError) as error:
        leave(f"the sandbox can't be made: {error}", FAILED)
    become(command, order["folder"])


if __name__ == "__main__":
    main()
