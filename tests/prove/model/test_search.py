"""The search's own decisions, on forms whose times and scores are told: what is bisected, what others start from."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suffice.form.description import Form, Port
from suffice.measure.model.subject import Subject
from suffice.prove.model.forms import ORIGINAL, Forms, Made
from suffice.prove.model.quality import Bar
from suffice.prove.model.search import ModelTerms, ModelTrials
from suffice.records import Change, FormTrial, Outcome, Risk, measured

SAMPLES = 2_000
PORT = Port(name="x", dtype="float32", shape=("batch", 4))
BROKEN = 0.01
QUANTISED = ("onnx-dynamic-int8", "onnx-static-int8", "openvino-weights", "openvino", "openvino-int8", "onnx-weights")


class Told:
    """Stands in for the forms' workers: a form's speed and the share of its samples that it loses are told by change.

    `told`: change's name -> (times as fast as the original, share of the samples lost); of "openvino-mixed" both lie
    between 8 bits and float32, by the share that is precise.
    """

    def __init__(self, folder: Path, told: dict[str, tuple[float, float]]) -> None:
        self.folder = folder
        self.told = told
        self.subject = Subject(
            target="made.py:model",
            parameters=1,
            weight_bytes=64 << 20,
            inputs=(PORT,),
            quality="accuracy",
            samples={"calibrate": 100, "search": SAMPLES, "held-out": 40},
        )
        self.scores = {(ORIGINAL, split): [1.0] * SAMPLES for split in ("search", "held-out")}
        self.original = Made(name=ORIGINAL, folder=self.new_folder(ORIGINAL), medians={1: 1.0}, ratios={1: 1.0})
        self.original.figures["memory_bytes"] = measured(1e6, "B")
        Form(backend="eager", file="made.py:model", inputs=(PORT,)).write(self.original.folder)
        self.worker = None
        self.built: dict[str, float] = {}

    def new_folder(self, name: str) -> Path:
        place = self.folder / name
        place.mkdir(parents=True)
        return place

    def build(self, change: Change, source: Made, made: Made, *, limit_s: float) -> None:  # noqa: ARG002 - as the real one's
        backend = "openvino" if change.id.startswith(("openvino", "static")) else "onnx_runtime"
        Form(backend=backend, file="model.xml", inputs=(PORT,)).write(made.folder)
        made.answers("search").write_text(made.name)
        self.built[made.name] = limit_s

    def open(self, made: Made) -> Any:  # noqa: ARG002 - as above
        return nullcontext()

    def distances(self, worker: None, made: Made) -> dict[str, Any]:  # noqa: ARG002 - as above
        return {"": {"finite": True, "cosine": 1.0, "length": 1.0, "error": 0.0}}

    def time(self, worker: None, made: Made, batches: Any, **_: Any) -> None:  # noqa: ARG002 - as above
        made.figures["memory_bytes"] = measured(1e6, "B")
        if made is self.original:
            return
        made.ratios[1] = self._told(made)[0]
        made.figures["speedup"] = measured(made.ratios[1], "x")

    def score(self, worker: None, made: Made, split: str) -> list[float]:  # noqa: ARG002 - as above
        lost = round(self._told(made)[1] * SAMPLES)
        return [0.0] * lost + [1.0] * (SAMPLES - lost)

    def _told(self, made: Made) -> tuple[float, float]:
        *_, last = (each for each in made.changes if each.id != "static-shapes")
        if last.id != "openvino-mixed":
            return self.told.get(last.id, (0.5, 1.0))  # slow, and wrong
        precise = float(last.settings["precise"])
        (quick, loses), (slow, _) = self.told["openvino-int8"], self.told["openvino"]
        return 1 / ((1 - precise) / quick + precise / slow), loses * (1 - precise) ** 2


def tried(folder: Path, told: dict[str, tuple[float, float]]) -> tuple[list[FormTrial], dict[str, str]]:
    """The trials of a search with a floor of half a point, and what was refused."""
    found = told | {"onnx-runtime": (2.0, 0.0)}
    forms: Any = Told(folder, found)
    search = ModelTrials(forms, ModelTerms(bar=Bar.parse("-0.01"), batches=(1,)), frozenset())
    return list(search.each()), dict(search.refused)


def test_the_end_is_kept_free(tmp_path: Path) -> None:
    """Of the time given a part is for the last comparison, and no build may take more than what is left before it."""
    forms: Any = Told(tmp_path, dict.fromkeys(QUANTISED, (2.0, 0.0)) | {"onnx-runtime": (2.0, 0.0)})
    now = [0.0]
    terms = ModelTerms(bar=Bar.parse("-0.01"), batches=(1,), seconds=3_000.0)
    search = ModelTrials(forms, terms, frozenset(), clock=lambda: now[0])
    search.original()
    calls = 5 * 20 * 10  # four forms and the original, rounds, calls of a second each
    assert search.deadline == pytest.approx(3_000 - calls - 2 * 40)
    now[0] = 1_000.0
    next(search.each())
    assert forms.built["onnx-runtime"] == pytest.approx(search.deadline - 1_000)
    now[0] = search.deadline + 1
    assert not list(search.each())
    assert {why for _, why in search.refused} >= {"no time was left for it: give more with --time"}


def shares(trials: list[FormTrial]) -> list[float]:
    """Which shares were left precise."""
    return [float(each.changes[-1].settings["precise"]) for each in trials if each.changes[-1].id == "openvino-mixed"]


def test_what_loses_too_much_is_bisected(tmp_path: Path) -> None:
    """By the share that is precise: what keeps the floor is made quicker, what misses it more precise."""
    trials, _ = tried(tmp_path, {"openvino": (2.0, 0.0), "openvino-int8": (6.0, BROKEN * 4)})
    assert shares(trials) == [0.5, 0.75, 0.625, 0.5625]
    kept = [shares([each])[0] for each in trials if shares([each]) and each.outcome is Outcome.KEPT]
    assert {0.75, 0.625} <= set(kept)
    trials, _ = tried(tmp_path / "less", {"openvino": (2.0, 0.0), "openvino-int8": (6.0, BROKEN)})
    assert shares(trials)[:2] == [0.5, 0.25]


def test_what_keeps_the_floor_is_not_bisected(tmp_path: Path) -> None:
    """It could only be slower."""
    trials, refused = tried(tmp_path, {"openvino": (2.0, 0.0), "openvino-int8": (6.0, 0.0)})
    assert shares(trials) == []
    assert "whose quality is in doubt" in refused["openvino-mixed"]


def test_what_is_no_quicker_is_not_bisected_further(tmp_path: Path) -> None:
    """The more is precise, the slower it is."""
    trials, refused = tried(tmp_path, {"openvino": (2.0, 0.0), "openvino-int8": (2.2, BROKEN * 50)})
    assert len(shares(trials)) < 4
    assert any("openvino-mixed" in name and "is faster than that" in why for name, why in refused.items())


@pytest.mark.parametrize("lost", [0.0, BROKEN * 4])
def test_what_rescues_is_tried_where_there_is_something_to_rescue(tmp_path: Path, lost: float) -> None:
    """Outliers are looked for where 8 bits for all lose too much."""
    trials, refused = tried(tmp_path, {"openvino": (2.0, 0.0), "onnx-dynamic-int8": (6.0, lost)})
    assert any(each.name.startswith("onnx-outliers") for each in trials) is (lost > 0)
    assert ("onnx-outliers" in refused) is (lost == 0)


@pytest.mark.parametrize(("lost", "most"), [(0.0, 1), (BROKEN, 2)])
def test_the_best_whose_quality_is_sure_gets_static_shapes_too(tmp_path: Path, lost: float, most: int) -> None:
    """Where the best one's is in doubt."""
    trials, _ = tried(tmp_path, {"openvino": (2.0, 0.0), "openvino-int8": (6.0, lost)})
    static = [each.name for each in trials if each.changes[-1].id == "static-shapes"]
    assert len(static) == most


def test_forms_are_what_the_search_is_given() -> None:
    """The one above has the methods of the real one that the search calls."""
    names = ("new_folder", "build", "open", "distances", "time", "score")
    assert all(callable(getattr(Forms, name)) and callable(getattr(Told, name)) for name in names)


@pytest.mark.parametrize("eight_bits_lose", [0.0, 0.5])
def test_a_structure_that_another_makes_needless_is_not_built(tmp_path: Path, eight_bits_lose: float) -> None:
    """Half of the channels hold, so three quarters need not; training for 8 bits is for where they lose too much."""
    structures = {"channel-pruning": (3.0, 0.0), "head-pruning": (3.0, 0.5), "low-rank": (3.0, 0.5)}
    told = dict.fromkeys(QUANTISED, (3.0, eight_bits_lose)) | {"onnx-runtime": (2.0, 0.0), "openvino": (2.0, 0.0)}
    others = {"quantisation-aware": (2.0, 0.0), "onnx-outliers": (1.0, 0.5)}
    forms: Any = Told(tmp_path, told | structures | others)
    layers = {"Linear": 6, "LayerNorm": 2}
    forms.subject = replace(forms.subject, fine_tune=True, fine_tune_steps=9, layers=layers)
    allow = frozenset({Risk.EXACT, Risk.NUMERIC, Risk.SEMANTIC})
    search = ModelTrials(forms, ModelTerms(bar=Bar.parse("-0.01"), batches=(1,), allow=allow), frozenset())
    names, refused = [each.name for each in search.each()], dict(search.refused)
    half, aware = "channel-pruning (keep=0.5, steps=9)", "quantisation-aware (steps=9)"
    assert refused["channel-pruning (keep=0.75, steps=9)"] == f"{half} holds, which makes it needless"
    assert "head-pruning (keep=0.75, steps=9)" in names
    assert (aware in names) == (eight_bits_lose > 0)
    assert (aware in refused) == (eight_bits_lose == 0)
    of_aware = {name.partition(" ")[0] for name in (*names, *refused) if name.endswith(f"of {aware}")}
    assert of_aware <= {"openvino", "openvino-int8", "onnx-dynamic-int8", "onnx-static-int8"}
    assert bool(of_aware) == (aware in names)
