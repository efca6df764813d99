"""What holds for every technique of the catalogue, and what the catalogue makes of a profile."""

import ast
import inspect
import json
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from suffice.change.catalog import CATALOG, proposals, technique
from suffice.errors import ChangeUnknownError
from suffice.records import Risk, as_json
from tests.change.profiles import EVERY_KIND, profile

ROOMS = ("train", "ranks", "data", "process", "semantic")
FILES = [
    path
    for room in ROOMS
    for path in sorted(Path(import_module(f"suffice.change.{room}").__file__ or "").parent.glob("*.py"))
    if path.name != "__init__.py"
]


def module_of(path):
    return import_module(f"suffice.change.{path.parent.name}.{path.stem}")


every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def test_every_file_is_in_the_catalogue():
    """A technique is found by its file, whose name is its id; no name is in two rooms."""
    assert sorted(CATALOG) == sorted(path.stem.replace("_", "-") for path in FILES)
    assert len(CATALOG) >= 10


@every_file
def test_it_says_how_it_is_tried(path):
    """The constants of the first half are there, and of their kind."""
    module = module_of(path)
    assert module.RISK in set(Risk)
    assert module.CLOCK in ("processor", "wall")
    assert getattr(module, "BLOCK", 1) >= 1
    assert getattr(module, "WARM_UP", 0) >= 0
    assert list(inspect.signature(module.propose).parameters) == ["profile"]
    assert list(inspect.signature(module.prepare).parameters) == ["job", "settings"]


@every_file
def test_it_tells_what_it_does_and_when_not(path):
    """One line on what; then when not, and the source. The practice opens with its place in the guidance."""
    text = module_of(path).__doc__ or ""
    what = CATALOG[path.stem.replace("_", "-")].what
    assert what.endswith(".")
    assert len(what) <= 120
    lines = [line for line in text.splitlines() if line]
    assert any(line.startswith("Not ") or ". Not " in line for line in lines)
    assert ": " in module_of(path).PRACTICE
    assert any(line.startswith("Source: ") for line in lines)


@every_file
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_it_proposes_settings_or_says_why_not(path, kind):
    """On whatever profile: settings that JSON can carry, no two alike, or a reason; twice the same, nothing changed."""
    before = json.dumps(as_json(EVERY_KIND[kind]), sort_keys=True)
    proposed = module_of(path).propose(EVERY_KIND[kind])
    assert proposed == module_of(path).propose(EVERY_KIND[kind])
    assert json.dumps(as_json(EVERY_KIND[kind]), sort_keys=True) == before
    if isinstance(proposed, str):
        assert len(proposed) > 10
    else:
        assert proposed
        assert all(json.loads(json.dumps(settings)) == settings for settings in proposed)
        assert len({json.dumps(settings, sort_keys=True) for settings in proposed}) == len(proposed)


@every_file
def test_it_has_a_switch(path):
    """Some class of the file can be switched on and off."""
    classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    methods = [{node.name for node in each.body if isinstance(node, ast.FunctionDef)} for each in classes]
    assert any({"on", "off"} <= names for names in methods)


def test_all_are_imported_where_there_is_no_suffice(stage):
    """In the job each is imported from the staged folder, brings torch not along, and knows nothing of suffice."""
    names = [f"suffice_agent.change.{path.parent.name}.{path.stem}" for path in FILES]
    program = (
        f"import sys; sys.path.insert(0, {str(stage)!r})\n"
        f"for name in {names!r}: __import__(name)\n"
        "print([name for name in ('suffice', 'torch', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_unknown_change_is_answered_with_the_known_ones():
    """The error lists what there is."""
    with pytest.raises(ChangeUnknownError, match="'fused-optimizer'") as caught:
        technique("fused-optimizer")
    assert "fused-optimiser" in str(caught.value.hint)


def test_proposals_keep_their_order_and_give_reasons():
    """Each id gives changes, with the technique's risk and practice, or one reason."""
    changes, refused = proposals(profile(), ["intra-op-threads", "bucket-view", "fused-optimiser"])
    assert [(each.id, dict(each.settings)) for each in changes] == [
        ("intra-op-threads", {"threads": 4}),
        ("intra-op-threads", {"threads": 1}),
        ("fused-optimiser", {}),
    ]
    assert changes[0].risk is Risk.NUMERIC
    assert changes[-1].practice == CATALOG["fused-optimiser"].practice
    assert refused == [("bucket-view", "there is one rank")]


def test_a_job_without_a_loop_is_not_changed():
    """Where no training was seen nothing is proposed, and nothing asked."""
    changes, refused = proposals(replace(profile(), ranks=()), sorted(CATALOG))
    assert changes == []
    assert refused == [(each, "no training loop was seen") for each in sorted(CATALOG)]


WRAPPED = ["DistributedDataParallel"]
PROPOSED = [
    ("fused-optimiser", profile(), [{}]),
    ("fused-optimiser", profile(optimisers=["RMSprop"]), "no fused step for RMSprop"),
    ("fused-optimiser", profile(split={"forward": 1.0, "optimiser": 0.001}), "less than 1 %"),
    ("foreach-optimiser", profile(optimisers=["RMSprop"]), [{}]),
    ("foreach-optimiser", profile(optimisers=["RAdam"]), "RAdam"),
    ("foreach-optimiser", profile(device="cuda:0"), "by itself"),
    ("mixed-precision", profile(machine={"processor_flags": ["avx2"]}), "no units for bf16"),
    ("mixed-precision", profile(machine={"processor_flags": ["amx_bf16"]}), [{}]),
    ("mixed-precision", EVERY_KIND["autocast"], "autocast already"),
    ("mixed-precision", EVERY_KIND["half"], "bfloat16"),
    ("matmul-precision", profile(device="cuda:0"), [{"precision": "high"}]),
    ("matmul-precision", profile(machine={"processor_flags": ["amx_bf16"]}), [{"precision": "medium"}]),
    ("matmul-precision", EVERY_KIND["compiled"], "set it to high"),
    ("channels-last", EVERY_KIND["compiled"], "compiler lays out"),
    ("channels-last", EVERY_KIND["ranks"], "several ranks"),
    ("compile", EVERY_KIND["compiled"], "compiles already"),
    ("flush-denormals", EVERY_KIND["gpu"], "full speed"),
    ("intra-op-threads", EVERY_KIND["crowded"], [{"threads": 4}, {"threads": 2}, {"threads": 1}]),
    ("intra-op-threads", profile(intra_op_threads=4, pressures={"cpu": 0.6}), [{"threads": 1}, {"threads": 2}]),
    ("intra-op-threads", profile(intra_op_threads=4, ranks=2), [{"threads": 2}, {"threads": 1}]),
    ("intra-op-threads", profile(intra_op_threads=1, machine={"processors_allowed": 1.5}), "no choice"),
    ("gradient-checkpointing", EVERY_KIND["full"], [{}]),
    ("gradient-checkpointing", profile(peak_gib=4.0), "took 4 of 16 GiB"),
    ("gradient-checkpointing", profile(peak_gib=15.5, pressures={"memory": 0.0}), "nothing waits for it"),
    ("cuda-graphs", profile(), "there is no GPU"),
    ("cuda-graphs", EVERY_KIND["gpu"], [{}]),
    ("cuda-graphs", profile(device="cuda:0", compiled=True), "records graphs itself"),
    ("cuda-graphs", profile(device="cuda:0", ranks=2), "would not be recorded"),
    ("bucket-view", EVERY_KIND["ranks"], [{}]),
    ("bucket-size", profile(ranks=2, models=WRAPPED, parameters=50_000_000), [{"mib": 100}, {"mib": 5}]),
    ("bucket-size", profile(ranks=2, models=WRAPPED, parameters=1_000_000), [{"mib": 25}]),
    ("bucket-size", profile(ranks=2, models=WRAPPED, parameters=100_000), "fit into the first bucket"),
    ("bucket-size", profile(ranks=2, models=["Net"], parameters=1_000_000), "no model is wrapped"),
    ("gradient-compression", EVERY_KIND["ranks"], "between GPUs alone"),
    ("gradient-compression", profile(ranks=2, models=WRAPPED, device="cuda:0"), [{}]),
    ("no-sync", profile(ranks=2, models=WRAPPED, backwards_per_step=4), [{}]),
    ("no-sync", profile(ranks=2, models=WRAPPED, backwards_per_step=1), "followed by a step"),
    ("static-graph", profile(ranks=2, models=WRAPPED, searches_unused=True), [{}]),
    ("static-graph", EVERY_KIND["ranks"], "does not search"),
    ("wait-policy", EVERY_KIND["crowded"], [{"policy": "passive"}]),
    ("wait-policy", profile(pressures={"cpu": 0.02}), "processors are free"),
    ("wait-policy", profile(intra_op_threads=1, pressures={"cpu": 0.6}), "no other"),
    ("wait-policy", EVERY_KIND["gpu"], "the GPU computes"),
    ("allocator", profile(kernel_share=0.2), [{"library": "tcmalloc"}, {"library": "jemalloc"}]),
    ("allocator", profile(kernel_share=0.012), "the kernel takes 1.2%"),
    ("allocator", EVERY_KIND["gpu"], "GPU's memory"),
]


@pytest.mark.parametrize(
    ("change_id", "made", "expected"), PROPOSED, ids=[f"{each[0]} {n}" for n, each in enumerate(PROPOSED)]
)
def test_what_is_proposed(change_id, made, expected):
    """The settings that a profile calls for, or the reason why none."""
    proposed = CATALOG[change_id].propose(made)
    assert expected in proposed if isinstance(expected, str) else proposed == expected
