"""Work apart leaves the job as it was, whatever the work does, and ends in an answer or a reason."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from suffice.change.data.looking import apart


def test_it_answers() -> None:
    """With what JSON can carry."""
    assert apart.run(torch, lambda: {"a": [1, 2.5, None]}, 30.0) == {"a": [1, 2.5, None]}
    assert len(apart.run(torch, lambda: "x" * 1_000_000, 30.0)) == 1_000_000


def test_several_work_side_by_side() -> None:
    """And each answer is its own."""
    children = [apart.Apart(torch, lambda n=n: n * n, 30.0) for n in range(3)]
    assert apart.answers(children) == [0, 1, 4]


def test_it_changes_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Draws, variables, the position in an open file, output: all as before."""
    path = tmp_path / "a"
    path.write_bytes(bytes(range(200)))
    kept: list[int] = []
    with path.open("rb", buffering=0) as file:
        file.read(10)

        log = (tmp_path / "log").open("w")
        log.write("one\n")

        def work() -> int:
            log.write("two\n")
            log.flush()
            torch.rand(3)
            random.random()
            kept.append(1)
            print("out")  # noqa: T201
            os.write(2, b"err")
            return len(file.read(50))

        before = torch.get_rng_state(), random.getstate()
        assert apart.run(torch, work, 30.0) == 50
        assert torch.equal(before[0], torch.get_rng_state())
        assert before[1] == random.getstate()
        assert kept == []
        assert file.read(3) == bytes([10, 11, 12])
        log.close()
        assert (tmp_path / "log").read_text() == "one\n"
    assert capfd.readouterr() == ("", "")


def failing() -> None:
    raise KeyError("no such label")


@pytest.mark.parametrize(
    ("work", "limit_s", "reason"),
    [
        (failing, 30.0, "KeyError: 'no such label'"),
        (lambda: time.sleep(60), 0.3, "took too long"),
        (lambda: os.kill(os.getpid(), 9), 30.0, "cut short"),
        (lambda: os._exit(0), 30.0, "cut short"),
        (object, 30.0, "cut short"),
    ],
    ids=["raises", "hangs", "is killed", "exits", "answers in no JSON"],
)
def test_its_failures_are_reasons(work: Callable[[], Any], limit_s: float, reason: str) -> None:
    """And no child is left."""
    before = psutil.Process().children()  # multiprocessing keeps servers of its own
    with pytest.raises(apart.Failed, match=reason):
        apart.run(torch, work, limit_s)
    assert psutil.Process().children() == before


def test_arithmetic_with_threads_works_after_a_fork() -> None:
    """The job has used several threads before; the child does the same sum with one."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        large = torch.ones(600, 600, dtype=torch.float64)
        large @ large
        assert apart.run(torch, lambda: float((large @ large).sum()), 60.0) == 600.0**3
    finally:
        torch.set_num_threads(before)
