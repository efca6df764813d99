"""Regions carry the range of several dated sources, and an unknown one is never guessed."""

import re

import pytest

from suffice.tables import find_region, regions, world


def test_all_commercial_regions_are_there_with_govcloud_and_china():
    """36 commercial regions, two of GovCloud, two of China, one sovereign."""
    codes = {region.code for region in regions()}
    assert len(codes) == 41
    assert {"us-east-1", "eu-north-1", "us-gov-west-1", "cn-northwest-1", "eusc-de-east-1"} <= codes


def test_every_range_contains_its_sources():
    """Low and high reach at least from the lowest to the highest of the figures that the row cites."""
    for region in (*regions(), world()):
        values = [float(value) for value in re.findall(r": ([\d.]+)(?:;|$)", region.intensity_source)]
        assert len(values) >= 2, region.code
        assert region.intensity.low <= min(values) + 0.05, region.code
        assert region.intensity.high >= max(values) - 0.05, region.code
        assert region.intensity.low <= region.intensity.mid <= region.intensity.high
        assert 1.0 <= region.pue.low <= region.pue.mid <= region.pue.high < 2
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", region.date)
        assert region.pue_source


def test_a_range_is_never_narrower_than_fifteen_per_cent_either_way():
    """Two years of one source agree too well to bound a place's grid."""
    for region in regions():
        assert region.intensity.low <= 0.85 * region.intensity.mid + 0.1, region.code
        assert region.intensity.high >= 1.15 * region.intensity.mid - 0.1, region.code


def test_regions_of_one_country_differ():
    """A country's mean would hide what matters most: Oregon's and Ohio's grids are not alike."""
    assert find_region("us-west-2").intensity.mid < 0.6 * find_region("us-east-2").intensity.mid


def test_the_world_is_wider_than_any_region():
    """An unknown place spans the cleanest and the dirtiest grid."""
    low = min(region.intensity.low for region in regions())
    high = max(region.intensity.high for region in regions())
    assert world().intensity.low <= low * 1.2
    assert world().intensity.high >= high
    assert world().intensity.high / world().intensity.low > 50


def test_an_unknown_region_is_refused_with_the_known_ones():
    """A typing error costs one look at the message."""
    with pytest.raises(
        ValueError, match=r"unknown region 'us-est-1'; did you mean .*us-east-1.*\? Known regions: af-south-1"
    ):
        find_region("us-est-1")
