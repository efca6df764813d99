"""`suffice improve` on a job of two ranks: what proves itself is kept on both, and a run of both uses it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import JOBS
from tests.loop.test_improve import improve, place, still_running, told, tree

__all__ = ["place"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch has no gloo"),
]

LAUNCHED = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")


def verdicts(search: Path) -> dict[str, dict[str, object]]:
    """The verdict of each trial."""
    return {trial["change"]: trial["verdict"] for trial in json.loads(search.read_text())["trials"]}


def test_dear_samples_are_kept_on_both_ranks(place: Path, tmp_path: Path) -> None:
    """The cache is proven by courses of both ranks at the port where the live job met; a run has the same loss."""
    before, search = tree(place), tmp_path / "search.json"
    job = [*LAUNCHED, str(JOBS / "ddp_slow_samples.py")]
    done = improve(place, "--time", 120, "--trials", 1, "--json", search, "--", *job, 200)
    said = told(done)
    assert done.returncode == 0, said
    assert tree(place) == before
    found = verdicts(search)
    assert found["null"]["outcome"] != "kept"
    assert found["sample-cache (store=file)"]["outcome"] == "kept", said
    assert not still_running(place)

    plain = subprocess.run([*job, "3"], cwd=tmp_path, capture_output=True, text=True, check=True)
    measure = [sys.executable, "-m", "suffice", "measure", "--plan", place / "plan.toml", "--", *job, "3"]
    variables = {**os.environ, "SUFFICE_HOME": str(tmp_path / "home")}
    planned = subprocess.run(measure, cwd=tmp_path, env=variables, capture_output=True, text=True, check=True)
    assert planned.stdout == plain.stdout
    assert "changed by the plan: sample-cache" in " ".join(planned.stderr.split())


def test_what_ranks_exchange_is_tried(place: Path, tmp_path: Path) -> None:
    """The buckets' size and the views into them, on a job that exchanges more than it computes."""
    search = tmp_path / "search.json"
    done = improve(place, "--time", 60, "--trials", 2, "--json", search, "--", *LAUNCHED, JOBS / "ddp_wide.py", 100_000)
    said = told(done)
    assert done.returncode == 0, said
    found = verdicts(search)
    for change in ("bucket-size (mib=25)", "bucket-view"):
        assert found[change]["pairs"], said
        assert "broke off" not in str(found[change]["reason"])
        assert "does not run" not in str(found[change]["reason"])
