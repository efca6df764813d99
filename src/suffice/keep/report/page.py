"""A profile, two, or a search -> one HTML file that holds its data and all that draws them, and asks no network.

The page is drawn by `assets/*.js` from the profile's JSON, which lies in the page as `<script id="profile">`: the file
is a data file as well. A content security policy lets only the scripts and styles run whose hashes it names, and
forbids every request.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from suffice.errors import SufficeError
from suffice.keep.report import told
from suffice.keep.report.compare import RANK_FIGURES, compare
from suffice.keep.report.headline import RUN_PARTS, headline
from suffice.keep.report.held_up import as_data, held_up
from suffice.measure.profile import thinned
from suffice.records import Profile, Search, as_json

POINTS = 40_000
"""Points of all series of a page together, each with a time and a value: about 0.7 MB."""
FEWEST_POINTS = 20
DIGITS = 5
LIBRARY = "uPlot.iife.min.js"
SCRIPTS = tuple(
    f"{name}.js"
    for name in (
        "words",
        "parts",
        "step",
        "held",
        "head",
        "tables",
        "compare",
        "curves",
        "plots",
        "board",
        "search",
        "page",
    )
)
IN_A_STEP = (*RANK_FIGURES[:-1], "memory_peak_bytes")
NO_END = "this run has no end"
STYLES = ("uPlot.min.css", "colours.css", "page.css", "search.css")


def write_page(
    profile: Profile, path: Path, *, other: Profile | None = None, comparison: Mapping[str, Any] | None = None
) -> None:
    """Write `page` to the file at `path`.

    Raises:
        SufficeError: if the file can't be written.
    """
    write_text(page(profile, other, comparison=comparison), path)


def write_search_page(search: Search, path: Path) -> None:
    """Write `search_page` to the file at `path`.

    Raises:
        SufficeError: if the file can't be written.
    """
    write_text(search_page(search), path)


def write_text(text: str, path: Path) -> None:
    """Write a page.

    Raises:
        SufficeError: if the file can't be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SufficeError(
            f"the page can't be written to {path}: {error.strerror}", hint="name another file with --html"
        ) from error


def search_page(search: Search) -> str:
    """The page of a search: what was tried and kept, what it saves, and the job before and after side by side."""
    looks = [_without_end(each) for each in (search.before, search.after) if each is not None]
    comparison = as_json(compare(*looks, names=IN_A_STEP)) if len(looks) == 2 else None
    return page(*looks, comparison=comparison, search=told.as_data(search))


def _without_end(look: Profile) -> Profile:
    """The job as it was looked at; that it was not left to run to its end is no news there."""
    return replace(look, notes=tuple(note for note in look.notes if not note.text.startswith(NO_END)))


def page(
    profile: Profile,
    other: Profile | None = None,
    *,
    comparison: Mapping[str, Any] | None = None,
    search: Mapping[str, Any] | None = None,
) -> str:
    """The page of a run, or of two side by side.

    Args:
        profile: the run, or the first of two.
        other: the second run.
        comparison: JSON of a `Comparison`: `rows` of name, unit, a, b, ratio (b / a), low and high, and a `caveat`.
            Without it the page shows ratios of its own, without intervals.
        search: what `told.as_data` gives of a search of which the runs are before and after.
    """
    profiles = [each for each in (profile, other) if each is not None]
    about = {
        "version": _version(),
        "parts": RUN_PARTS,
        "headlines": [headline(each) for each in profiles],
        "held_up": [as_data(held_up(each)) for each in profiles],
    }
    data = {"about": about, "profile": _light(profile, len(profiles))}
    if other is not None:
        data |= {"other": _light(other, len(profiles)), "comparison": comparison}
    if search is not None:
        data["search"] = search
    style, script = ("\n".join(asset(name) for name in names) for names in (STYLES, SCRIPTS))
    library = asset(LIBRARY)
    commands = dict.fromkeys(shlex.join(each.target.command) for each in profiles)
    return Template(asset("page.html")).substitute(
        title=html.escape(_readable(" and ".join(commands))),
        policy=_policy(style, library, script),
        style=style,
        library=library,
        script=script,
        data="\n".join(_embedded(name, each) for name, each in data.items()),
    )


def _light(profile: Profile, sharers: int) -> Any:
    """The profile's JSON with series that a page can carry: fewer points of fewer digits, figures as they are."""
    points = max(FEWEST_POINTS, POINTS // sharers // max(1, len(profile.series)))
    data = as_json(replace(profile, series=tuple(thinned(series, points) for series in profile.series)))
    longest_s = max((series.at_s[-1] for series in profile.series if series.at_s), default=1.0)
    decimals = max(0, DIGITS - 1 - math.floor(math.log10(max(longest_s, 1e-3))))
    for series in data["series"]:
        series["at_s"] = [round(at_s, decimals) for at_s in series["at_s"]]
        series["values"] = [float(f"{value:.{DIGITS}g}") for value in series["values"]]
    return data


def _embedded(name: str, data: Any) -> str:
    """JSON that a browser does not run, in which no text can end the element or begin another."""
    text = json.dumps(_plain(data), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'


def _plain(data: Any) -> Any:
    """What JSON and a browser can hold of the data: no number for what is none, and text that is Unicode."""
    if isinstance(data, Mapping):
        return {_readable(str(key)): _plain(value) for key, value in data.items()}
    if isinstance(data, Sequence) and not isinstance(data, str):
        return [_plain(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data if isinstance(data, int | float | None) else _readable(str(data))


def _readable(text: str) -> str:
    """The text without what UTF-8 can't hold: an argument or a file's name can be any bytes."""
    return text.encode("utf-8", "replace").decode()


def _policy(style: str, *scripts: str) -> str:
    """What the page may do: run these texts, and nothing else; no request of any kind."""
    return (
        f"default-src 'none'; script-src {hashes(scripts)}; style-src {hashes([style])}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def hashes(texts: Sequence[str]) -> str:
    """What a policy names them by."""
    digests = (hashlib.sha256(text.encode()).digest() for text in texts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


@cache
def asset(name: str) -> str:
    """The text of a file that pages are made of."""
    return (files("suffice.keep.report") / "assets" / name).read_text(encoding="utf-8")


def _version() -> str:
    try:
        return version("suffice")
    except PackageNotFoundError:
        return "unknown"
