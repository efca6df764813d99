"""A search of a model's forms -> one HTML file: the front as a picture, every form in a table, the refused with why.

It runs no script and asks no network; its policy allows the style alone whose hash it names.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from suffice.keep.report.model import columns_of, headline, support
from suffice.keep.report.numbers import digits, ends, quantity
from suffice.keep.report.page import asset, hashes, write_text
from suffice.records import FormTrial, ModelSearch, Outcome

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 1000, 420, 70, 40, 20, 46
STYLES = ("colours.css", "page.css", "model.css")
TICKS = (1, 2, 5)
NEAR_RIGHT = 0.7
NAME_AT = (-8, 20, -24, 36, -40, 52)
"""How far below their dots names stand, one after the other: neighbours would write over each other."""


def write_model_page(search: ModelSearch, path: Path) -> None:
    """Write the page.

    Raises:
        SufficeError: if the file can't be written.
    """
    write_text(model_page(search), path)


def model_page(search: ModelSearch) -> str:
    """The page's text."""
    style = "\n".join(map(asset, STYLES))
    policy = f"default-src 'none'; style-src {hashes([style])}; img-src data:; base-uri 'none'; form-action 'none'"
    body = "\n".join(_body(search))
    return (
        '<!DOCTYPE html>\n<html lang="en-GB">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>suffice: {html.escape(search.target)}</title>\n<style>{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _body(search: ModelSearch) -> Iterator[str]:
    yield f'<p class="brand">suffice · model {html.escape(search.name)} · {html.escape(search.started[:10])}</p>'
    yield f'<p class="command">{html.escape(search.target)}</p>'
    yield f'<h1 class="headline">{html.escape(_sentence(headline(search)))}</h1>'
    yield f'<p class="support">{html.escape(_sentence(support(search)))}</p>'
    for note in search.notes:
        yield f'<p class="warnings">{html.escape(note.text)}</p>'
    shown = [trial for trial in search.trials if {"latency_p50_s", "quality"} <= trial.figures.keys()]
    if len(shown) > 1:
        yield "<section><h2>Every form: the time of one sample against quality</h2>"
        yield _picture(search, shown)
        yield (
            '<p class="aside">Blue: chosen. Green: no other form is better in latency, throughput, energy, size, '
            "memory and quality together. Red rings: refused. Lines: the 95 % interval of the quality on the search's "
            "samples, which all forms share; the floor is decided by their pairs, on other samples.</p></section>"
        )
    yield f'<section><h2>Figures</h2><div class="scroll">{_table(search, shown)}</div></section>'
    refused = [(each.name, each.reason) for each in search.trials if each.outcome is not Outcome.KEPT]
    for title, pairs in (("Refused", refused), ("Not built, or not kept in the end", search.refused)):
        if pairs:
            told = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(why)}</dd>" for name, why in pairs)
            yield f'<section><h2>{title}</h2><dl class="reasons">{told}</dl></section>'


def _sentence(text: str) -> str:
    return f"{text}."


def _picture(search: ModelSearch, shown: Sequence[FormTrial]) -> str:
    """Time on a logarithmic axis, quality on a plain one."""
    seconds = [trial.figures["latency_p50_s"].value for trial in shown]
    limits = [end for trial in shown for end in ends(trial.figures["quality"])]
    least, most = math.log10(min(seconds)) - 0.05, math.log10(max(seconds)) + 0.05
    low, high = min(limits), max(limits)
    room = (high - low) * 0.06 or 0.01

    def across(second: float) -> float:
        return LEFT + (math.log10(second) - least) / (most - least) * (WIDTH - LEFT - RIGHT)

    def down(value: float) -> float:
        return TOP + (high + room - value) / (high - low + 2 * room) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="time of one sample against {search.quality}">'
    ]
    for tick in _ticks(least, most):
        x = across(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{quantity(tick, "s")}</text>')
    for number in range(5):
        value = low + (high - low) * number / 4
        parts.append(
            f'<line class="grid" x1="{LEFT}" y1="{down(value):.1f}" x2="{WIDTH - RIGHT}" y2="{down(value):.1f}"/>'
        )
        parts.append(f'<text x="{LEFT - 8}" y="{down(value) + 4:.1f}" text-anchor="end">{digits(value)}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">one sample, logarithmic</text>')
    best = sorted((trial for trial in shown if trial.front), key=lambda each: each.figures["latency_p50_s"].value)
    points = " ".join(f"{across(_s(each)):.1f},{down(each.figures['quality'].value):.1f}" for each in best)
    parts.append(f'<polyline class="front" points="{points}"/>')
    in_order = sorted(shown, key=_s)
    parts += [
        _dot(search, each, across(_s(each)), down, NAME_AT[number % len(NAME_AT)])
        for number, each in enumerate(in_order)
    ]
    return "".join([*parts, "</svg>"])


def _dot(search: ModelSearch, trial: FormTrial, x: float, down: Callable[[float], float], beside: int) -> str:
    """A form, and its name so much below it."""
    quality = trial.figures["quality"]
    y, (low, high) = down(quality.value), ends(quality)
    kind = "chosen" if trial.name == search.chosen else "front-dot" if trial.front else ""
    kind = "refused" if trial.outcome is not Outcome.KEPT else kind
    left = x > WIDTH * NEAR_RIGHT
    name = html.escape(trial.name)
    return (
        f'<line class="range" x1="{x:.1f}" y1="{down(low):.1f}" x2="{x:.1f}" y2="{down(high):.1f}"/>'
        f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="6"><title>{name}</title></circle>'
        f'<text class="name" x="{x + (-10 if left else 10):.1f}" y="{y + beside:.1f}" '
        f'text-anchor="{"end" if left else "start"}">{name}</text>'
    )


def _table(search: ModelSearch, shown: Sequence[FormTrial]) -> str:
    columns = columns_of(search)
    heads = ["form", "speed-up (95 %)", *columns, search.quality, "held out"]
    rows = []
    for trial in shown:
        gain = trial.figures.get("speedup")
        told = f"{digits(gain.value)}x ({digits(ends(gain)[0])} to {digits(ends(gain)[1])})" if gain else "1x"
        cells = [trial.name, told]
        for name in columns.values():
            figure = trial.figures.get(name)
            cells.append(quantity(figure.value, figure.unit) if figure else "")
        for name in ("quality", "held_out_quality"):
            figure = trial.figures.get(name)
            cells.append(digits(figure.value) if figure else "")
        chosen = ' class="chosen"' if trial.name == search.chosen else ""
        rows.append(f"<tr{chosen}>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>")
    head = "".join(f"<th>{html.escape(each)}</th>" for each in heads)
    return f'<table class="forms"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _ticks(least: float, most: float) -> Iterator[float]:
    for power in range(math.floor(least), math.ceil(most) + 1):
        yield from (tick * 10.0**power for tick in TICKS if least <= math.log10(tick * 10.0**power) <= most)


def _s(trial: FormTrial) -> float:
    return trial.figures["latency_p50_s"].value
