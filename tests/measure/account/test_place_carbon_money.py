"""A place is named, asked for or unknown; carbon and money follow from it, each with its origin."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suffice.aws.instance_metadata import InstanceMetadata, NoInstanceMetadataError
from suffice.errors import GoalError
from suffice.measure.account.carbon import carbon
from suffice.measure.account.money import cost
from suffice.measure.account.place import find_place
from suffice.records import Figure, Goal, Origin, as_json, estimated, measured
from suffice.tables import regions

KWH_J = 3.6e6
HERE = InstanceMetadata(
    region="eu-north-1", availability_zone="eu-north-1a", instance_type="g5.xlarge", life_cycle="on-demand"
)
TODAY = "2026-11-21"


def never() -> InstanceMetadata:
    """Metadata that must not be asked for."""
    raise AssertionError("the metadata service was asked without leave")


def answer(**changes: str) -> InstanceMetadata:
    """What an instance says, with changes."""
    return InstanceMetadata(**{**as_json(HERE), **changes})


def refuse() -> InstanceMetadata:
    """A machine that is no EC2 instance."""
    raise NoInstanceMetadataError("no metadata service answered")


def test_the_goal_names_the_region():
    """What the user says is not asked again elsewhere."""
    place = find_place(Goal(region="us-west-2"), never)
    assert (place.region.code, place.known, place.reason) == ("us-west-2", True, "the goal names us-west-2")


def test_without_leave_the_metadata_are_not_asked():
    """Nobody said: the world's range, and how to narrow it."""
    place = find_place(Goal(), never)
    assert (place.region.code, place.known) == ("world", False)
    assert "name it, or allow the instance's metadata to be asked" in place.reason


def test_with_leave_the_instance_names_region_type_and_life_cycle():
    """The second source, after the goal."""
    place = find_place(Goal(use_instance_metadata=True), lambda: HERE)
    assert (place.region.code, place.instance, place.life_cycle) == ("eu-north-1", "g5.xlarge", "on-demand")
    assert place.reason == "the instance's metadata names eu-north-1"


def test_the_goal_outranks_the_instance_and_says_so():
    """A difference is shown, not hidden."""
    place = find_place(Goal(region="us-east-1", use_instance_metadata=True), lambda: HERE)
    assert (place.region.code, place.instance) == ("us-east-1", "g5.xlarge")
    assert "metadata names eu-north-1, and the goal has the say" in place.reason


def test_a_silent_service_leaves_the_world_or_the_goals_region():
    """Why the region is not known is part of the reason."""
    unknown = find_place(Goal(use_instance_metadata=True), refuse)
    assert (unknown.region.code, unknown.known) == ("world", False)
    assert "no metadata service answered" in unknown.reason
    assert find_place(Goal(region="us-east-1", use_instance_metadata=True), refuse).known


def test_a_region_newer_than_the_table_is_the_world_not_an_error():
    """AWS opens regions faster than tables are refreshed; a job must not fail for that."""
    place = find_place(Goal(use_instance_metadata=True), lambda: answer(region="xx-new-1"))
    assert (place.region.code, place.known) == ("world", False)
    assert "xx-new-1, which the table of regions does not have yet" in place.reason


@pytest.mark.parametrize("ask", [never, lambda: HERE])
def test_a_region_that_the_user_misspelt_is_an_error(ask):
    """A goal that names nothing is refused before anything is measured."""
    with pytest.raises(GoalError, match=r"unknown region 'eu-nord-1'; did you mean"):
        find_place(Goal(region="eu-nord-1", use_instance_metadata=ask is not never), ask)


def test_carbon_is_energy_times_pue_times_intensity():
    """1 kWh in Stockholm: PUE 1.09 times 27 g/kWh."""
    place = find_place(Goal(region="eu-north-1"), never)
    grams = carbon(measured(KWH_J, "J"), place)
    assert grams.value == pytest.approx(1.09 * 27.0)
    assert grams.low == pytest.approx(1.09 * 8.0)
    assert (grams.unit, grams.origin) == ("gCO2e", Origin.ESTIMATED)
    assert "the goal names eu-north-1" in grams.method
    assert "Ember" in grams.source


def test_an_unknown_place_is_wide_and_says_why():
    """The world's range is two orders of magnitude; a single number would be a lie."""
    grams = carbon(measured(KWH_J, "J"), find_place(Goal(), never))
    assert grams.high / grams.low > 100
    assert "the region is not known" in grams.method


@given(st.sampled_from([region.code for region in regions()]), st.floats(0, 1e9), st.floats(0, 1e9), st.floats(0, 1e9))
def test_carbon_ranges_are_ordered_and_finite(code: str, a: float, b: float, c: float):
    """Any energy at any place."""
    energy = estimated(a + b, "J", low=a, high=a + b + c, method="any")
    grams = carbon(energy, find_place(Goal(region=code), never))
    assert all(math.isfinite(x) for x in (grams.low, grams.value, grams.high))
    assert grams.low <= grams.value * 1.000001
    assert grams.value <= grams.high * 1.000001


def test_carbon_of_another_unit_is_refused():
    """A kWh taken for a J would be wrong by millions."""
    with pytest.raises(ValueError, match="from an energy in J, found kWh"):
        carbon(measured(1, "kWh"), find_place(Goal(), never))


def test_the_users_rate_comes_first():
    """Two hours at one's own rate, whatever the table says of the instance."""
    goal = Goal(region="us-east-1", instance="g5.xlarge", rate_usd_per_h=0.4)
    paid = cost(7200, goal, find_place(goal, never), TODAY)
    assert (paid.figure.value, paid.figure.unit, paid.figure.origin) == (pytest.approx(0.8), "USD", Origin.LOOKED_UP)
    assert (paid.figure.source, paid.figure.date) == ("your own rate", TODAY)


def test_the_table_gives_its_own_date():
    """A dated price is not made younger by being looked up today."""
    goal = Goal(region="us-east-1", instance="g5.xlarge")
    paid = cost(1800, goal, find_place(goal, never), TODAY)
    assert paid.figure.value == pytest.approx(0.503)
    assert paid.figure.date == "2026-01-19"
    assert "on demand in us-east-1 on 2026-01-19" in paid.reason


def test_a_price_without_a_region_says_so():
    """The only region of the table is named where none was given."""
    goal = Goal(instance="g5.xlarge")
    paid = cost(3600, goal, find_place(goal, never), TODAY)
    assert paid.figure.value == pytest.approx(1.006)
    assert "the region is not known" in paid.figure.method


@pytest.mark.parametrize(
    ("goal", "metadata", "why"),
    [
        (Goal(), never, "neither a rate nor an instance type is known"),
        (Goal(instance="z9.huge"), never, "does not have z9.huge"),
        (Goal(instance="ml.g5.xlarge"), never, "does not have ml.g5.xlarge"),
        (Goal(region="eu-west-3", instance="g5.xlarge"), never, "the job ran in eu-west-3"),
        (Goal(use_instance_metadata=True), lambda: answer(life_cycle="spot", region="us-east-1"), "a spot machine"),
    ],
)
def test_where_no_price_holds_there_is_none_but_a_way_to_one(goal: Goal, metadata, why: str):
    """Elsewhere, on spot and off the table a price would be a guess."""
    paid = cost(3600, goal, find_place(goal, metadata), TODAY)
    assert paid.figure is None
    assert why in paid.reason
    assert "give your own rate in USD an hour" in paid.reason


@pytest.mark.parametrize("rate", [-0.1, math.nan, math.inf])
def test_a_rate_that_cannot_be_is_refused(rate: float):
    """A negative rate is a typing error."""
    with pytest.raises(GoalError, match="0 USD an hour or more"):
        cost(1, Goal(rate_usd_per_h=rate), find_place(Goal(), never), TODAY)


def test_figures_survive_json():
    """What was estimated stays an estimate in the ledger."""
    grams = carbon(measured(KWH_J, "J"), find_place(Goal(region="us-east-1"), never))
    assert Figure.from_json(as_json(grams)) == grams
