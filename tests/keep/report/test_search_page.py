"""The page of a search, looked at by a real browser: what was tried, what it saves, and that text stays text."""

import json
import re
from dataclasses import replace
from importlib.resources import files

import pytest
from browser import Seen
from made_profiles import empty, hostile, on_gpus
from tests.keep.made_searches import TRIALS, found, hostile_search, nothing_found, trial

from suffice.errors import SufficeError
from suffice.keep.report.page import search_page, write_search_page
from suffice.records import Note

MARKUP = "</script><img src=http://suffice.invalid/x onerror=\"document.title='run'\"><b>"
X = "\N{MULTIPLICATION SIGN}"
WHOLE = on_gpus(ranks=1)


@pytest.fixture
def look(chromium, tmp_path):
    """Write the page of a search and have it drawn."""

    def see(search):
        path = tmp_path / "page.html"
        write_search_page(search, path)
        seen = Seen(chromium(path, "--dump-dom"))
        assert seen.root["data-errors"] == ""
        return seen

    return see


def test_the_page_tells_all_of_a_search(look):
    """The ratio on top, then before and after, what is saved, each trial with its reason, and what remains."""
    seen = look(found(whole_run=WHOLE, runs_per_year=300.0))
    assert seen.of("p", "headline") == [f"2.60{X} as fast (2.48{X} to 2.71{X}), with 2 changes kept."]
    assert seen.of("h2")[1:6] == [
        "A training step, before and after",
        "Saved in a run, projected, never measured",
        "What was tried",
        "What remains",
        "Side by side",
    ]
    assert seen.of("span", "verdict") == [
        "control",
        "kept",
        "kept",
        "refused",
        "refused",
        "undecided",
        "undecided",
    ]
    row = next(text for text in seen.of("tr") if text.startswith("torch-compile (mode=default)"))
    assert f"numericThe gradients of conv1.weight are zero.refused1.310{X}1.220{X} to 1.400{X}2441.0 s" in row
    assert "cuda-graphsThe shapes of the batches differ." in seen.of("tr")
    assert seen.of("pre", "plan") == ["schema = 1"]


def test_each_saving_is_called_an_estimate_and_has_its_range(look):
    """On every tile, with the year beside it; what is not known says why."""
    figures = {name: figure for name, figure in WHOLE.figures.items() if name != "cost_usd"}
    whole = replace(WHOLE, figures=figures, notes=(Note(text="money: no cost: give your own rate"),))
    tiles = look(found(whole_run=whole, runs_per_year=300.0)).of("div", "tile")
    assert len(tiles) == 4
    assert all("estimated" in tile and re.search(r" to .* in 300 runs a year$", tile) for tile in tiles[:3])
    assert tiles[3] == "moneynot knownNo cost: give your own rate."


def test_what_the_runs_share_is_compared_by_the_step(look):
    """The runs were looked at for a while: what adds up over a run is not set side by side."""
    seen = look(found())
    rows = seen.of("tr")
    assert any(text.startswith("Mean step") for text in rows)
    comparison = next(text for text in seen.of("section") if text.startswith("Side by side"))
    assert not re.search("Duration|Energy|Cost|Last loss", comparison)
    assert "What was proven is above" in comparison


def test_a_warning_of_both_runs_is_said_once(look):
    """With both letters; that a look had no end is no news."""
    end = Note(text="this run has no end: it still goes on", level="warning")
    before, after = (replace(run, notes=(*run.notes, end)) for run in (found().before, found().after))
    (warnings,) = look(found(before=before, after=after)).of("section", "warnings")
    assert warnings == (
        "2 warningsThe search was interrupted: what was proven is kept."
        "ABGPU 0 was throttled in 3 of 400 readings: SwPowerCap."
    )


def test_searches_that_found_little_are_drawn(look):
    """Nothing tried; nothing kept, and so no second run; changes that were dropped, and all of them together."""
    assert look(nothing_found()).of("p", "headline") == [
        "Nothing is worth a try: the job is as fast as suffice can make it here."
    ]
    alone = look(found(stays=(), total=None, after=None))
    assert "so nothing is saved" in " ".join(alone.of("section"))
    assert "Side by side" not in alone.of("h2")
    assert not alone.of("span", "letter")
    trials = (*TRIALS, trial("together", "kept", 2.6, 2.48, 2.71))
    dropped = look(found(stays=("sample-cache",), trials=trials))
    assert dropped.of("span", "verdict")[2] == "dropped"
    assert any(text.startswith("all that was kept, together") for text in dropped.of("tr"))


def test_text_from_outside_stays_text(look):
    """Names that would be markup are shown as they are, and make no element and run nothing."""
    seen = look(hostile_search(MARKUP, hostile(MARKUP)))
    assert not [tag for tag, _ in seen.tags if tag in {"img", "b"}]
    for tag, kind in (("strong", None), ("span", "reason"), ("pre", "plan"), ("th", None), ("li", None)):
        assert any(MARKUP in text for text in seen.of(tag, kind)), tag


def test_the_verdicts_are_on_the_screen(chromium, tmp_path):
    """What was kept is green and what was refused is red, in pixels."""
    image = pytest.importorskip("PIL.Image")
    page_file, shot = tmp_path / "page.html", tmp_path / "page.png"
    write_search_page(found(), page_file)
    chromium(page_file, f"--screenshot={shot}", "--window-size=1280,2600", "--blink-settings=preferredColorScheme=1")
    with image.open(shot) as picture:
        counts = {rgb: count for count, rgb in picture.convert("RGB").getcolors(1 << 24)}
    text = (files("suffice.keep.report") / "assets" / "colours.css").read_text().partition("@media")[0]
    for name, least in (("good", 500), ("bad", 100)):
        code = re.search(rf"--{name}: #(\w+);", text)[1]
        assert counts.get(tuple(bytes.fromhex(code)), 0) > least, name


def test_the_page_holds_the_search_as_data():
    """Ratios and savings can be read back out of it, as they are."""
    text = search_page(found(whole_run=WHOLE))
    data = json.loads(re.search(r'<script type="application/json" id="search">(.*?)</script>', text, re.DOTALL)[1])
    assert data["tried"][1]["ratio"]["value"] == 2.41
    assert data["savings"]["rows"][0]["each"]["origin"] == "estimated"
    assert len(text.encode()) < 1_000_000


def test_a_file_that_cannot_be_written_is_told(tmp_path):
    """The error names the file and what went wrong."""
    with pytest.raises(SufficeError, match=r"missing/page\.html: No such file"):
        write_search_page(found(before=empty(), after=None), tmp_path / "missing" / "page.html")
