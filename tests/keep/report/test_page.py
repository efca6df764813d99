"""The page is looked at by a real browser: what it draws, what it says, and that it asks nobody for anything."""

import json
import re
import socket
import threading
from contextlib import suppress
from dataclasses import replace
from importlib.resources import files

import pytest
from browser import Seen
from made_profiles import all_figures, empty, hostile, on_gpus

from suffice.errors import SufficeError
from suffice.keep.report.compare import compare
from suffice.keep.report.page import page, write_page
from suffice.records import Note, Profile, as_json

MARKUP = "</script><img src=http://suffice.invalid/x onerror=\"document.title='run'\"><b>"


@pytest.fixture
def look(chromium, tmp_path):
    """Write the page of a profile and have it drawn."""

    def see(profile, *, other=None, comparison=None, options=()):
        path = tmp_path / "page.html"
        write_page(profile, path, other=other, comparison=comparison)
        seen = Seen(chromium(path, "--dump-dom", *options))
        assert seen.root["data-errors"] == ""
        return seen

    return see


def embedded(text, name):
    """The JSON that the page holds under that id."""
    return json.loads(re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.DOTALL)[1])


@pytest.mark.parametrize(
    ("profile", "plots"),
    [(empty(), 0), (on_gpus(), 5), (on_gpus(ranks=1, steps=1), 5), (on_gpus(ranks=8, steps=3000), 5)],
    ids=["nothing", "two GPUs", "one step", "long"],
)
def test_every_plot_is_drawn(look, profile, plots):
    """As many plots are painted as there are kinds of series, and no error is raised, whatever the profile lacks."""
    seen = look(profile)
    assert (seen.root["data-plots"], seen.root["data-drawn"]) == (str(plots), str(plots))
    assert len([tag for tag, _ in seen.tags if tag == "canvas"]) == plots


def test_the_colours_of_the_parts_are_on_the_screen(chromium, tmp_path):
    """What the page counts as drawn is there in pixels: bars and stacked steps show each part in its colour."""
    image = pytest.importorskip("PIL.Image")
    page_file, shot = tmp_path / "page.html", tmp_path / "page.png"
    write_page(on_gpus(), page_file)
    chromium(page_file, f"--screenshot={shot}", "--window-size=1280,3200", "--blink-settings=preferredColorScheme=1")
    with image.open(shot) as picture:
        counts = {rgb: count for count, rgb in picture.convert("RGB").getcolors(1 << 24)}
    text = (files("suffice.keep.report") / "assets" / "colours.css").read_text().partition("@media")[0]
    for part in ("wait_for_data", "copy", "forward", "backward", "optimiser", "other", "evaluation", "start_up"):
        code = re.search(rf"--{part}: #(\w+);", text)[1]
        assert counts.get(tuple(bytes.fromhex(code)), 0) > 500, part


def test_text_from_outside_stays_text(look):
    """Names that would be markup are shown as they are, and make no element and run nothing."""
    seen = look(hostile(MARKUP))
    assert not [tag for tag, _ in seen.tags if tag in {"img", "b"}]
    # A command's quotes are those of a shell, so only the part without any is looked for there.
    assert all(MARKUP.partition('"')[0] in text for text in (*seen.of("title"), *seen.of("h1", "command")))
    for tag, kind in (("li", None), ("footer", None), ("td", None), ("span", "state")):
        assert any(MARKUP in text for text in seen.of(tag, kind)), tag


@pytest.fixture
def proxy():
    """A port that takes down the first line of whatever is asked of it."""
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                # The browser may open a connection ahead of need and say nothing on it.
                with connection, suppress(OSError):
                    connection.settimeout(5)
                    asked.append(connection.recv(4096).split(b"\r\n")[0].decode(errors="replace"))

        threading.Thread(target=listen, daemon=True).start()
        yield f"--proxy-server=127.0.0.1:{server.getsockname()[1]}", asked
        server.shutdown(socket.SHUT_RDWR)


def test_nothing_is_asked_of_a_network(look, chromium, tmp_path, proxy):
    """A page full of addresses asks for none of them; the same address in a plain file is asked for."""
    option, asked = proxy
    look(hostile(MARKUP), options=[option])
    assert not [line for line in asked if "suffice.invalid" in line]
    control = tmp_path / "control.html"
    control.write_text(MARKUP)
    chromium(control, "--dump-dom", option)
    assert [line for line in asked if "suffice.invalid" in line]


def test_the_policy_forbids_what_is_not_named():
    """The page names its scripts and styles by hash, and links to nothing."""
    text = page(hostile(MARKUP))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="(.*?)"', text)[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert re.findall(r'<[^>]*\b(?:src|href)="(.*?)"', re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)) == [
        "data:,"
    ]


def test_every_figure_carries_its_origin(look):
    """The table holds every figure of the profile, and each row, tile and plot says where its figure comes from."""
    profile = on_gpus()
    seen = look(profile)
    badges = seen.of("span", "badge")
    origins = [figure.origin.value for figure in all_figures(profile)]
    assert len(seen.of("td", "range-text")) == len(origins)
    assert all(badges.count(origin) >= origins.count(origin) for origin in set(origins))
    assert all(re.search("measured|estimated|looked up", text) for text in seen.of("div", "tile"))
    assert all(re.search("measured|estimated", text) for text in seen.of("figcaption"))


def test_the_first_screen_answers(look):
    """Time, energy, carbon and money with their ranges stand on top, under the sentence that says where time went."""
    seen = look(on_gpus())
    assert seen.of("p", "headline")[0].startswith("54 % of a training step is backward")
    assert seen.of("p", "value") == ["82.8 s", "99 kJ", "11 g CO₂e", "2.26 USD"]
    assert seen.of("div", "ends") == ["79 kJ140 kJ", "5.0 g CO₂e17 g CO₂e"]
    assert "GPU 0 was throttled" in seen.of("section", "warnings")[0]


def test_money_that_is_not_known_says_what_to_do(look):
    """Without a cost the tile holds the note about money."""
    note = Note(text="money: no cost: no rate is known; give your own rate")
    profile = on_gpus()
    figures = {name: figure for name, figure in profile.figures.items() if name != "cost_usd"}
    seen = look(replace(profile, figures=figures, notes=(note,)))
    assert seen.of("div", "absent") == ["moneynot knownNo cost: no rate is known; give your own rate."]


def test_parts_that_were_not_separable_are_said(look):
    """A part that the hooks could not see is named as such, and has neither a bar nor a zero."""
    profile = on_gpus(ranks=1)
    rank = profile.ranks[0]
    split = {name: figure for name, figure in rank.split.items() if name not in {"wait_for_data_s", "copy_s"}}
    seen = look(replace(profile, ranks=(replace(rank, split=split, device_split={}),)))
    said = " ".join(seen.of("p", "aside"))
    assert "Not separable, and so within other: waiting for data." in said
    assert "No copy to a device was seen." in said


def test_steps_that_were_passed_over_have_no_parts(look):
    """Where parts are known of some steps only, they are a plot of their own beside the time of every step."""
    profile = on_gpus(ranks=1)

    def thinner(series):
        return replace(series, at_s=series.at_s[::3], values=series.values[::3])

    partly = (thinner(s) if s.name in profile.ranks[0].split else s for s in profile.series)
    captions = look(replace(profile, series=tuple(partly))).of("figcaption")
    assert [text.split(" measured")[0] for text in captions[:2]] == [
        "Time of a step",
        "Parts of the steps that were marked",
    ]
    assert "forward" in captions[1]
    assert "forward" not in captions[0]


def test_what_could_not_be_measured_is_a_note(look):
    """The meters that this machine lacks are listed with the reason."""
    seen = look(replace(empty(), machine={"not_measured": {"rapl": "there are no counters"}}))
    assert seen.of("ul", "notes") == ["no rapl there are no counters."]


def test_the_page_is_a_data_file():
    """The profile can be read back out of the page: its figures exactly, its series to five digits."""
    profile = on_gpus()
    back = Profile.from_json(embedded(page(profile), "profile"))
    assert replace(back, series=()) == replace(profile, series=())
    for mine, theirs in zip(profile.series, back.series, strict=True):
        assert theirs.values == pytest.approx(mine.values, rel=1e-4)
        assert theirs.at_s == pytest.approx(mine.at_s, abs=2e-3)


def test_what_json_and_utf8_cannot_hold_is_left_out(look):
    """A command of other bytes and a fact that is no number still give a page."""
    profile = on_gpus(ranks=1)
    rank = replace(profile.ranks[0], facts={"parameters": float("nan"), "dtypes": {"a", "b"}})
    seen = look(replace(profile, ranks=(rank,), target=replace(profile.target, command=("python", "a\udcff.py"))))
    assert "python" in seen.of("h1")[0]


def test_a_long_run_stays_small():
    """Sixteen ranks with all their curves, twice, are less than 2 MB: the curves get fewer points, not the figures."""
    profile = on_gpus(ranks=16, steps=2000)
    assert len(page(profile, profile).encode()) < 2_000_000


def test_two_runs_side_by_side(look):
    """Figures, ratio and interval stand in one table with the caveat; the curves lie over each other."""
    a, b = on_gpus(), on_gpus(run="b", slower=0.8)
    comparison = as_json(compare(a, b))
    seen = look(a, other=b, comparison=comparison)
    step = comparison["rows"][0]
    row = next(text for text in seen.of("tr") if text.startswith("Mean step"))
    assert f"{step['ratio']:.3f}{step['low']:.3f} to {step['high']:.3f}" in row
    assert comparison["caveat"][1:] in " ".join(seen.of("p", "aside"))
    captions = " ".join(seen.of("figcaption"))
    assert re.search(r"Time of a step.*mean.*A \d+ ms.*B \d", captions)
    assert len(seen.of("h1")) + len(seen.of("h2", "command")) == 2


def test_two_runs_without_a_comparison_have_no_interval(look):
    """Ratios of the page's own come without an interval, and the page says so."""
    seen = look(on_gpus(), other=on_gpus(slower=2))
    rows = [text for text in seen.of("tr") if text.startswith("Duration")]
    assert len(rows) == 1
    assert "none" in rows[0]
    assert "no interval" in " ".join(seen.of("p", "aside"))


def test_two_runs_that_share_nothing(look):
    """Two runs without a common figure give a page that says it."""
    assert "no figure in common" in " ".join(look(empty(), other=empty()).of("section"))


def test_a_file_that_cannot_be_written_is_told(tmp_path):
    """The error names the file and what went wrong."""
    with pytest.raises(SufficeError, match=r"missing/page\.html: No such file"):
        write_page(empty(), tmp_path / "missing" / "page.html")


def test_the_library_comes_with_its_licence():
    """The plotting library's licence lies beside it, and the library in the page is the vendored file."""
    assets = files("suffice.keep.report") / "assets"
    assert "MIT License" in (assets / "uPlot.LICENSE.txt").read_text()
    assert (assets / "uPlot.iife.min.js").read_text() in page(empty())
