"""The text report shows every total with its range and its origin, and what comes from outside is only text."""

import io
from dataclasses import replace

import pytest
from made_profiles import empty, hostile, on_gpus
from rich.console import Console

from suffice.keep.report.compare import compare
from suffice.keep.report.text import print_comparison, print_profile
from suffice.records import Profile


def printed(profile: Profile, *, width: int = 200, terminal: bool = False) -> str:
    """The report as it is written to a terminal or a file."""
    file = io.StringIO()
    print_profile(Console(file=file, width=width, force_terminal=terminal, highlight=False), profile)
    return file.getvalue()


def line_of(text: str, label: str) -> str:
    """The line of the report that begins with the label."""
    return next(" ".join(line.split()) for line in text.splitlines() if line.split()[:1] == [label])


def test_totals_have_origins_and_ranges() -> None:
    """Each total stands beside its origin; an estimate beside its range, what was looked up beside its date."""
    text = printed(on_gpus())
    assert line_of(text, "time").endswith(" measured")
    assert line_of(text, "energy") == "energy 99.4 kJ (79.5 kJ to 139 kJ) estimated"
    assert " to " in line_of(text, "carbon")
    assert line_of(text, "carbon").endswith(" estimated")
    assert line_of(text, "money").endswith(" looked up 2026-01-01")


def test_the_answer_comes_first() -> None:
    """Where the time went is said in a sentence, before the split, for every rank."""
    text = printed(on_gpus(ranks=2))
    assert text.index("54% of a training step is backward") < text.index("waiting for data") < text.index("energy")
    assert text.count("GPU: ") == 12
    assert "rank 1 on cuda:1, 400 steps" in text
    assert "throttled in 3 of 400 readings" in text


def test_many_ranks() -> None:
    """More ranks than fit are counted, not hidden."""
    assert "3 more ranks" in printed(on_gpus(ranks=11))


def test_nothing_is_known() -> None:
    """A run of which nothing is known says so, and asks for a rate in no figure's place."""
    text = printed(empty())
    assert "no steps were seen" in text
    assert "money not known: give --rate" in " ".join(text.split())


def test_a_report_in_a_file_has_no_colour() -> None:
    """What goes to a file is plain text, even on eighty columns."""
    text = printed(on_gpus(), width=80)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("width", [20, 80, 200])
@pytest.mark.parametrize(
    "text", ["[red]alert[/red]", "[/]", "[link=file:///]x", "\x1b[2J\x1b]0;title\x07", "a\nb\r\tc", "\x9b2J", "名前 🚀"]
)
def test_hostile_names(text: str, width: int) -> None:
    """Markup is shown as it stands, and no control character of a name reaches the terminal."""
    run = hostile(text)
    run = replace(run, machine={**run.machine, "gpus": [{"index": 0, "name": text}]})
    found = printed(run, width=width)
    assert not [c for c in found if (ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160]
    if text.isprintable() and width == 200:
        assert text in found


@pytest.mark.parametrize("text", ["[red]alert[/red]", "[/]", "\x1b[2J"])
def test_hostile_names_side_by_side(text: str) -> None:
    """The same holds where two runs are compared."""
    file = io.StringIO()
    print_comparison(Console(file=file, width=200), compare(hostile(text), hostile(text)))
    assert "\x1b" not in file.getvalue()
    if text.isprintable():
        assert text in file.getvalue()
