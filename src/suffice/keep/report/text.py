"""A profile -> a page of text for a terminal, or for a log file: the same words without colour."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from suffice.keep.report.compare import Comparison
from suffice.keep.report.headline import RUN_PARTS, headline, shares
from suffice.keep.report.held_up import HeldUp, held_up
from suffice.keep.report.numbers import duration, origin, quantity, with_range
from suffice.measure.doctor import Check
from suffice.records import Figure, Loader, Profile, Rank

BAR = 24
INDENT = (0, 0, 0, 2)
RANKS_SHOWN = 8
HELD_UP_LINES = 6
TOTALS = {"duration_s": "time", "energy_j": "energy", "carbon_gco2e": "carbon", "cost_usd": "money"}
STYLES = {"ok": "green", "missing": "yellow", "behind": "yellow"}


def printable(text: str) -> str:
    """The text, with control characters as their escapes: names and commands come from outside."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def plain(text: str, style: str = "") -> Text:
    """The text as it stands, whatever looks like markup in it."""
    return Text(printable(text), style=style)


class Wrapped:
    """Text that breaks between its words, but never between a number and its unit."""

    def __init__(self, text: str, style: str = "") -> None:
        self.text = re.sub(r"(?<=\d) (?=[^\d\s])", "\N{NO-BREAK SPACE}", printable(text))
        self.style = style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """The lines that fit."""
        for line in textwrap.wrap(self.text, options.max_width) or [""]:
            yield Text(line.replace("\N{NO-BREAK SPACE}", " "), self.style)


def print_profile(console: Console, profile: Profile) -> None:
    """Print the profile; `console` decides on width and colour."""
    console.print(render(profile))


def render(profile: Profile) -> RenderableType:
    """The whole report."""
    rows: list[RenderableType] = [
        Text(),
        _head(profile),
        Padding(Wrapped(f"{headline(profile)}.", "bold"), INDENT),
        Text(),
    ]
    for rank in profile.ranks[:RANKS_SHOWN]:
        rows += [_rank_title(rank, len(profile.ranks)), _split(rank), Text()]
    if len(profile.ranks) > RANKS_SHOWN:
        rows += [Text(f"  … and {len(profile.ranks) - RANKS_SHOWN} more ranks; the page shows them all"), Text()]
    rows += [_HeldUpLines(held_up(profile)), Text()]
    rows += [*_lines(profile), Text(), _totals(profile), Text()]
    rows += [_note(note.text, note.level) for note in profile.notes]
    rows += [plain(f"  as a page: suffice report {profile.run} --html report.html", "dim")]
    return Group(*rows)


def _head(profile: Profile) -> Text:
    took = profile.figures.get("duration_s")
    ended = f"{profile.state} in {quantity(took.value, 's')}" if took else profile.state
    if profile.state == "failed":
        ended += f" with exit code {profile.exit_code}"
    return Text.assemble(
        ("suffice", "bold"),
        plain(f"  run {profile.run}, {ended}: "),
        plain(shlex.join(profile.target.command), "dim"),
    )


def _rank_title(rank: Rank, ranks: int) -> Text:
    steps, each = rank.figures.get("steps"), rank.figures.get("step_s")
    who = f"rank {rank.rank} on {rank.device}, " if ranks > 1 else ""
    text = f"  {who}{steps.value:.0f} steps" if steps else f"  {who}no step"
    if each:
        text += f", {quantity(each.value, 's')} each"
        if each.low is not None and each.high is not None:
            text += f" (80 % within {quantity(each.low, 's')} to {quantity(each.high, 's')})"
    return plain(text)


def _split(rank: Rank) -> Padding:
    on_device = sum(f.value for f in rank.device_split.values())
    table = Table.grid(padding=(0, 2, 0, 0))
    for justify in ("left", "right", "right", "left", "right"):
        table.add_column(justify=justify)
    for name, seconds, share in shares(rank):
        key = next(k for k, v in RUN_PARTS.items() if v == name)
        device = rank.device_split.get(key)
        beside = f"GPU: {quantity(device.value, 's')} {device.value / on_device:.0%}" if device and on_device else ""
        table.add_row(name, quantity(seconds, "s"), f"{share:.1%}", "█" * round(BAR * share), beside)
    return Padding(table, INDENT)


class _HeldUpLines:
    """What holds the run up, in `HELD_UP_LINES` at most: the more the sentence takes, the fewer findings follow."""

    def __init__(self, held: HeldUp) -> None:
        self.held = held

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """The sentence, then a line a finding, cut where it would be longer."""
        sentence = _line("held up", self.held.sentence)
        left = HELD_UP_LINES - len(console.render_lines(sentence, options))
        table = Table.grid(padding=(0, 2, 0, 0))
        rows = [tuple(map(plain, row)) for row in self.held.rows[: max(1, left)]]
        for width in (max((cells[i].cell_len for cells in rows), default=0) for i in range(2)):
            table.add_column(min_width=width, no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        for cells in rows:
            table.add_row(*cells)
        yield sentence
        if self.held.rows:
            yield Padding(table, (0, 0, 0, 11))


def _lines(profile: Profile) -> Iterator[RenderableType]:
    whole = [(RUN_PARTS[name], f.value) for name, f in profile.parts.items() if name in RUN_PARTS and f.value > 0]
    yield _line("the run", ", ".join(f"{name} {quantity(s, 's')}" for name, s in whole))
    for rank in profile.ranks[:1]:
        rates = [rank.figures.get(name) for name in ("samples_per_s", "tokens_per_s")]
        told = [quantity(f.value, f.unit) for f in rates if f]
        told += [_operations(rank)] if "flop_per_s" in rank.figures else []
        first, last = rank.figures.get("first_loss"), rank.figures.get("last_loss")
        told += [f"loss {first.value:.4g} to {last.value:.4g}"] if first and last else []
        if told:
            yield _line("rates", ", ".join(told))
        for loader in rank.loaders:
            yield _line("loader", _loader(loader))
    used = profile.figures.get("processors_used")
    memory = profile.figures.get("memory_peak_bytes")
    allowed = profile.machine.get("processors_allowed")
    parts = [f"{used.value:.2f} of {allowed:g} processors"] if used and allowed else []
    parts += [f"{quantity(memory.value, 'B')} of memory at most"] if memory else []
    if parts:
        yield _line("used", ", ".join(parts))
    for gpu in profile.machine.get("gpus", ()):
        yield from _gpu(gpu, profile)


def _operations(rank: Rank) -> str:
    text = quantity(rank.figures["flop_per_s"].value, "FLOP/s")
    share, peak = rank.figures.get("share_of_peak"), rank.figures.get("peak_flop_per_s")
    if share and peak:
        precision = rank.facts.get("precision", "")
        text += f" = {share.value:.1%} of this machine's {quantity(peak.value, 'FLOP/s')} in {precision}"
    return text


def _loader(loader: Loader) -> str:
    wait = loader.figures.get("wait_s")
    text = f"{loader.role} on {loader.dataset}, {loader.workers} workers"
    text += f", {quantity(wait.value, 's')} wait a batch" if wait else ""
    if loader.limited_by not in (None, "unknown"):
        text += f"; limited by {loader.limited_by}: {loader.reason}"
    return text.replace("limited by not limiting", "not what limits")


def _gpu(gpu: dict[str, object], profile: Profile) -> Iterator[RenderableType]:
    prefix = f"gpu{gpu['index']}_"
    names = {"utilization_gpu": "busy", "sm_active": "SM active", "tensor_active": "tensor units", "power_draw": ""}
    found = [(label, profile.figures.get(prefix + name)) for name, label in names.items()]
    told = [f"{quantity(f.value, f.unit)} {label}".strip() for label, f in found if f]
    if told:
        yield _line(f"GPU {gpu['index']}", f"{gpu.get('name', '')}: {', '.join(told)}")


def _totals(profile: Profile) -> Padding:
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, label in TOTALS.items():
        figure = profile.figures.get(name)
        if figure is not None:
            table.add_row(label, _total(figure), plain(origin(figure), "dim"))
        elif name == "cost_usd":
            table.add_row(label, "not known: give --rate, in USD an hour", "")
    return Padding(table, INDENT)


def _total(figure: Figure) -> str:
    if figure.unit == "s":
        return duration(figure.value)
    return with_range(figure)


def _line(label: str, text: str, *, width: int = 8, style: str = "") -> Padding:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=width, no_wrap=True)
    table.add_column()
    table.add_row(Text(label, style), Wrapped(text, style))
    return Padding(table, INDENT)


def _note(text: str, level: str) -> Padding:
    warns = level == "warning"
    return _line("!" if warns else "·", text, width=1, style="yellow" if warns else "dim")


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print two runs side by side."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("", comparison.a, comparison.b, "ratio", "95 % interval"):
        table.add_column(plain(heading), justify="right" if heading else "left")
    for row in comparison.rows:
        interval = f"{row.low:.3f} to {row.high:.3f}" if row.low is not None and row.high is not None else ""
        ratio = f"{row.ratio:.3f}" if row.ratio is not None else ""
        cells = (row.name, quantity(row.a, row.unit), quantity(row.b, row.unit), ratio, interval)
        table.add_row(*map(plain, cells))
    console.print(table)
    console.print(plain(comparison.caveat, "dim"))


def print_checks(console: Console, checks: Sequence[Check]) -> None:
    """Print what `doctor` found, and what each missing thing would need."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for check in checks:
        newest = f"(newest known: {check.newest})" if check.newest else ""
        told = ", ".join(part for part in (check.what, check.found) if part)
        table.add_row(Text(check.state, STYLES.get(check.state, "")), check.name, Wrapped(f"{told} {newest}".strip()))
        if check.needs:
            table.add_row("", "", Wrapped(check.needs, "dim"))
    console.print(table)
