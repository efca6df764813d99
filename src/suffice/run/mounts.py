"""/proc/self/mountinfo and the folders that matter -> what the launcher lays over, binds anew and makes read-only.

A layer is a folder that gets an overlay in its own place. As root, layers are the top-level folders and the file
systems mounted below them, so all that can be written is covered. Any other user can only lay over what is the user's
own: an overlay that has to copy up a folder of somebody else fails. So layers are then the outermost folders of the
user on the way to each folder that matters, and all else is read-only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

DEVICES = ("/dev", "/proc", "/sys")
# Besides devices, sockets that live in memory: through an overlay they could not be connected to.
NO_FILES = (*DEVICES, "/run")
# Containers' overlays are no storage either: what they show has layers of its own.
NO_STORAGE = frozenset({"autofs", "fusectl", "mqueue", "nsfs", "overlay", "ramfs", "rpc_pipefs"})
ROOT = Path("/")
OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """A file system in its place."""

    point: str
    kind: str
    read_only: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """What the launcher does, outer folders first: lay over `layers`, bind `rebound` anew, make `read_only` so."""

    layers: tuple[str, ...]
    rebound: tuple[str, ...]
    read_only: tuple[str, ...]


def mounts(mountinfo: str) -> list[Mount]:
    """The mounts in the order of the file; of several in one place the last, which is the one that is seen."""
    found: dict[str, Mount] = {}
    for line in mountinfo.splitlines():
        words, _, source = line.partition(" - ")
        point = OCTAL.sub(lambda code: chr(int(code[1], 8)), words.split()[4])
        read_only = "ro" in {*words.split()[5].split(","), *source.split()[-1].split(",")}
        found.pop(point, None)
        found[point] = Mount(point=point, kind=source.split()[0], read_only=read_only)
    return list(found.values())


def layout(there: Sequence[Mount], matter: Iterable[str], *, whole: bool) -> Layout:
    """The layers for the folders that `matter`; `whole` lays over everything, which only root can."""
    points = {mount.point: mount for mount in there}
    wanted = {real for path in matter if os.access(real := os.path.realpath(path), os.W_OK) and Path(real).is_dir()}
    found = {outermost(path, points) for path in wanted} - {"/"}
    if whole:
        found = {*wanted & points.keys(), *_top_level(), *_storage(there)}
    layers = {path for path in found if _lies_open(path, points) and not below(path, NO_FILES)}
    covered = [mount.point for mount in there if mount.point not in layers and below(mount.point, layers)]
    return Layout(
        layers=tuple(sorted(layers)),
        rebound=tuple(sorted(covered)),
        read_only=tuple(mount.point for mount in there if not below(mount.point, DEVICES) and not mount.read_only),
    )


def outermost(path: str, points: Collection[str]) -> str:
    """The topmost folder on the same mount from which all the way down to `path` belongs to this user."""
    user = os.geteuid()
    while path not in points and Path(path).stat().st_uid == user:
        parent = Path(path).parent
        if parent == ROOT or not (parent.stat().st_uid == user or os.access(parent, os.W_OK)):
            break
        path = str(parent)
    return path


def below(path: str, folders: Iterable[str]) -> bool:
    """Whether the path is one of the folders, or lies in one."""
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


def _top_level() -> set[str]:
    return {entry.path for entry in os.scandir("/") if entry.is_dir(follow_symlinks=False)}


def _storage(there: Iterable[Mount]) -> set[str]:
    found = {mount.point for mount in there if mount.kind not in NO_STORAGE and mount.point != "/"}
    return {point for point in found if Path(point).is_dir()}


def _lies_open(path: str, points: Mapping[str, Mount]) -> bool:
    """Whether the mount that the path is on can be written."""
    above = (str(place) for place in (Path(path), *Path(path).parents))
    mount = next((points[place] for place in above if place in points), None)
    return mount is None or not mount.read_only


def named(command: Sequence[str], environment: Mapping[str, str]) -> set[str]:
    """The folders that a command line or an environment names by full paths, alone or after an equals sign."""
    words = [*command, *(word.partition("=")[2] for word in command), *environment.values()]
    paths = {part for word in words for part in word.split(os.pathsep) if part.startswith("/") and "\0" not in part}
    return {folder for path in paths if (folder := _folder(path)) is not None}


def _folder(path: str) -> str | None:
    with suppress(OSError):  # a value may be too long for a path
        return next((str(each.resolve()) for each in (Path(path), Path(path).parent) if each.is_dir()), None)
    return None
