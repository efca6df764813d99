"""CSV rows in, ranges out: the low, mid and high of an uncertain number, and how a table file is read."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import NamedTuple


class Range(NamedTuple):
    """An uncertain number: the truth is expected between `low` and `high`, `mid` is the best single guess."""

    low: float
    mid: float
    high: float

    def scaled(self, factor: float) -> Range:
        """The same range in another unit; `factor` must not be negative."""
        return Range(self.low * factor, self.mid * factor, self.high * factor)


@cache
def read_rows(table: str) -> tuple[Mapping[str, str], ...]:
    """The rows of `<table>.csv`, in the file's order."""
    text = files(__package__).joinpath(f"{table}.csv").read_text(encoding="utf-8")
    return tuple(MappingProxyType(row) for row in csv.DictReader(text.splitlines()))


def range_in(row: Mapping[str, str], column: str) -> Range:
    """The three columns `<column>_low`, `_mid` and `_high` of a row."""
    return Range(*(float(row[f"{column}_{part}"]) for part in Range._fields))
