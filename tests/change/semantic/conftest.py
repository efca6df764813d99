"""A job of one's own, live in a sandbox, in which a change is compared."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from suffice.prove.rig import Rig
from suffice.prove.workshop import Workshop
from suffice.run.sandbox import choose
from suffice.run.stage import stage_agent


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Callable[[str], Rig]]:
    """`live(script)`: the rig of a job."""
    with ExitStack() as stack:

        def start(script: str) -> Rig:
            folders = [tmp_path / name for name in ("user", "work", "scratch", "spool")]
            for folder in folders:
                folder.mkdir()
            user, work, scratch, spool = folders
            (user / "train.py").write_text(script)
            workshop = Workshop(
                command=(sys.executable, str(user / "train.py")),
                environment={**os.environ, "OMP_NUM_THREADS": "1"},
                sandbox=choose(scratch, folder=user, stays_open=[work]),
                stage=stage_agent(tmp_path / "agent"),
                folder=work,
            )
            return stack.enter_context(closing(Rig(workshop, spool=spool)))

        yield start
