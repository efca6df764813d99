"""A duration, a goal and a place in, USD out: by the user's own rate, else by a dated price, else nothing and why."""

from __future__ import annotations

import math
from typing import NamedTuple

from suffice.errors import GoalError
from suffice.measure.account.place import Place
from suffice.records import Figure, Goal, looked_up
from suffice.tables import Price, find_price

S_PER_H = 3600.0
GIVE_A_RATE = "give your own rate in USD an hour to have a cost"


class Cost(NamedTuple):
    """What the time cost, and the sentence that says by which rate, or why there is no figure."""

    figure: Figure | None
    reason: str


def cost(duration_s: float, goal: Goal, place: Place, today: str) -> Cost:
    """The cost of having a machine for `duration_s`; `today` (YYYY-MM-DD) dates the user's own rate.

    A user's rate is a fact that was looked up on the day the user gave it: time is measured, so nothing in the product
    is an estimate. A price from the table holds for on-demand machines in the table's one region, and is refused
    elsewhere and for spot machines, whose price is another one each hour.

    Raises:
        GoalError: if the user's rate is not a number of 0 or more.
    """
    if goal.rate_usd_per_h is not None:
        return _by_own_rate(duration_s, goal.rate_usd_per_h, today)
    if place.instance is None:
        return Cost(None, f"no cost: neither a rate nor an instance type is known; {GIVE_A_RATE}")
    price = find_price(place.instance)
    if price is None:
        return Cost(None, f"no cost: the table of prices does not have {place.instance}; {GIVE_A_RATE}")
    return _by_table(duration_s, price, place)


def _by_own_rate(duration_s: float, rate_usd_per_h: float, today: str) -> Cost:
    if not (math.isfinite(rate_usd_per_h) and rate_usd_per_h >= 0):
        raise GoalError(f"a rate must be 0 USD an hour or more, found {rate_usd_per_h}")
    reason = f"your own rate, {rate_usd_per_h:g} USD an hour"
    return Cost(_priced(duration_s, rate_usd_per_h, reason, "your own rate", today), reason)


def _by_table(duration_s: float, price: Price, place: Place) -> Cost:
    shown = f"{price.usd_per_h:g} USD an hour for {price.type} on demand in {price.region} on {price.date}"
    if place.life_cycle not in (None, "on-demand"):
        return Cost(None, f"no cost: this is a {place.life_cycle} machine, and the table has {shown}; {GIVE_A_RATE}")
    if place.known and place.region.code != price.region:
        return Cost(None, f"no cost: the job ran in {place.region.code}, and the table has {shown}; {GIVE_A_RATE}")
    reason = shown if place.known else f"{shown}; the region is not known, other regions cost up to a few tenths more"
    return Cost(_priced(duration_s, price.usd_per_h, reason, price.source, price.date), reason)


def _priced(duration_s: float, usd_per_h: float, method: str, source: str, date: str) -> Figure:
    return looked_up(duration_s / S_PER_H * usd_per_h, "USD", source=source, date=date, method=method)
