"""A figure -> as a person writes it: three digits, a prefix that fits, its range, and where it comes from."""

from __future__ import annotations

from suffice.records import Figure, Origin

SMALL = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"))
LARGE = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
BINARY = ((2.0**40, "Ti"), (2.0**30, "Gi"), (2.0**20, "Mi"), (2.0**10, "Ki"), (1.0, ""))
LADDERS = {
    "s": SMALL,
    "J": LARGE + SMALL,
    "W": LARGE + SMALL,
    "gCO2e": ((1e6, "M"), (1e3, "k"), *SMALL),
    "FLOP": (*LARGE, (1.0, "")),
    "B": BINARY,
}
MINUTE_S, HOUR_S = 60, 3600


def digits(value: float) -> str:
    """Three significant digits, without an exponent where a reader would not write one."""
    size = abs(value)
    if size >= 99.95:
        return f"{value:,.0f}"
    if size >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.9995 else f"{value:.3g}"


def quantity(value: float, unit: str) -> str:
    """A value with its unit, scaled where the unit takes a prefix: 12.3 ms, 4.56 kJ, 1.20 GiB, 62.0 %."""
    if unit == "share":
        return f"{100 * value:.1f} %"
    if unit == "s" and value >= 2 * MINUTE_S:
        return duration(value)
    base, slash, per = unit.partition("/")
    ladder = LADDERS.get(base)
    if ladder is None or value == 0:
        return f"{digits(value)} {unit}"
    factor, prefix = next((step for step in ladder if abs(value) >= 0.9995 * step[0]), ladder[-1])
    return f"{digits(value / factor)} {prefix}{base}{slash}{per}"


def duration(seconds: float) -> str:
    """Seconds as hours, minutes and seconds, the first two that are there."""
    hours, rest = divmod(seconds, HOUR_S)
    minutes, rest = divmod(rest, MINUTE_S)
    if hours:
        return f"{hours:.0f} h {minutes:.0f} min"
    return f"{minutes:.0f} min {rest:.0f} s" if minutes else f"{digits(seconds)} s"


def with_range(figure: Figure) -> str:
    """The value, and unless it was measured its range, in the same unit."""
    text = quantity(figure.value, figure.unit)
    if figure.origin is Origin.MEASURED or figure.low is None or figure.high is None:
        return text
    return f"{text} ({quantity(figure.low, figure.unit)} to {quantity(figure.high, figure.unit)})"


def ends(figure: Figure) -> tuple[float, float]:
    """Its range; the value itself where an end is not known."""
    low, high = (figure.value if each is None else each for each in (figure.low, figure.high))
    return low, high


def origin(figure: Figure) -> str:
    """Where the figure comes from, with the date of what was looked up."""
    dated = figure.origin is Origin.LOOKED_UP and figure.date
    return f"{figure.origin.value} {figure.date}" if dated else figure.origin.value
