"""A package of AOTInductor: the module compiled to machine code for one kind of processor, run by PyTorch.

It needs PyTorch, the version it was compiled for, but neither the user's file nor a compiler. It does not look whether
a size is within the bounds that it was compiled for: whoever calls it does, as a bundle.

It is loaded by what `torch._inductor.aoti_load_package` calls in the end: that imports the compiler as well, which
compiles a program of its own to look at the processor, and takes seconds where loading takes hundredths.

Source: docs.pytorch.org, "AOTInductor: ahead-of-time compilation": `AOTIModelPackageLoader`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from suffice.errors import ModelError
from suffice.form.description import Form
from suffice.form.tensors import arrays_of

UNPACKED, CODE = "aotinductor_", ".so"


class Session:
    """A package, loaded."""

    def __init__(self, folder: Path, form: Form, threads: int) -> None:
        built, here = (each.partition("+")[0] for each in (form.settings["torch"], torch.__version__))
        if built != here:
            raise ModelError(
                f"it was compiled for PyTorch {built}, found {here}",
                hint=f"pip install torch=={built}, or `suffice improve` with this one",
            )
        torch.set_num_threads(threads)
        before = _unpacked()
        self.loader = torch._C._aoti.AOTIModelPackageLoader(str(folder / form.file), "model", False, 1, -1)
        for place in _unpacked() - before:  # it is mapped: the files would outlive a process that is ended
            shutil.rmtree(place, ignore_errors=True)

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """The outputs."""
        with torch.inference_mode():
            given = [torch.from_numpy(each.copy() if _fixed(each) else each) for each in inputs]
            return arrays_of(self.loader.boxed_run(given))

    def facts(self) -> dict[str, Any]:
        """The version; the precision is that of the module."""
        return {"versions": {"torch": torch.__version__}}


def _fixed(array: Any) -> bool:
    return not array.flags.writeable


def _unpacked() -> set[Path]:
    """The folders into which this process has unpacked packages that it runs."""
    paths = (Path(line.split(maxsplit=5)[5]) for line in _maps() if UNPACKED in line and line.endswith(CODE))
    return {place for path in paths for place in path.parents if place.name.startswith(UNPACKED)}


def _maps() -> list[str]:
    return Path("/proc/self/maps").read_text(errors="replace").splitlines()
