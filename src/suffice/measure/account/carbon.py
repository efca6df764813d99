"""An energy and a place in, gCO2e out: energy x PUE x the grid's carbon intensity, with the range of all three.

It is the carbon of generating the electricity (location-based); making and scrapping the hardware is not in it.
"""

from __future__ import annotations

from suffice.measure.account.energy import in_kwh
from suffice.measure.account.place import Place
from suffice.records import Figure, looked_up, product


def carbon(energy: Figure, place: Place) -> Figure:
    """The carbon of an energy in J that was drawn at a place.

    Raises:
        ValueError: if the energy is not in J.
    """
    if energy.unit != "J":
        raise ValueError(f"carbon is worked out from an energy in J, found {energy.unit}")
    region = place.region
    method = (
        f"{in_kwh(energy).value:.4g} kWh x PUE {region.pue.low:g} to {region.pue.high:g} x "
        f"{region.intensity.low:g} to {region.intensity.high:g} g/kWh of {region.place}; {place.reason}; "
        "yearly means, so the hour's grid can lie outside"
    )
    return product("gCO2e", method, in_kwh(energy), pue(place), intensity(place))


def intensity(place: Place) -> Figure:
    """The carbon intensity of the place's grid in gCO2e per kWh."""
    grid = place.region.intensity
    return looked_up(
        grid.mid,
        "gCO2e/kWh",
        low=grid.low,
        high=grid.high,
        source=place.region.intensity_source,
        date=place.region.date,
        method=place.reason,
    )


def pue(place: Place) -> Figure:
    """The energy that the place's data centres draw for each unit that their machines draw."""
    factor = place.region.pue
    return looked_up(
        factor.mid,
        "1",
        low=factor.low,
        high=factor.high,
        source=place.region.pue_source,
        date=place.region.date,
        method=place.reason,
    )
