"""The name of a device and of the packages that compile for it -> what of them this machine lacks."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from suffice.form.backends import INSTALL


def lacking(device: str, nodes: str, packages: Sequence[str], *, folder: Path = Path("/dev")) -> str:
    """What is missing: a device, whose `nodes` are files that the kernel names so, or packages; empty if nothing is."""
    missing = [] if any(folder.glob(nodes)) else [f"no {device} (there is no {folder / nodes})"]
    missing += [f"no package {each} ({INSTALL[each]})" for each in packages if find_spec(each) is None]
    return f"there is {' and '.join(missing)}" if missing else ""
