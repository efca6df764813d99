"""Every rule: its name, its practice, and what holds for whatever profile it is given."""

import dataclasses
import sys
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from made_jobs import FACTS, GPU_FACTS, QUIET, loads, profile, quiet, quiet_gpu, rank, with_gauges, with_steps
from test_ladder import PLANTED

from suffice.change.catalog import CATALOG
from suffice.diagnose import practices
from suffice.diagnose.ladder import DATA, HOST, HOST_UNTOLD, WORK, diagnose
from suffice.diagnose.view import bound_of, view_of
from suffice.measure.loading import BOTH, COMPUTE, IO, LOCKED, NOT_LIMITING, UNKNOWN
from suffice.records import Finding, Profile, Series, as_json, measured

ROOT = Path(__file__).parents[2]
RULES = (*DATA, *HOST, *HOST_UNTOLD, *WORK)
FILES = {p.stem for p in (ROOT / "src/suffice/diagnose/rules").rglob("*.py") if p.stem != "__init__"}
RUNG_OF = {"data": 2, "host": 3, "work": 4}


def test_each_rule_has_its_rung() -> None:
    """No file of a rule is left out of the ladder, and each holds the function of its name."""
    assert {rule.__name__ for rule in RULES} == FILES
    assert all(rule.__module__.endswith(f".{rule.__name__}") for rule in RULES)


def test_each_rule_is_planted() -> None:
    """There is a made-up job for each rule that offers a cure."""
    planted = {rule.replace("-", "_") for _, _, rule, _ in PLANTED}
    assert FILES - planted == {"other_work", "processor_waits"}


@pytest.mark.parametrize(("job", "name"), [(job, rule) for job, _, rule, _ in PLANTED])
def test_a_finding_speaks_for_itself(job, name) -> None:
    """Its id is the file's name, its rung the folder's, its practice the guidance's, its evidence the profile's."""
    finding = next(each for each in diagnose(job()).findings if each.id == name)
    rule = next(each for each in RULES if each.__name__.replace("_", "-") == name)
    assert finding.rung == RUNG_OF[rule.__module__.split(".")[-2]]
    assert finding.practice in vars(practices).values()
    assert finding.practice in (ROOT / "docs/guidance.md").read_text()
    assert finding.sentence[0].islower() or finding.sentence[0].isdigit()
    assert not finding.sentence.endswith(".")
    assert as_json(finding)["bound"] == finding.bound


@pytest.mark.parametrize("job", [job for job, *_ in PLANTED])
def test_what_cures_is_a_technique(job) -> None:
    """A cure is the id of a technique; advice that no technique carries out stands in the sentence."""
    assert {cure for finding in diagnose(job()).findings for cure in finding.cures} <= set(CATALOG)


@pytest.mark.parametrize(
    ("wrong", "words"), [({"rung": 0}, "1 to 5"), ({"bound": 0.99}, "at least 1"), ({"bound": float("inf")}, "finite")]
)
def test_a_finding_that_promises_nonsense_is_refused(wrong, words) -> None:
    """No rung beside the ladder, no bound below one and none without end."""
    fields = {"id": "x", "rung": 2, "sentence": "s", "evidence": {}, "bound": 2.0, "practice": "p", **wrong}
    with pytest.raises(ValueError, match=words):
        Finding(**fields)


def test_amdahl() -> None:
    """62 % of a step bound the gain at 2.6; all of it at a large number, not at infinity."""
    assert bound_of(0.62) == pytest.approx(2.63, abs=0.01)
    assert bound_of(0.0) == 1.0
    assert bound_of(1.0) == bound_of(7.0) == pytest.approx(1000)


def test_the_rank_that_waits_for_data_is_looked_at() -> None:
    """Of two ranks the second waits: its loader is diagnosed."""
    waiting = rank(1, split={**QUIET, "wait_for_data": 0.05}, loader=loads("I/O"))
    view = view_of(profile(rank(0), waiting))
    assert view is not None
    assert view.rank.rank == 1


def test_a_gauge_is_read_while_the_job_trains() -> None:
    """Readings before the loop and after it don't count, and without one in it there is no gauge."""
    job = with_steps(quiet(), "step_s", [0.1] * 40)
    later = with_gauges(job, pressure_cpu=[0.1] * 8 + [0.9] * 32)
    view = view_of(later)
    assert view is not None
    assert view.gauge("pressure_cpu").value == pytest.approx(0.1)  # type: ignore[union-attr]
    empty = dataclasses.replace(
        later, series=(*job.series[:1], Series(name="g", unit="1", at_s=(1e9,), values=(1.0,)), *job.series[1:])
    )
    assert view_of(empty).gauge("g") is None  # type: ignore[union-attr]


SECONDS = st.floats(min_value=0, max_value=1e6)
NUMBERS = st.floats(min_value=-1e9, max_value=1e9)
SHARES = st.floats(min_value=0, max_value=1)


@st.composite
def partial_profiles(draw) -> Profile:
    """Profiles in which anything may be missing or out of all proportion."""
    parts = draw(st.dictionaries(st.sampled_from(sorted({*QUIET, "copy"})), SECONDS))
    figures = draw(st.dictionaries(st.sampled_from(FIGURES), NUMBERS))
    facts = draw(st.fixed_dictionaries({}, optional={name: st.just(value) for name, value in GPU_FACTS.items()}))
    facts |= draw(
        st.fixed_dictionaries({}, optional={"intra_op_threads": st.integers(0, 64), "world_size": st.integers(0, 4)})
    )
    loader = dataclasses.replace(
        loads(draw(st.sampled_from([IO, COMPUTE, BOTH, LOCKED, NOT_LIMITING, UNKNOWN, None]))),
        workers=draw(st.integers(0, 99)),
        batch_size=draw(st.none() | st.integers(0, 99)),
        reason=draw(st.none() | st.text(max_size=5)),
        figures={n: measured(draw(NUMBERS), "1") for n in draw(st.sets(st.sampled_from(LOADER_FIGURES)))},
    )
    one = dataclasses.replace(
        rank(device=draw(st.sampled_from(["cpu", "cuda:0", "unknown"])), facts=facts),
        split={f"{name}_s": measured(value, "s/step") for name, value in parts.items()},
        device_split={
            f"{name}_s": measured(value, "s/step") for name, value in draw(st.sampled_from([parts, {}])).items()
        },
        figures={name: measured(value, "1") for name, value in figures.items()},
        loaders=draw(st.sampled_from([(), (loader,)])),
    )
    ranks = (one, dataclasses.replace(one, rank=1, split=dict(list(one.split.items())[1:])))[: draw(st.integers(0, 2))]
    machine = {
        "processors_allowed": draw(st.floats(0, 99)),
        "memory_limit_gib": draw(NUMBERS),
        "gpus": [{"index": 0}, {}],
    }
    kept = draw(st.sets(st.sampled_from(sorted(machine))))
    series = [
        Series(name=name, unit="1", at_s=tuple(range(len(values))), values=tuple(values), rank=of)
        for name, of in draw(st.sets(st.sampled_from(SERIES)))
        for values in [draw(st.lists(NUMBERS, max_size=60))]
    ]
    bare = profile(rank(facts=FACTS))
    return dataclasses.replace(
        bare,
        ranks=ranks,
        series=tuple(series),
        machine={name: machine[name] for name in kept},
        figures={n: measured(draw(NUMBERS), "1") for n in draw(st.sets(st.sampled_from(sorted(bare.figures))))},
    )


FIGURES = sorted(rank().figures)
LOADER_FIGURES = sorted(loads().figures)
SERIES = [
    *((name, 0) for name in ("step_s", "wait_for_data_s", "forward_s", "backward_s", "other_s")),
    *((n, None) for n in ("processors_used", "pressure_cpu", "pressure_memory", "memory_gib", "gpu0_utilization_gpu")),
]


@settings(max_examples=300, deadline=None)
@given(partial_profiles())
def test_whatever_is_missing_nothing_raises_and_no_bound_is_below_one(job) -> None:
    """Any profile gets a sentence; each finding has a bound from 1 on, and is deterministic."""
    found = diagnose(job)
    assert found.sentence
    assert all(1 <= finding.bound < sys.float_info.max for finding in found.findings)
    assert [f.bound for f in found.findings] == sorted((f.bound for f in found.findings), reverse=True)
    assert diagnose(job) == found
    view = view_of(job)
    for rule in RULES if view else ():
        rule(view)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([job for job, *_ in PLANTED]), st.data())
def test_a_signal_less_never_raises(job, data) -> None:
    """A planted job from which figures, series, splits or facts are taken away is still diagnosed."""
    made = job()
    keep = lambda mapping: {n: v for n, v in mapping.items() if data.draw(st.booleans())}  # noqa: E731 - local and short
    ranks = tuple(
        dataclasses.replace(
            each,
            figures=keep(each.figures),
            split=keep(each.split),
            device_split=keep(each.device_split),
            facts=keep(each.facts),
            loaders=tuple(dataclasses.replace(x, figures=keep(x.figures)) for x in each.loaders),
        )
        for each in made.ranks
    )
    series = tuple(s for s in made.series if data.draw(st.booleans()))
    less = dataclasses.replace(made, ranks=ranks, series=series, machine=keep(made.machine), figures=keep(made.figures))
    assert all(finding.bound >= 1 for finding in diagnose(less).findings)


def test_a_profile_of_nothing() -> None:
    """No ranks, or a rank without a split: no finding, and why."""
    bare = dataclasses.replace(quiet_gpu(), ranks=(), series=(), machine={}, figures={})
    assert diagnose(bare).findings == ()
    assert "no step" in diagnose(bare).sentence
