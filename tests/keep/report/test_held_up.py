"""What holds a run up: the diagnosis in a few lines of text, and in a section of the page."""

import io
import json
import re
from dataclasses import replace

import pytest
from made_profiles import empty, on_gpus
from rich.console import Console

from suffice.keep.report.held_up import held_up
from suffice.keep.report.page import page
from suffice.keep.report.text import print_profile
from suffice.records import Loader, measured

TIMES = "\N{MULTIPLICATION SIGN}"


def waiting(workers=0, reason="inside fetch 99% on a processor, 1% off it", limited_by="compute"):
    """A run that waits for data in three quarters of its steps."""
    run = on_gpus(ranks=1)
    (rank,) = run.ranks
    split = {**rank.split, "wait_for_data_s": measured(0.3, "s/step")}
    loader = Loader(
        name="DataLoader 0",
        role="training",
        dataset="Photos",
        batch_size=32,
        workers=workers,
        figures={"wait_s": measured(0.3, "s/batch"), "fetch_s": measured(0.01, "s/sample")},
        limited_by=limited_by,
        reason=reason,
    )
    return replace(run, ranks=(replace(rank, split=split, device_split={}, loaders=(loader,)),))


def section_of(run, *, width=100):
    """The lines of the section in the text report."""
    file = io.StringIO()
    print_profile(Console(file=file, width=width, highlight=False), run)
    return re.search(r"^  held up .*?(?=\n\s*\n)", file.getvalue(), re.DOTALL | re.MULTILINE)[0].splitlines()


def test_the_sentence_and_the_findings() -> None:
    """The diagnosis is followed by a line a finding: its name, its bound, its cures."""
    told = [" ".join(line.split()) for line in section_of(waiting())]
    assert told[0].startswith("held up 74% of the loop is waiting for data: the training process fetches by itself")
    assert f"few workers at most 3.91{TIMES} try loader-workers" in told
    assert f"loader compute at most 3.91{TIMES} try sample-cache, batch-gather or loader-workers" in told


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("reason", ["short", "a reason of some more words " * 9])
def test_never_more_than_six_lines(width, reason) -> None:
    """A long sentence leaves room for fewer findings, and each finding keeps to its line, name and bound whole."""
    told = section_of(waiting(2, reason, "I/O"), width=width)
    assert len(told) <= 6 or width == 60
    assert any("loader io" in line and f"at most 3.91{TIMES}" in line for line in told)


def test_a_run_without_a_fault() -> None:
    """It says so, in no more than a sentence."""
    assert held_up(on_gpus()).rows == ()
    assert "nothing needless was found" in " ".join(section_of(on_gpus()))


def test_a_run_without_steps() -> None:
    """There is nothing to diagnose, and why."""
    assert "no step of a training loop was seen" in " ".join(section_of(empty()))


def test_advice_that_no_technique_carries_out() -> None:
    """It stands in the sentence, and is not said twice."""
    run = on_gpus(ranks=1)
    run = replace(
        run, ranks=(replace(run.ranks[0], figures={**run.ranks[0].figures, "evaluation_s": measured(99, "s")}),)
    )
    (row,) = held_up(run).rows
    assert "evaluate less often" in held_up(run).sentence
    assert row == ("frequent evaluation", f"at most 3.31{TIMES}", "no change by itself cures it")


def test_the_page_holds_the_same() -> None:
    """The data of the page have the sentence and the rows of each run that it shows."""
    text = page(waiting(), on_gpus())
    about = json.loads(re.search(r'id="about">(.*?)</script>', text)[1])
    first, second = about["held_up"]
    assert [row[0] for row in first["rows"]] == ["few workers", "loader compute"]
    assert second["rows"] == []
    assert first["sentence"] == held_up(waiting()).sentence
