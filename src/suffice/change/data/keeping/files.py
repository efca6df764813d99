"""The files that samples are made from -> what they are known by, in this process and in a later one."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from typing import TYPE_CHECKING

from ..looking.calls import stamp_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..looking.study import Study

FILES_LOOKED_AT = 256  # of a list, before each epoch
FILES_STAMPED = 200_000  # once
FIRST_FILES = 32
FOLDERS = 4
# They open files without Python's knowing.
SILENT_READERS = ("cv2", "h5py", "lmdb", "zarr", "tifffile", "soundfile", "torchaudio", "rasterio", "netCDF4", "av")


def digest_of(*told: Any) -> str:
    """A short name for what can be written as JSON."""
    return hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=16).hexdigest()


def file_stamps(objects: Mapping[str, Any], most: int = FILES_LOOKED_AT) -> dict[str, str]:
    """Size and time of files that lists in the objects' attributes name; of `most` evenly spaced ones of each list."""
    stamps = {}
    for name, paths in named_files(objects, most).items():
        found = [stamp_of(path) for path in paths]
        if any(found):
            stamps[f"a file that {name} names"] = digest_of(found)
    return stamps


def first_stamps(objects: Mapping[str, Any]) -> str:
    """A digest of size and time of the first files that lists name: where data were made anew it is another one."""
    return digest_of(
        {name: [stamp_of(p) for p in paths] for name, paths in named_files(objects, FIRST_FILES, 1).items()}
    )


def named_files(objects: Mapping[str, Any], most: int, step: int = 0) -> dict[str, list[str]]:
    """By attribute, what could be the paths of files: as they stand, or in a folder that another attribute names.

    Of each list `most` entries at most, `step` apart, or evenly spaced.
    """
    held = {f"{name}.{attribute}": value for name, thing in objects.items() for attribute, value in vars(thing).items()}
    folders = [value for value in held.values() if isinstance(value, (str, os.PathLike)) and os.path.isdir(value)]
    found = {}
    for name, value in held.items():
        if not isinstance(value, (list, tuple)) or not value:
            continue
        count = min(most, len(value))
        some = [value[i * step if step else len(value) * i // count] for i in range(count)]
        firsts = [each[0] if isinstance(each, (list, tuple)) and each else each for each in some]
        paths = list(dict.fromkeys(each for each in firsts if isinstance(each, (str, os.PathLike))))
        found[name] = [os.path.join(folder, each) for each in paths for folder in ("", *folders[:FOLDERS])]
    return found


def knows_its_files(study: Study) -> bool:
    """Whether all files that samples are made from are known, so that a later process sees whether they changed."""
    named = {os.path.abspath(path) for paths in named_files(study.objects, FILES_STAMPED).values() for path in paths}
    if not named.issuperset(study.opened):
        return False
    readers = [name for name in SILENT_READERS if name in sys.modules]
    return not readers or all(each.files for each in study.chosen) or any(map(os.path.isfile, named))
