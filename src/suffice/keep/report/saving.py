"""A search -> what its plan saves in a run and in a year: projections of a proven ratio, with their ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from suffice.keep.report.numbers import duration
from suffice.records import Figure, Profile, Search, estimated

NAMES = {"duration_s": "time", "energy_j": "energy", "carbon_gco2e": "carbon", "cost_usd": "money"}
HOUR_S = 3600.0
PER_RUN, PER_HOUR = "a run", "an hour of the plain job"


@dataclass(frozen=True, kw_only=True, slots=True)
class Saving:
    """What is saved of one quantity; `a_year` is None where the rate of runs is not known."""

    name: str
    each: Figure
    a_year: Figure | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Savings:
    """All that is saved. `per` is what `Saving.each` is saved in, `year` what a year was taken for, `basis` how."""

    per: str
    rows: tuple[Saving, ...]
    basis: str
    year: str | None = None
    missing: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plain:
    """The plain job: its quantities over `per`, and training's share of its time."""

    per: str
    totals: Mapping[str, Figure]
    training: float
    basis: str


def savings(search: Search) -> Savings | None:
    """What the plan saves; None where no ratio was proven, or nothing is known of what the plain job takes.

    The ratio is of training steps, so only the time in which the plain run trained is taken to shrink. Power, price and
    carbon intensity are taken as even. What a change takes once in a run (filling a cache, compiling) is not in it.
    """
    plain = _whole(search.whole_run) or _an_hour(search.before)
    shares = None if plain is None else _shares(plain, search.total)
    if plain is None or shares is None:
        return None
    rows = [_saving(name, plain, shares, search.runs_per_year) for name in NAMES if name in plain.totals]
    reasons = [(NAMES[name], _why(search, NAMES[name])) for name in NAMES if name not in plain.totals]
    in_runs = search.runs_per_year is not None and rows[0].a_year is not None
    return Savings(
        per=plain.per,
        rows=tuple(rows),
        basis=plain.basis,
        year=f"{search.runs_per_year:g} runs a year" if in_runs else None,
        missing=tuple(reasons),
    )


def takes(search: Search) -> Mapping[str, Figure]:
    """What a whole run takes with what was kept, by the names of a profile's figures; empty where none was measured."""
    plain = _whole(search.whole_run)
    if plain is None:
        return {}
    if not search.kept:
        return plain.totals
    shares = _shares(plain, search.total)
    if shares is None:
        return {}
    least, likely, most = shares
    return {
        name: estimated(
            whole.value * (1 - likely),
            whole.unit,
            low=_low(whole) * (1 - most),
            high=_high(whole) * (1 - least),
            method=plain.basis,
        )
        for name, whole in plain.totals.items()
    }


def pays_back(search: Search, saved: Savings) -> str | None:
    """After how much of the job the search itself is paid back, in words."""
    each = saved.rows[0].each
    if each.value <= 0:
        return None
    count = search.seconds / each.value
    runs = "the first run" if count <= 1 else f"{count:.2g} runs"
    told = runs if saved.per == PER_RUN else f"{duration(count * HOUR_S)} of what was the plain job's training"
    return f"the search took {duration(search.seconds)}: it is paid back after {told}"


def _whole(run: Profile | None) -> _Plain | None:
    if run is None or run.state != "finished" or "duration_s" not in run.figures:
        return None
    took_s, trained_s = run.figures["duration_s"].value, _trained_s(run)
    if not took_s or not trained_s:
        return None
    share = min(1.0, trained_s / took_s)
    basis = f"projected on run {run.run}, which trained for {share:.0%} of its {duration(took_s)}"
    return _Plain(per=PER_RUN, totals=_known(run), training=share, basis=basis)


def _an_hour(run: Profile) -> _Plain | None:
    """The job at the rate at which it went when it was looked at, for an hour of nothing but training."""
    took = run.figures.get("duration_s")
    if took is None or not took.value or not _trained_s(run):
        return None
    totals = {name: figure.scaled(HOUR_S / took.value, figure.unit) for name, figure in _known(run).items()}
    basis = "projected on an hour of nothing but training, since no measured whole run was at hand"
    return _Plain(per=PER_HOUR, totals=totals, training=1.0, basis=basis)


def _known(run: Profile) -> dict[str, Figure]:
    return {name: run.figures[name] for name in NAMES if name in run.figures}


def _trained_s(run: Profile) -> float:
    return max((rank.figures["training_s"].value for rank in run.ranks if "training_s" in rank.figures), default=0.0)


def _shares(plain: _Plain, ratio: Figure | None) -> tuple[float, float, float] | None:
    """The least, the likeliest and the largest share of the whole that a ratio saves.

    None where the ratio has no bounds: a projection without a range would claim too much.
    """
    if ratio is None or ratio.low is None or ratio.high is None:
        return None
    least, likely, most = (plain.training * (1 - 1 / end) for end in (ratio.low, ratio.value, ratio.high))
    return least, likely, most


def _saving(name: str, plain: _Plain, shares: tuple[float, float, float], runs_per_year: float | None) -> Saving:
    whole, (least, likely, most) = plain.totals[name], shares
    ends = [total * share for total in (_low(whole), _high(whole)) for share in (least, most)]
    each = estimated(
        whole.value * likely,
        whole.unit,
        low=min(ends),
        high=max(ends),
        method="the proven ratio of steps over the time in which the plain job trains, at even power and price",
    )
    in_a_year = plain.per == PER_RUN and runs_per_year is not None and runs_per_year > 0
    year = each.scaled(runs_per_year, each.unit) if in_a_year and runs_per_year else None
    return Saving(name=NAMES[name], each=each, a_year=year)


def _low(figure: Figure) -> float:
    return figure.value if figure.low is None else figure.low


def _high(figure: Figure) -> float:
    return figure.value if figure.high is None else figure.high


def _why(search: Search, name: str) -> str:
    """Why a quantity of the plain job is not known: its note says so."""
    notes = (note.text for run in (search.whole_run, search.before) if run for note in run.notes)
    return next(
        (text.partition(":")[2].strip() for text in notes if text.startswith(f"{name}:")), "it was not measured"
    )
