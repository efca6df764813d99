"""A C compiler -> a library that stands for an allocator, where the linker of the job finds it."""

import shutil
import subprocess
from pathlib import Path

import pytest


def build_allocator(prefix: Path, name: str) -> Path:
    """The library below the prefix of an environment; skips the test where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    library = prefix / "lib" / name
    library.parent.mkdir(parents=True)
    source = Path(__file__).parent / "keeps_blocks.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return library
