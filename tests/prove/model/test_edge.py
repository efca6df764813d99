"""For edge the smallest form is chosen, of a tie the one that starts soonest, and none that holds too much memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from suffice.change.model import inductor
from suffice.change.model.rounding.units import nothing_to_read
from suffice.form.description import Form, Port
from suffice.measure.model.subject import Subject
from suffice.prove.model.forms import ORIGINAL, Made
from suffice.prove.model.quality import Bar
from suffice.prove.model.search import ModelTerms, ModelTrials
from suffice.records import Outcome, measured

MIB = 2**20
SUBJECT = Subject(
    target="model.onnx",
    parameters=1,
    weight_bytes=900,
    inputs=(Port(name="x", dtype="float32", shape=("batch", 2)),),
    quality="accuracy",
    samples={"search": 1},
    by_size=True,
)


class Planned:
    """Forms by hand: of each technique the size, the seconds of its start, the MiB held and whether it is right."""

    def __init__(self, folder: Path, plan: dict[str, tuple[float, float, float, bool]]) -> None:
        self.plan = plan
        self.subject = SUBJECT
        self.original = Made(name=ORIGINAL, folder=folder, figures={"size_bytes": measured(900.0, "B")})
        SUBJECT.form.write(folder)
        self.scores = {(ORIGINAL, split): [1.0] * 400 for split in ("search", "held-out")}
        self.opened: list[str] = []

    def new_folder(self, name: str) -> Path:
        """One that nobody writes to but the search."""
        folder = self.original.folder / str(len(list(self.original.folder.iterdir())))
        folder.mkdir()
        (folder / "search.npz").write_text(name)
        return folder

    def build(self, change: Any, _: Made, made: Made, *, limit_s: float) -> None:
        """Its size."""
        assert limit_s > 0
        Form(backend=change.id.split("-")[0], file="model", inputs=SUBJECT.inputs).write(made.folder)
        made.figures["size_bytes"] = measured(self.plan[change.id][0], "B")

    @contextmanager
    def open(self, made: Made) -> Iterator[Any]:
        """Its start and its memory."""
        self.opened.append(made.name)
        _, start_s, held, _ = self.plan[made.changes[-1].id]
        made.figures |= {"load_s": measured(start_s, "s"), "first_s": measured(0.0, "s")}
        made.figures["memory_bytes"] = measured(held * MIB, "B")
        yield self

    def call(self, *_: object) -> None:
        """Nothing is asked of a form but its scores."""

    def wake(self) -> None:
        """The original is not open."""

    def distances(self, *_: object) -> dict[str, dict[str, float]]:
        """As near as can be."""
        return {"": {"finite": 1.0, "cosine": 1.0, "length": 1.0, "error": 0.0}}

    def time(self, *_: object, **__: object) -> None:
        """Nobody asks for it."""

    def score(self, _: object, made: Made, split: str) -> list[float]:
        """All right, or none held out."""
        right = self.plan[made.changes[-1].id][3] or split == "search"
        self.scores[made.name, split] = [float(right)] * 400
        return self.scores[made.name, split]


def searched(folder: Path, plan: dict[str, tuple[float, float, float, bool]], **terms: Any) -> tuple[Any, Any, Planned]:
    """The trials of these forms, those of other techniques being much larger, and what is chosen in the end."""
    forms = Planned(folder, plan)
    for name in ("onnx-runtime", "openvino", "openvino-int8", "openvino-weights", "onnx-dynamic-int8"):
        plan.setdefault(name, (5000.0, 1.0, 10.0, True))
    for name in ("onnx-static-int8", "onnx-weights", "static-shapes", "openvino-bf16"):
        plan.setdefault(name, (5000.0, 1.0, 10.0, True))
    search = ModelTrials(forms, ModelTerms(bar=Bar.parse("-0.05"), minimise="edge", **terms), frozenset())  # type: ignore[arg-type]
    trials = {trial.name: trial for trial in search.each()}
    return search.choose(), trials, forms


def test_the_smallest_is_chosen_though_the_original_is_smaller(tmp_path: Path) -> None:
    """It can't be put into a bundle. One that is smaller still but wrong held out is not."""
    plan = {"onnx-runtime": (1000.0, 1.0, 10.0, True), "onnx-dynamic-int8": (300.0, 1.0, 10.0, False)}
    chosen, _, _ = searched(tmp_path, plan)
    assert chosen == "onnx-runtime"


def test_weights_alone_are_tried_for_their_size(tmp_path: Path) -> None:
    """Of a model so small that reading them takes no time, and only where size is what counts."""
    assert nothing_to_read(SUBJECT) == ""
    assert "stay in the processor's caches" in nothing_to_read(replace(SUBJECT, by_size=False))
    assert "takes PyTorch" in inductor.propose(replace(SUBJECT, target="target.py:model"), frozenset())
    kinds = {"Conv2d": 20, "BatchNorm2d": 20, "Linear": 1}
    assert nothing_to_read(replace(SUBJECT, layers=kinds)) == ""
    large = replace(SUBJECT, layers=kinds, by_size=False, weight_bytes=1 << 30)
    assert "convolutions" in nothing_to_read(large)
    assert nothing_to_read(replace(large, layers={"Conv1d": 1, "Linear": 24, "LayerNorm": 12})) == ""
    _, trials, _ = searched(tmp_path, {})
    assert "openvino-weights (bits=4)" in trials


def test_of_a_tie_the_one_that_starts_soonest(tmp_path: Path) -> None:
    """Within five parts of a hundred; each is started several times."""
    plan = {"onnx-runtime": (1000.0, 0.9, 10.0, True), "openvino": (1040.0, 0.4, 10.0, True)}
    chosen, _, forms = searched(tmp_path, plan)
    assert chosen == "openvino"
    assert min(forms.opened.count(name) for name in ("onnx-runtime", "openvino")) >= 4
    plan["openvino"] = (1060.0, 0.4, 10.0, True)
    assert searched(tmp_path, plan)[0] == "onnx-runtime"


def test_what_holds_too_much_is_refused_and_others_start_from_it(tmp_path: Path) -> None:
    """With what it held and what it may; nothing is chosen where all do."""
    plan = {"onnx-runtime": (100.0, 1.0, 80.0, True), "openvino": (200.0, 1.0, 30.0, True)}
    chosen, trials, _ = searched(tmp_path, plan, memory_bytes=64 * MIB)
    assert chosen == "openvino"
    assert trials["onnx-runtime"].outcome is Outcome.REFUSED
    assert "held 80 MiB when it was opened and called once, 64 MiB are allowed" in trials["onnx-runtime"].reason
    assert searched(tmp_path, plan, memory_bytes=5 * MIB)[0] == ORIGINAL
