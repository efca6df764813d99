"""A scratch folder -> a way to run commands such that whatever they write lands there, and the user's files stay.

Two ways, in this order. **Overlay**: the command sees the user's files as they are and its own changes to them; the
changes lie in the scratch. It needs a mount namespace: as root, or in a namespace of the user where the kernel permits
that. **Landlock**: the user's files are read-only; temporary files and caches have their place in the scratch. Mounts
and rules belong to the command's processes and end with them, however they end; nothing is left to undo.

Not covered by either: the network and what is behind it (databases, object stores, trackers), devices and the rest of
/dev, shared memory (/dev/shm, System V), what other programs do for the command through their sockets, and files that
were open before, such as the standard streams. With an overlay, a file that is changed is first copied as a whole into
the scratch; moving a file between two layers copies it; a socket file in a layer can't be connected to; a user other
than root can't rename a folder that was there, nor change what belongs to somebody else; what lies outside the layers
is read-only. Landlock does not cover mode, owner, times and extended attributes of files that exist.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from suffice.errors import SandboxError
from suffice.run.mounts import layout, mounts, named

LAUNCHER = Path(__file__).with_name("launcher.py")
PROBE_S = 60.0
PROBE = "import os, sys; name = sys.argv[1]; open(name, 'x').close() if name else None"
TEMPORARY = ("/tmp", "/var/tmp")
# Where programs keep what they need for a while, or can make or fetch again.
MOVED = {
    "TMPDIR": "tmp",
    "TMP": "tmp",
    "TEMP": "tmp",
    "HF_HOME": "huggingface",
    "MPLCONFIGDIR": "matplotlib",
    "NLTK_DATA": "nltk",
    "NUMBA_CACHE_DIR": "numba",
    "PYTHONPYCACHEPREFIX": "pycache",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TORCH_EXTENSIONS_DIR": "torch_extensions",
    "TORCH_HOME": "torch",
    "TRITON_CACHE_DIR": "triton",
    "WANDB_CACHE_DIR": "wandb",
    "XDG_CACHE_HOME": "cache",
}
ALLOW = (
    "run suffice as root or allow user namespaces (sysctl user.max_user_namespaces, "
    "kernel.apparmor_restrict_unprivileged_userns=0; in a container --cap-add SYS_ADMIN, or a seccomp profile that "
    "permits unshare and mount), with a scratch folder on ext4, XFS, Btrfs or tmpfs; or use Linux 6.2 or later with "
    "Landlock"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sandbox:
    """A way that works here. `reason` says what it is and, if it is not the best one, why."""

    kind: Literal["overlay", "landlock"]
    reason: str
    scratch: Path
    folder: Path
    own_user: bool = False
    stays_open: tuple[Path, ...] = ()

    def wrap(self, command: Sequence[str], environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """The command line that runs this command shut in, and its environment; each call has a new, empty place."""
        place = Path(tempfile.mkdtemp(prefix="writes-", dir=self.scratch))
        variables = {**environment} if self.kind == "overlay" else {**environment, **_moved(place)}
        order = self._overlay(command, environment) if self.kind == "overlay" else self._landlock(place)
        order |= {"kind": self.kind, "folder": str(self.folder), "scratch": str(place)}
        return [sys.executable, "-I", "-S", str(LAUNCHER), json.dumps(order), *command], variables

    def _overlay(self, command: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
        there = mounts(Path("/proc/self/mountinfo").read_text(errors="surrogateescape"))
        matter = [str(self.folder), str(Path.home()), tempfile.gettempdir(), *TEMPORARY, *named(command, environment)]
        plan = layout(there, matter, whole=not self.own_user)
        return {
            "layers": plan.layers,
            "needed": [layer for layer in plan.layers if self.folder.is_relative_to(layer)],
            "rebound": plan.rebound,
            "read_only": plan.read_only,
            "open": list(map(str, self.stays_open)),
            "own_user": self.own_user,
        }

    def _landlock(self, place: Path) -> dict[str, Any]:
        return {"open": [str(place), "/dev/shm", *map(str, self.stays_open)], "devices": ["/dev", "/proc"]}

    def empty(self) -> None:
        """Remove what the commands so far have written; none of them may run any more."""
        for place in self.scratch.glob("writes-*"):
            remove(place)


def _moved(place: Path) -> dict[str, str]:
    for name in MOVED.values():
        (place / name).mkdir(exist_ok=True)
    return {variable: str(place / name) for variable, name in MOVED.items()}


def choose(scratch: Path, *, folder: Path | None = None, stays_open: Sequence[Path] = ()) -> Sandbox:
    """The best way that works here for commands started in `folder`: each is tried for real before it is taken.

    What is written below `stays_open` is written in truth.

    Raises:
        SandboxError: if none works; it says what each ran into, and how to allow one.
    """
    return first_that_works(candidates(scratch, folder=folder, stays_open=stays_open))


def candidates(scratch: Path, *, folder: Path | None = None, stays_open: Sequence[Path] = ()) -> list[Sandbox]:
    """All ways, the best first, whether or not they work here."""
    overlay = Sandbox(
        kind="overlay",
        reason="an overlay over all folders",
        scratch=scratch.resolve(),
        folder=Path.cwd() if folder is None else folder.resolve(),
        stays_open=tuple(path.resolve() for path in stays_open),
    )
    of_user = replace(overlay, own_user=True, reason="an overlay in a namespace of the user")
    landlock = replace(overlay, kind="landlock", reason="Landlock: all but a scratch place is read-only")
    return [overlay, of_user, landlock] if os.geteuid() == 0 else [of_user, landlock]


def first_that_works(candidates: Sequence[Sandbox]) -> Sandbox:
    """The first that passes its probe, with what the ones before it ran into.

    Raises:
        SandboxError: if none does.
    """
    faults: list[str] = []
    for candidate in candidates:
        fault = probe(candidate)
        if fault is None:
            because = "".join(f"; not {text}" for text in faults)
            return replace(candidate, reason=candidate.reason + because)
        faults.append(f"{candidate.reason}: {fault}")
    raise SandboxError(
        "a trial would write to your files, and nothing here can keep them as they are: " + "; ".join(faults),
        hint=ALLOW,
    )


def probe(sandbox: Sandbox) -> str | None:
    """What goes wrong when a command writes a file into the folder, or None if it can and the file does not appear."""
    trace = sandbox.folder / f".suffice-probe-{os.getpid()}"
    writes = sandbox.kind == "overlay" and os.access(sandbox.folder, os.W_OK)
    command, variables = sandbox.wrap([sys.executable, "-I", "-S", "-c", PROBE, str(trace) * writes], os.environ)
    try:
        done = subprocess.run(
            command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {PROBE_S:.0f} s"
    finally:
        sandbox.empty()
    if trace.exists():
        trace.unlink()
        return "what is written inside appears outside"
    lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
    return lines[-1].removeprefix("suffice: ") if done.returncode else None


@contextmanager
def scratch_in(parent: Path) -> Iterator[Path]:
    """A scratch folder that is removed at the end; those of a suffice that was killed are removed at the start."""
    parent.mkdir(parents=True, exist_ok=True)
    for other in parent.glob("scratch-*"):
        _remove_if_left(other)
    folder = Path(tempfile.mkdtemp(prefix="scratch-", dir=parent))
    with _locked(folder, fcntl.LOCK_SH):
        yield folder
    remove(folder)


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    """Suffice and the command share the lock of a scratch folder, so one that outlives the other keeps it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _remove_if_left(folder: Path) -> None:
    with suppress(OSError), _locked(folder, fcntl.LOCK_EX):
        remove(folder)


def remove(folder: Path) -> None:
    """Remove a folder with all in it, whatever modes an overlay or a job gave; what can't be removed stays."""
    for path, names, _ in os.walk(folder):
        for within in (Path(path, name) for name in names):
            if not within.is_symlink():
                with suppress(OSError):
                    within.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
