"""A search -> a page of text: before and after, every trial with its reason, what remains, and what is saved."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from suffice.keep.plan import interval, times
from suffice.keep.report.headline import PARTS
from suffice.keep.report.held_up import HeldUp
from suffice.keep.report.numbers import origin, quantity, with_range
from suffice.keep.report.text import INDENT, Wrapped, plain, printable
from suffice.keep.report.told import PROJECTION, Told, Tried, tell
from suffice.records import Figure, Profile, Rank, Search

BAR = 14
STYLES = {"kept": "green", "refused": "red", "dropped": "yellow", "undecided": "yellow", "control": "dim"}
COLUMNS = {"verdict": 9, "speed": 6, "interval": 16, "pairs": 5, "took": 8}


def print_search(console: Console, search: Search) -> None:
    """Print the search; `console` decides on width and colour."""
    console.print(render(search))


def render(search: Search) -> RenderableType:
    """The whole report."""
    told = tell(search)
    rows: list[RenderableType] = [
        Text(),
        Text.assemble(
            ("suffice", "bold"),
            plain(f"  search {search.name}: "),
            plain(shlex.join(search.target.command), "dim"),
        ),
        _indented(Wrapped(f"{told.headline}.", "bold")),
        _indented(Wrapped(f"{told.support}.")),
    ]
    rows += _titled("before and after, a training step", _split(search))
    rows += _titled("tried", _trials(told) if told.tried else None)
    rows += _titled("turned down before a trial", _turned_down(told) if told.turned_down else None)
    rows += _titled("what remains", _remains(told.remains) if told.remains else None)
    rows += _titled(f"saved ({PROJECTION})", _saved(told))
    rows += [Text()] if search.notes else []
    for note in search.notes:
        warns = note.level == "warning"
        rows.append(_indented(Wrapped(f"{'!' if warns else '·'} {note.text}", "yellow" if warns else "dim")))
    return Group(*rows)


def _indented(what: RenderableType) -> Padding:
    return Padding(what, INDENT)


def _titled(title: str, what: RenderableType | None) -> Iterator[RenderableType]:
    if what is not None:
        yield from (Text(), _indented(Text(title, "bold")), _indented(what))


def _split(search: Search) -> RenderableType | None:
    """The parts of a step of both runs, on one scale."""
    ranks = [_rank(profile) for profile in (search.before, search.after) if profile is not None]
    lanes = [rank.split for rank in ranks if rank is not None and rank.split]
    if not lanes:
        return None
    most_s = max(figure.value for split in lanes for figure in split.values())
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column()
    for _ in lanes:
        for justify in ("right", "right", "left"):
            table.add_column(justify=justify)
    table.add_row("", *(cell for name in ("before", "after")[: len(lanes)] for cell in (Text(name, "dim"), "", "")))
    for part, label in PARTS.items():
        if any(part in split for split in lanes):
            table.add_row(label, *(cell for split in lanes for cell in _part(split, part, most_s)))
    totals = (quantity(_sum_s(split), "s") for split in lanes)
    table.add_row("a step", *(cell for total in totals for cell in (Text(total, "bold"), "", "")))
    return table


def _part(split: Mapping[str, Figure], part: str, most_s: float) -> tuple[str, str, str]:
    if part not in split:
        return "", "", ""
    value, total_s = split[part].value, _sum_s(split)
    share = f"{value / total_s:.0%}" if total_s else ""
    return quantity(value, "s"), share, "█" * round(BAR * value / most_s) if most_s else ""


def _sum_s(split: Mapping[str, Figure]) -> float:
    return sum(figure.value for figure in split.values())


def _rank(profile: Profile) -> Rank | None:
    return profile.ranks[0] if profile.ranks else None


def _trials(told: Told) -> Group:
    """A line for each trial, in columns of one width, and its reason across all of them."""
    rows: list[RenderableType] = [_line(Text("change", "dim"), *(Text(name, "dim") for name in COLUMNS))]
    for each in told.tried:
        reason = f"{each.risk}: {each.reason}" if each.risk else each.reason
        rows += [_trial(each), Padding(Wrapped(reason, "dim"), INDENT)]
    return Group(*rows)


def _trial(each: Tried) -> Table:
    verdict = Text(each.verdict, STYLES.get(each.verdict, ""))
    return _line(Wrapped(each.name), verdict, *_ratio(each.ratio), str(each.pairs), quantity(each.spent_s, "s"))


def _line(*cells: RenderableType) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0), pad_edge=False, expand=True)
    table.add_column(ratio=1)
    for name, width in COLUMNS.items():
        table.add_column(width=width, no_wrap=True, justify="left" if name == "verdict" else "right")
    table.add_row(*cells)
    return table


def _ratio(ratio: Figure | None) -> tuple[str, str]:
    if ratio is None:
        return "none", ""
    return times(ratio.value), interval(ratio) or "none yet"


def _turned_down(told: Told) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, reason in told.turned_down:
        table.add_row(plain(name), Wrapped(reason, "dim"))
    return table


def _remains(held: HeldUp) -> RenderableType:
    told = (Padding(Wrapped(f"{name}, {bound}: {cure}", "dim"), INDENT) for name, bound, cure in held.rows)
    return Group(Wrapped(f"{held.sentence}."), *told)


def _saved(told: Told) -> RenderableType:
    saved = told.savings
    if saved is None:
        return Wrapped(f"{told.no_savings}.")
    table = Table.grid(padding=(0, 2, 0, 0))
    heads = [f"in {saved.per}", *([f"in {saved.year}"] if saved.year else []), ""]
    table.add_row("", *(Text(printable(head), "dim") for head in heads))
    for row in saved.rows:
        cells = [with_range(row.each), *([with_range(row.a_year)] if row.a_year else [])]
        table.add_row(row.name, *(Wrapped(cell) for cell in cells), Text(origin(row.each), "dim"))
    for name, why in saved.missing:
        table.add_row(name, Wrapped(f"not known: {why}"))
    words = [Wrapped(f"{saved.basis}; the power is taken as even.", "dim")]
    words += [Wrapped(f"{told.payback}.", "dim")] if told.payback else []
    return Group(table, *words)
