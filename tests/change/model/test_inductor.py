"""AOTInductor: proposed where it can be built and may pay; its bundle runs without the user's code and a compiler."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from suffice.change.models import ORDER, build_form, change_of, technique
from suffice.form.description import Form, Port
from suffice.keep.bundle import write_bundle
from suffice.measure.model.subject import Subject
from suffice.measure.model.timing import Times, fastest
from suffice.measure.model.torch_target import inspect_module
from suffice.prove.model.forms import ORIGINAL, Made
from suffice.prove.model.quality import Bar
from suffice.prove.model.search import ModelTerms, ModelTrials, _simplicity
from suffice.run.worker import Worker
from tests.conftest import TIMEOUT_S
from tests.form.test_bundle import searched

TARGETS = Path(__file__).parents[2] / "form" / "targets.py"
INDUCTOR = technique("inductor")
SUBJECT = Subject(
    target="target.py:model",
    parameters=1,
    weight_bytes=4,
    inputs=(Port(name="x", dtype="float32", shape=("batch", 2)),),
    quality="agreement",
    samples={},
)


def test_it_comes_last_and_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler with the way to get it, or a module."""
    assert ORDER[-1] == "inductor"
    assert INDUCTOR.propose(replace(SUBJECT, target="model.onnx"), frozenset()).endswith("this is a graph already")
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no C++ compiler no-such-compiler: install one" in INDUCTOR.propose(SUBJECT, frozenset())
    monkeypatch.setenv("CXX", sys.executable)
    assert INDUCTOR.propose(SUBJECT, frozenset()) == [{}]


def made(folder: Path, name: str, backend: str, seconds: float, *changes: str) -> Made:
    """A form that takes so many seconds, where the original takes one."""
    place = folder / name
    place.mkdir()
    Form(backend=backend, file="model", inputs=SUBJECT.inputs).write(place)
    each = tuple(change_of(change, {}) for change in changes)
    return Made(name=name, folder=place, changes=each, medians={1: seconds}, ratios={1: 1 / seconds})


@pytest.fixture
def trials(tmp_path: Path) -> Callable[..., ModelTrials]:
    """A search with time left that has these good forms."""

    def search(*good: Made, left_s: float = 600.0) -> ModelTrials:
        original = made(tmp_path, ORIGINAL, "eager", 1.0)
        forms: Any = SimpleNamespace(original=original)
        terms = ModelTerms(bar=Bar.parse("-1%"), seconds=left_s)
        found = ModelTrials(forms, terms, frozenset(), clock=lambda: 0.0)
        found.good |= {each.name: each for each in good}
        return found

    return search


def test_it_is_built_where_it_may_still_win(tmp_path: Path, trials: Callable[..., ModelTrials]) -> None:
    """Its bound is over the quickest exact form, not over the original; without such a form there is no bound."""
    exact = made(tmp_path, "exact", "openvino", 0.5, "onnx-runtime", "openvino")
    rounded = made(tmp_path, "rounded", "openvino", 0.1, "onnx-runtime", "openvino", "openvino-int8")
    change = change_of("inductor", {})

    def told(search: ModelTrials) -> str | None:
        return search._not_worth(change, INDUCTOR, search.forms.original)

    for forms in ((), (exact,), (rounded,)):
        search = trials(*forms)
        assert told(search) is None
        search.forms.original.folder.joinpath("form.json").unlink()
        search.forms.original.folder.rmdir()
    assert "gains 2.5x at most over exact, and rounded is faster" in str(told(trials(exact, rounded)))


def test_it_is_not_begun_with_too_little_time(trials: Callable[..., ModelTrials]) -> None:
    """A build that would end after the search is none."""
    search = trials(left_s=INDUCTOR.BUILD_S - 1)
    why = search._not_worth(change_of("inductor", {}), INDUCTOR, search.forms.original)
    assert why == "no time was left for it: give more with --time"
    assert search._not_worth(change_of("onnx-runtime", {}), technique("onnx-runtime"), search.forms.original) is None


@pytest.mark.parametrize(("seconds", "chosen"), [(0.97, "graph"), (0.90, "code")])
def test_of_a_tie_the_graph_wins(tmp_path: Path, seconds: float, chosen: str) -> None:
    """Though it rounds and took more changes: machine code must be quicker by more than a tie."""
    graph = made(tmp_path, "graph", "openvino", 1.0, "onnx-runtime", "openvino", "openvino-int8")
    code = made(tmp_path, "code", "inductor", seconds, "inductor")
    times = {each.name: Times(slices=[[each.medians[1]] * 3]) for each in (graph, code)}
    assert fastest(times, {each.name: _simplicity(each) for each in (graph, code)}) == chosen


PROGRAM = """
import sys
import numpy as np, suffice
assert "targets" not in sys.modules
model = suffice.load(sys.argv[1], trust=True)
print(model.self_test() < 1e-5, model.notes)
for size, length in ((1, 2), (1, 9), (7, 5)):
    values = np.random.default_rng(0).normal(size=(size, length)).astype(np.float32)
    mask = np.ones_like(values)
    mask.flags.writeable = False
    first, second = model(values, mask)
    sums = values.sum(1, keepdims=True)
    print(first.shape, np.allclose(second, mask.cumsum(1)), np.allclose(first / first[0], sums / sums[0], rtol=1e-3))
try:
    model(np.ones((3, 10), np.float32), np.ones((3, 10), np.float32))
except Exception as error:
    print(error)
"""


@pytest.mark.slow
def test_its_bundle_runs_without_the_users_code_and_a_compiler(tmp_path: Path) -> None:
    """It takes every size within the bounds, and refuses others; building and running leave nothing behind."""
    target = f"{TARGETS}:two_inputs"
    subject = Subject.from_json(inspect_module({}, target, str(tmp_path / "samples"), trust=False, quality=None))
    source, form, scratch = (tmp_path / name for name in ("source", "form", "scratch"))
    for folder in (source, form, scratch):
        folder.mkdir()
    subject.form.write(source)
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(scratch)}
    named = {"source": str(source), "folder": str(form), "samples": str(tmp_path / "samples")}
    with Worker(form, environment=variables, limit_s=TIMEOUT_S) as worker:
        worker.call(f"{build_form.__module__}:build_form", "inductor", {}, **named)
        worker.call("suffice.form.calls:open_here", str(form), named["samples"], threads=1)
        worker.call("suffice.form.calls:write_sample", str(form / "sample.npz"))
    assert {each.name for each in form.iterdir()} == {"form.json", "model.pt2", "output.txt", "sample.npz"}
    write_bundle(searched(subject, "inductor"), form, tmp_path / "bundle")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "bundle")],
        env={**variables, "PATH": "", "CXX": "none"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "True ()",
        "(1, 1) True True",
        "(1, 1) True True",
        "(7, 1) True True",
        "values: the axis length may be 2 to 9, found 10",
    ]
    assert not [each.name for each in scratch.iterdir() if each.name.startswith(("aotinductor_", "torchinductor_"))]
