"""The published schema of a profile: real profiles pass, broken ones don't, and neither it nor its document drifts."""

import copy
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from suffice.measure.peak import Peaks
from suffice.measure.profile import fold
from suffice.records import PROFILE_SCHEMA, Figure, Loader, Note, Profile, Rank, Series, Target, as_json
from tests.conftest import JOBS, Measured
from tests.keep.report.made_profiles import empty, on_gpus
from tests.recordings.make_gpu import write

SCHEMA = json.loads(files("suffice.keep").joinpath("profile.schema.json").read_text())
DOCUMENT = (Path(__file__).parents[2] / "docs" / "reference" / "profile.md").read_text()
VALIDATOR = Draft202012Validator(SCHEMA)


def faults(profile: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(profile)]


@pytest.fixture(scope="module")
def gpu_run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("gpu")
    return as_json(fold(write(folder / "run"), Peaks(folder / "peaks.json")))


@pytest.fixture
def broken(gpu_run: dict[str, Any]) -> dict[str, Any]:
    """A copy to break."""
    return copy.deepcopy(gpu_run)


def test_the_schema_is_one() -> None:
    """It is valid by its own draft, and of the version that profiles have."""
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema"]["const"] == PROFILE_SCHEMA


@pytest.mark.parametrize("made", [empty, on_gpus, lambda: on_gpus(ranks=1, steps=3)], ids=["empty", "gpus", "short"])
def test_profiles_made_by_hand_pass(made: Callable[[], Profile]) -> None:
    """Whatever the reports are tested with is what the schema allows."""
    assert faults(as_json(made())) == []


def test_a_gpu_run_passes(gpu_run: dict[str, Any]) -> None:
    """The fold of a GPU's run is what the schema says."""
    assert faults(gpu_run) == []


def test_what_is_measured_passes_and_is_documented(measure: Callable[..., Measured], gpu_run: dict[str, Any]) -> None:
    """A job with loaders, and a command that trains nothing; every figure stands in the document with its unit."""
    trained = as_json(measure([sys.executable, str(JOBS / "cnn.py"), "--workers", "1"]).profile)
    other = as_json(measure(["true"], "--rate", "2", "--region", "eu-north-1").profile)
    for profile in (trained, other):
        assert faults(profile) == []
    assert trained["ranks"][0]["loaders"]
    for profile in (trained, other, gpu_run):
        undocumented = [f"{name} in {unit}" for name, unit in named(profile) if not is_documented(name, unit)]
        assert undocumented == []


def named(profile: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and units of the figures and series that have a row each."""
    tables = [profile["figures"]]
    for rank in profile["ranks"]:
        tables += [rank["figures"], *(loader["figures"] for loader in rank["loaders"])]
    for table in tables:
        yield from ((name, figure["unit"]) for name, figure in table.items())
    stepwise = re.compile(r"(wait_for_data|copy|forward|backward|optimiser|other|evaluation_\w+)_s")
    yield from ((s["name"], s["unit"]) for s in profile["series"] if not stepwise.fullmatch(s["name"]))


def is_documented(name: str, unit: str) -> bool:
    """Whether a row of the document names it with that unit."""
    rows = [[cell.strip() for cell in line.split("|")[1:]] for line in DOCUMENT.splitlines() if line.startswith("| `")]
    return any(f"`{name}`" in row[0] and row[1] == unit for row in rows)


def test_an_undocumented_figure_is_noticed() -> None:
    """The check above can fail: for a name, and for a unit."""
    assert is_documented("duration_s", "s")
    assert not is_documented("duration_s", "ms")
    assert not is_documented("invented_s", "s")


@pytest.mark.parametrize(
    ("record", "place"),
    [
        (Profile, SCHEMA),
        *((kind, SCHEMA["$defs"][kind.__name__.lower()]) for kind in (Figure, Target, Rank, Loader, Series, Note)),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_every_field_is_in_the_schema_and_in_the_document(record: type, place: dict[str, Any]) -> None:
    """A field that comes, goes or changes its name takes schema and document with it."""
    names = {field.name for field in fields(record)}
    assert place["properties"].keys() == names
    assert set(place["required"]) <= names
    assert [name for name in sorted(names) if f"`{name}`" not in DOCUMENT] == []


def test_every_fact_in_the_schema_is_in_the_document() -> None:
    """The facts of the machine, of its GPUs and of a rank are explained."""
    for part in ("machine", "gpu", "facts"):
        assert [name for name in SCHEMA["$defs"][part]["properties"] if f"`{name}`" not in DOCUMENT] == []


def test_every_property_says_what_it_is() -> None:
    """A schema is read by people."""
    places = [SCHEMA, *SCHEMA["$defs"].values()]
    properties = [pair for place in places for pair in place.get("properties", {}).items()]
    silent = [name for name, each in properties if "description" not in each and "$ref" not in each]
    assert silent == []


def set_to(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(profile: dict[str, Any]) -> None:
        at: Any = profile
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value

    return change


def drop(*path: str | int) -> Callable[[dict[str, Any]], None]:
    def change(profile: dict[str, Any]) -> None:
        at: Any = profile
        for step in path[:-1]:
            at = at[step]
        del at[path[-1]]

    return change


BREAKS = {
    "figure without unit": drop("figures", "duration_s", "unit"),
    "figure without origin": drop("figures", "duration_s", "origin"),
    "unknown origin": set_to("figures", "duration_s", "origin", value="guessed"),
    "estimate without range": drop("figures", "energy_j", "high"),
    "estimate without method": drop("figures", "energy_j", "method"),
    "looked up without source": set_to("figures", "cost_usd", value={"value": 1, "unit": "USD", "origin": "looked up"}),
    "negative steps": set_to("ranks", 0, "figures", "steps", "value", value=-1),
    "negative energy": set_to("figures", "gpu0_energy_j", "value", value=-1.0),
    "text for a number": set_to("figures", "duration_s", "value", value="20"),
    "bare number": set_to("figures", "duration_s", value=20),
    "part in another unit": set_to("parts", "start_up_s", "unit", value="ms"),
    "split in another unit": set_to("ranks", 0, "split", "forward_s", "unit", value="s"),
    "no state": drop("state"),
    "unknown state": set_to("state", value="fine"),
    "another version": set_to("schema", value=2),
    "unknown field": set_to("colour", value="red"),
    "unknown field of a rank": set_to("ranks", 0, "colour", value="red"),
    "time without zone": set_to("started", value="2026-01-02 03:04:05"),
    "no command": set_to("target", "command", value=[]),
    "command as text": set_to("target", "command", value="python train.py"),
    "negative rank": set_to("ranks", 0, "rank", value=-1),
    "series of text": set_to("series", 0, "values", value=["1"]),
    "null": set_to("figures", "duration_s", "low", value=None),
    "note of no level": drop("notes", 0, "level"),
    "half a worker": set_to("ranks", 0, "loaders", 0, "workers", value=0.5),
}


@pytest.mark.parametrize("change", BREAKS.values(), ids=BREAKS)
def test_what_is_broken_is_refused(broken: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> None:
    """One change makes a profile that the schema refuses."""
    change(broken)
    assert faults(broken)


def test_a_loss_may_be_negative(broken: dict[str, Any]) -> None:
    """Of all figures, a loss alone can lie below zero."""
    broken["ranks"][0]["figures"]["last_loss"]["value"] = -3.0
    assert faults(broken) == []
