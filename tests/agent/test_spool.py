"""The record on disk: lines of JSON in batches, which end where the disk does and never raise into the job."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from suffice.agent.spool import BATCH, FILE_LIMIT_BYTES, FLUSH_EVERY_NS, Spool
from suffice.measure.spool.reader import SpoolReader
from suffice.run.stage import environment, stage_agent
from tests.conftest import JOBS, AgentRun, steady


class Numberlike:
    """A number of another library, such as NumPy's."""

    def __index__(self) -> int:
        return 41


def lines(spool: Spool) -> list[dict]:
    """What the file holds."""
    path = Path(spool.path)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """A spool in an empty folder."""
    return Spool(str(tmp_path))


def test_rows_of_a_kind_share_a_line_and_keep_their_place(spool: Spool) -> None:
    """Rows between two messages stand between them, all rows of a kind in one line."""
    spool.message("first")
    for index in range(3):
        spool.row("step", [index, 1])
        spool.row("loss", [index, 0.5, 1])
    spool.message("last", model="GPT")
    spool.close()
    first, *rows, last = lines(spool)
    assert (first["kind"], last["kind"], last["model"]) == ("first", "last", "GPT")
    assert rows == [
        {"kind": "step", "rows": [[0, 1], [1, 1], [2, 1]]},
        {"kind": "loss", "rows": [[0, 0.5, 1], [1, 0.5, 1], [2, 0.5, 1]]},
    ]


def test_nothing_is_written_before_a_batch_is(spool: Spool) -> None:
    """Until a batch is written there is no file, and a process with nothing to tell leaves none."""
    spool.preface("process", forked=True)
    spool.flush()
    spool.close()
    assert not Path(spool.path).exists()


def test_a_preface_goes_out_before_the_first_message(spool: Spool) -> None:
    """What introduces a forked child stands first, once it has something to tell."""
    spool.preface("process", forked=True)
    spool.message("loop")
    spool.flush()
    spool.message("tail")
    spool.close()
    assert [line["kind"] for line in lines(spool)] == ["process", "loop", "tail"]


def test_a_batch_is_due_by_time_or_by_number(tmp_path: Path) -> None:
    """Half a second or so many rows, whichever comes first."""
    spool = Spool(str(tmp_path), now=lambda: 10)
    assert not spool.due(10 + FLUSH_EVERY_NS - 1)
    assert spool.due(10 + FLUSH_EVERY_NS)
    for index in range(BATCH):
        assert not spool.due(10)
        spool.row("step", [index])
    assert spool.due(10)
    spool.flush()
    assert not spool.due(10)


def test_what_json_does_not_know_is_told_all_the_same(spool: Spool) -> None:
    """A number of another library is written as an integer, anything else by its name."""
    spool.message("loader described", batch_size=Numberlike(), sampler=Path("x"), losses=[float("nan")])
    spool.close()
    (line,) = lines(spool)
    assert (line["batch_size"], line["sampler"]) == (41, "x")


def test_the_record_is_bounded(spool: Spool) -> None:
    """At its limit the record ends with a whole line and says why."""
    spool.message("first")
    spool.flush()
    spool.written = FILE_LIMIT_BYTES - 10
    spool.message("too much")
    spool.flush()
    spool.message("later")
    spool.close()
    assert [line["kind"] for line in lines(spool)] == ["first"]
    assert "limit" in str(spool.error)


def test_a_full_disk_ends_the_record(spool: Spool) -> None:
    """A device without room is an error of the spool's, not of its caller's; nothing piles up in memory afterwards."""
    Path(spool.path).symlink_to("/dev/full")
    for _ in range(3):
        spool.message("loop")
        spool.row("step", [1])
        spool.flush()
    assert "No space left" in str(spool.error)
    assert not spool.waiting
    spool.close()
    assert spool.descriptor is None


@pytest.mark.parametrize("place", ["gone", "file", "/proc"])
def test_a_folder_that_takes_no_files_ends_the_record(tmp_path: Path, place: str) -> None:
    """A folder that has vanished, is a file by now, or is closed to writing."""
    (tmp_path / "file").write_text("")
    spool = Spool(str(tmp_path / place))
    spool.message("loop")
    spool.close()
    assert spool.error


def test_a_file_that_the_job_opened_is_left_alone(spool: Spool, tmp_path: Path) -> None:
    """Where the job closed all descriptors, and has a file of its own under our number, nothing is written into it."""
    spool.message("loop")
    spool.flush()
    assert spool.descriptor is not None
    os.close(spool.descriptor)
    with (tmp_path / "users").open("w") as users:
        assert users.fileno() == spool.descriptor
        spool.message("tail")
        spool.flush()
        spool.close()
        users.write("mine")
    assert (tmp_path / "users").read_text() == "mine"
    assert "closed" in str(spool.error)


def test_a_child_lets_go_of_its_parents_file(spool: Spool) -> None:
    """What waited at the fork is written by the parent alone."""
    spool.message("parent's")
    child = os.fork()
    if child == 0:
        spool.abandon()
        spool.close()
        os._exit(0)
    os.waitpid(child, 0)
    spool.close()
    assert [line["kind"] for line in lines(spool)] == ["parent's"]


def test_a_job_goes_on_where_files_may_not_grow(stage: Path, tmp_path: Path) -> None:
    """Under a limit on the size of files the record ends, with at most its last line cut, and the job does not."""
    command = [sys.executable, str(JOBS / "cnn.py"), "--epochs", "3"]
    variables = {**steady(), "PYTHONPATH": str(stage), "SUFFICE_STAGE": str(stage), "SUFFICE_SPOOL": str(tmp_path)}
    plain = subprocess.run(command, env=steady(), capture_output=True, text=True, check=True)
    limited = subprocess.run(
        command,
        env=variables,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=_files_to_1500_bytes,
    )
    assert (limited.stdout, limited.stderr) == (plain.stdout, plain.stderr)
    (path,) = tmp_path.glob("*.jsonl")
    assert path.stat().st_size == 1500
    (record,) = SpoolReader(tmp_path).close()
    assert record.process["pid"]
    assert record.damaged_lines <= 1


def test_bytecode_that_a_full_disk_cut_short_is_made_anew(tmp_path: Path) -> None:
    """Python before 3.14 keeps such a file for good; the job is measured all the same, then and later."""
    stage = stage_agent(tmp_path / "agent")
    program = "import torch; import sys; sys.exit(0 if 'suffice_agent.session' in sys.modules else 3)"
    command = [sys.executable, "-c", program]
    for _ in range(2):
        assert subprocess.run(command, env=environment(steady(), stage, tmp_path), check=False).returncode == 0
        for path in stage.rglob("*.pyc"):
            os.truncate(path, min(path.stat().st_size, 1500))


def _files_to_1500_bytes() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python does by itself


def test_a_job_goes_on_without_its_spool(agent_run: Callable[..., AgentRun]) -> None:
    """A spool folder that vanishes in mid-training costs the record, not the job."""
    program = """
import os, shutil, runpy, sys
import torch
shutil.rmtree(os.environ["SUFFICE_SPOOL"])
sys.argv = [sys.argv[1]]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    run = agent_run([sys.executable, "-c", program, JOBS / "cnn.py"])
    assert (run.exit_code, run.stderr) == (0, "")
    assert run.stdout.count("loss ") == 20
    assert run.records == []
