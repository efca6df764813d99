"""Another allocator in place of the C library's, which gives large blocks back to the kernel and fetches them anew.

tcmalloc or jemalloc, where it is installed, by `LD_PRELOAD`. Each page that is fetched anew is a fault and is filled
with zeros, in the kernel's time: the share that the kernel takes of the job's processor time bounds what it can gain.

Not on a GPU, whose memory torch keeps itself; not where the kernel takes little; not where you preload something or
have tuned the allocator that you have. What the job has had at its peak it mostly holds to its end.

Practice: SUS03-BP03: mend the parts of the program that take most of the time
Source: PyTorch tuning guide, "Switch memory allocator"; torch.backends.xeon.run_cpu; jemalloc's TUNING.md.
"""

from __future__ import annotations

import glob
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from suffice.records import Profile

RISK = "exact"
CLOCK = "processor"
PRACTICE = "SUS03-BP03: mend the parts of the program that take most of the time"

LEAST_SHARE = 0.05  # of the processor time in the kernel
FILES = {
    "tcmalloc": ("libtcmalloc_minimal.so.4", "libtcmalloc.so.4"),
    "jemalloc": ("libjemalloc.so.2",),
}
INSTALL = {
    "tcmalloc": "apt install libtcmalloc-minimal4, dnf install gperftools-libs, conda install gperftools",
    "jemalloc": "apt install libjemalloc2, dnf install jemalloc, conda install jemalloc",
}
BESIDE = {
    "tcmalloc": {"TCMALLOC_LARGE_ALLOC_REPORT_THRESHOLD": str(2**62)},  # else it writes to the job's standard error
    "jemalloc": {"MALLOC_CONF": "dirty_decay_ms:-1"},  # else it was measured to give back more than the C library does
}
OWN = re.compile("LD_PRELOAD$|GLIBC_TUNABLES$|MALLOC_|TCMALLOC_|JEMALLOC_")
CACHE = "/etc/ld.so.cache"
FOLDERS = ("/usr/local/lib", "/usr/lib64", "/usr/lib/*-linux-gnu", "/usr/lib", "/opt/conda/lib")
ELF, CLASS, MACHINE = b"\x7fELF", slice(4, 5), slice(18, 20)


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """Both, where the kernel takes enough of the job's time; which is installed is seen when the job is started."""
    rank = profile.ranks[0]
    if rank.device.startswith("cuda"):
        return "torch keeps the GPU's memory itself"
    share = rank.figures.get("kernel_share")
    if share is not None and share.value < LEAST_SHARE:
        return "the kernel takes {:.1%} of the job's processor time, and memory fetched anew costs no more".format(
            share.value
        )
    return [{"library": "tcmalloc"}, {"library": "jemalloc"}]


def environment(settings: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, str] | str:
    """What is set for the job's process beside the user's variables, or why it is not."""
    own = next((name for name in sorted(variables) if OWN.match(name)), None)
    if own is not None:
        return "you have set {}={}, and that stays".format(own, variables[own])
    library = settings.get("library")
    if library not in FILES:
        return "there is no allocator {!r}, but {}".format(library, " and ".join(FILES))
    path = next(_installed(FILES[library], variables), None)
    if path is None:
        return "{} is not installed here: {}".format(library, INSTALL[library])
    return {"LD_PRELOAD": path, **BESIDE[library]}


def prepare(job: Any, settings: dict[str, Any]) -> Allocator:
    """Whether this process has it; refused where it was not started with it."""
    library = str(settings.get("library"))
    try:
        with open("/proc/self/maps") as lines:
            path = next((line.split(maxsplit=5)[5].strip() for line in lines if "/lib" + library in line), "")
    except OSError:
        path = ""
    if not path:
        job.refuse("{} is not in the job's process, whatever it was started with".format(library))
    return Allocator(path)


class Allocator:
    """There from the process's start to its end."""

    def __init__(self, path: str) -> None:
        self.path = path

    def on(self) -> None:
        """It is."""

    def off(self) -> None:
        """Not in this process."""

    def facts(self) -> dict[str, Any]:
        """The library's file."""
        return {"library": self.path}


def _installed(names: tuple[str, ...], variables: Mapping[str, str]) -> Iterator[str]:
    """The paths at which such a library lies that this processor's programs can load."""
    folders = variables.get("LD_LIBRARY_PATH", "").split(":")
    folders += [os.path.join(variables[name], "lib") for name in ("CONDA_PREFIX",) if variables.get(name)]
    for name in names:
        for path in [*(os.path.join(folder, name) for folder in folders if folder), *_cached(name), *_usual(name)]:
            if _fits(path):
                yield path


def _cached(name: str) -> list[str]:
    """The paths of that name in the linker's cache, a binary file with each path as a C string."""
    try:
        with open(CACHE, "rb") as file:
            found = re.findall(rb"/[^\0]*/" + re.escape(name.encode()) + rb"(?=\0)", file.read())
    except OSError:
        return []
    return [os.fsdecode(path) for path in found]


def _usual(name: str) -> list[str]:
    return [path for folder in FOLDERS for path in sorted(glob.glob(os.path.join(folder, name)))]


def _fits(path: str) -> bool:
    """Whether it is a library of this kind of processor, at a path that `LD_PRELOAD` can name."""
    if re.search(r"[:\s]", path):
        return False
    try:
        with open(path, "rb") as theirs, open("/proc/self/exe", "rb") as ours:
            its, own = theirs.read(20), ours.read(20)
    except OSError:
        return False
    return its.startswith(ELF) and its[CLASS] == own[CLASS] and its[MACHINE] == own[MACHINE]
