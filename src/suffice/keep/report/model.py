"""A search of a model's forms -> a page of text: what was chosen, each form with its figures, what was not built."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from suffice.keep.report.numbers import digits, ends, quantity
from suffice.keep.report.text import INDENT, Wrapped, plain
from suffice.records import Figure, FormTrial, ModelSearch, Outcome

STYLES = {Outcome.KEPT: "green", Outcome.REFUSED: "red", Outcome.UNDECIDED: "yellow"}
COLUMNS = {
    "p50": "latency_p50_s",
    "p99": "latency_p99_s",
    "a second": "throughput_per_s",
    "1st token": "first_token_s",
    "tokens/s": "tokens_per_s",
    "energy": "energy_j",
    "a token": "token_energy_j",
    "memory": "memory_bytes",
    "size": "size_bytes",
}
ON_THE_PAGE = frozenset({"p99", "memory", "1st token", "a token"})
"""Left out where there are eighty columns."""


def columns_of(search: ModelSearch) -> dict[str, str]:
    """Those that any form has a figure for."""
    return {head: name for head, name in COLUMNS.items() if any(name in trial.figures for trial in search.trials)}


def print_model_search(console: Console, search: ModelSearch) -> None:
    """Print the search; `console` decides on width and colour."""
    console.print(Group(*_rows(search)))


def _rows(search: ModelSearch) -> Iterator[RenderableType]:
    yield Text()
    yield Text.assemble(("suffice", "bold"), plain(f"  model {search.name}: "), plain(search.target, "dim"))
    yield _indented(Wrapped(f"{headline(search)}.", "bold"))
    yield _indented(Wrapped(f"{support(search)}."))
    yield Text()
    yield _indented(_forms(search))
    refused = [each for each in search.trials if each.outcome is not Outcome.KEPT]
    for title, pairs in (
        ("refused", [(each.name, each.reason) for each in refused]),
        ("not built, or not kept in the end", search.refused),
    ):
        if pairs:
            yield from (Text(), _indented(Text(title, "bold")))
            yield from (_indented(Wrapped(f"{name}: {reason}")) for name, reason in pairs)
    for note in search.notes:
        yield _indented(Wrapped(f"! {note.text}", "yellow"))


def headline(search: ModelSearch) -> str:
    """What was chosen, and what it gains."""
    if len(search.trials) == 1:
        return "the model as it is"
    if search.chosen == search.trials[0].name:
        return "the model stays as it is: no form of it is better and good enough"
    chosen = search.trial(search.chosen)
    gains = [
        f"{digits(figure.value)}x {what} ({_range(figure)})"
        for name, what in (("speedup", "as fast with one sample"), ("throughput_gain", "the samples a second"))
        if (figure := chosen.figures.get(name)) is not None
    ]
    return f"{search.chosen} is {' and gives '.join(gains)}"


def support(search: ModelSearch) -> str:
    """Against what, where, and how it was judged."""
    chosen = search.trial(search.chosen)
    exact = [each for each in search.trials[1:] if _is_exact(each) and "speedup" in each.figures]
    told = f"measured with {search.threads} threads on {search.machine['processor']}, by turns with the original"
    if exact and search.chosen not in {search.trials[0].name, *(each.name for each in exact)}:
        best = max(exact, key=lambda each: each.figures["speedup"].value)
        gain = chosen.figures["speedup"].value / best.figures["speedup"].value
        told += f"; {digits(gain)}x of {best.name}, the quickest with the same numbers"
    quality = chosen.figures.get("held_out_quality")
    if quality is not None:
        told += f"; {search.quality} {digits(quality.value)} ({_range(quality)}) held out, the floor is {search.floor}"
    return told


def _forms(search: ModelSearch) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    columns = {head: name for head, name in columns_of(search).items() if head not in ON_THE_PAGE}
    heads = ("", "x", *columns, search.quality)
    for head in heads:
        table.add_column(justify="left" if not head else "right", no_wrap=bool(head))
    table.add_row(*(Text(head, "dim") for head in heads))
    for trial in search.trials:
        if "latency_p50_s" not in trial.figures:
            continue
        mark = "▸ " if trial.name == search.chosen else "· " if trial.front else "  "
        gain = trial.figures.get("speedup")
        cells = [
            quantity(f.value, f.unit).replace(" 1/s", "") if (f := trial.figures.get(c)) else ""
            for c in columns.values()
        ]
        quality = trial.figures.get("quality")
        table.add_row(
            Text(f"{mark}{trial.name}", STYLES[trial.outcome]),
            digits(gain.value) if gain else "1",
            *cells,
            digits(quality.value) if quality else "",
        )
    return table


def _is_exact(trial: FormTrial) -> bool:
    return all(change.risk == "exact" for change in trial.changes)


def _range(figure: Figure) -> str:
    return " to ".join(map(digits, ends(figure)))


def _indented(what: RenderableType) -> Padding:
    return Padding(what, INDENT)
