"""A figure never loses its unit, its origin and its range; the goal comes from file and flags."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suffice.errors import GoalError
from suffice.goal import read_goal
from suffice.records import Figure, Goal, Origin, Series, as_json, estimated, looked_up, measured, product

SIZE = st.floats(0, 1e9)
FIGURES = st.tuples(SIZE, SIZE, SIZE).map(
    lambda ends: estimated(sorted(ends)[1], "x", low=min(ends), high=max(ends), method="m", source="s", date="2026")
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"value": float("nan")}, "finite"),
        ({"value": float("inf")}, "finite"),
        ({"origin": Origin.ESTIMATED}, "low, high and method"),
        ({"origin": Origin.LOOKED_UP}, "source and date"),
        ({"low": 3.0}, "outside its own range"),
        ({"high": 1.0}, "outside its own range"),
    ],
)
def test_a_figure_that_says_too_little_can_not_be_made(changes: dict, words: str) -> None:
    """Each origin has fields that it owes."""
    with pytest.raises(ValueError, match=words):
        replace(measured(2.0, "s"), **changes)


@given(FIGURES, st.floats(1e-6, 1e6))
def test_a_figure_comes_back_equal_and_keeps_its_range_in_another_unit(figure: Figure, factor: float) -> None:
    """Through JSON, and through a change of unit, whose factor must be positive."""
    assert Figure.from_json(as_json(figure)) == figure
    assert figure.scaled(factor, "y").high == figure.high * factor
    with pytest.raises(ValueError, match="positive"):
        figure.scaled(-factor, "y")


@given(st.lists(FIGURES, min_size=1, max_size=3))
def test_a_product_ranges_from_all_low_to_all_high(factors: list[Figure]) -> None:
    """The range of a product holds every product of values within the factors' ranges."""
    made = product("y", "m", *factors)
    assert made.low <= made.value * (1 + 1e-9)
    assert made.high >= made.value * (1 - 1e-9)


def test_the_weakest_origin_stays() -> None:
    """What was multiplied with an estimate is one."""
    one, two = measured(2.0, "s"), looked_up(3.0, "USD/s", source="s", date="2026")
    assert product("s2", "m", one, one).origin is Origin.MEASURED
    assert product("x", "m", two, two).origin is Origin.LOOKED_UP
    assert product("USD", "m", one, two).origin is Origin.ESTIMATED


def test_a_series_has_a_time_for_each_value() -> None:
    """Columns of unequal length are no series."""
    with pytest.raises(ValueError, match="2 times but 1 values"):
        Series(name="s", unit="s", at_s=(1.0, 2.0), values=(1.0,))


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    """A flag that was not given leaves what the file says."""
    (tmp_path / "suffice.toml").write_text('[goal]\nregion = "eu-north-1"\nrate_usd_per_h = 2\n')
    assert read_goal(tmp_path, region=None, rate_usd_per_h=3.0) == Goal(region="eu-north-1", rate_usd_per_h=3.0)
    assert read_goal(tmp_path / "elsewhere") == Goal()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[goal", "can't be read"),
        ("goal = 3", "can't be read"),
        ("[goal]\ncolour = 1", "no 'colour'"),
        ("[goal]\nregion = 1", "region must be str, found 1"),
        ("[goal]\nrate_usd_per_h = true", "must be int or float, found True"),
        ("[goal]\nminimise = 'noise'", "'noise' can't be minimised"),
        ("[goal]\ndeadline_h = 0", "deadline_h must be more than 0"),
        ("[goal]\nfloor = 0.9", "a floor needs a number and a metric"),
    ],
)
def test_a_goal_that_does_not_exist_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """The error names the file, and what was found."""
    (tmp_path / "suffice.toml").write_text(text)
    with pytest.raises(GoalError, match=words):
        read_goal(tmp_path)
