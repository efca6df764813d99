"""`suffice improve target.py:factory`: what is found is as good as the original and quicker; nothing else is kept."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import suffice
from tests.conftest import TIMEOUT_S

TARGETS = Path(__file__).parents[1] / "form" / "targets.py"
QUICK = ("--threads", 1, "--batches", "1,8")


def run(verb: str, target: str, place: Path, *options: object) -> subprocess.CompletedProcess[str]:
    """The verb on one of the targets, in a folder."""
    command = [sys.executable, "-m", "suffice", verb, target, *map(str, (*QUICK, *options))]
    variables = {**os.environ, "SUFFICE_HOME": str(place / "home")}
    return subprocess.run(
        command, cwd=place, env=variables, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def found(verb: str, name: str, place: Path, *options: object) -> dict[str, Any]:
    """What it wrote as JSON."""
    done = run(verb, f"{TARGETS}:{name}", place, "--json", "found.json", *options)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads((place / "found.json").read_text())
    return {"said": done.stderr, **told}


def test_a_model_is_measured(tmp_path: Path) -> None:
    """Latency, throughput, memory, size and quality, each with its unit; nothing is built."""
    told = found("measure", "small", tmp_path)
    (original,) = told["trials"]
    figures = original["figures"]
    assert figures["latency_p50_s"]["value"] <= figures["latency_p95_s"]["value"] <= figures["latency_p99_s"]["value"]
    assert figures["throughput_per_s"]["unit"] == "1/s"
    assert figures["memory_bytes"]["value"] > figures["size_bytes"]["value"] == 4 * told["subject"]["parameters"]
    assert 0.5 < figures["quality"]["value"] <= 1
    assert list((tmp_path / "home" / "models").iterdir()) == []
    assert "the model as it is" in told["said"]


def test_a_language_model_is_measured_by_tokens(tmp_path: Path) -> None:
    """The first one, how many follow in a second, and the energy of one; in the report too."""
    told = found("measure", "writer", tmp_path)
    (original,) = told["trials"]
    figures = original["figures"]
    assert told["quality"] == "perplexity"
    assert 1 <= figures["quality"]["value"] < 2
    assert figures["tokens_per_s"]["unit"] == "1/s"
    assert figures["first_token_s"]["value"] > 0
    assert figures["token_energy_j"]["value"] > 0
    assert figures["token_energy_j"]["unit"] == "J"
    assert "tokens/s" in told["said"]


def test_a_build_that_takes_too_much_memory_is_refused(tmp_path: Path) -> None:
    """With what it held; what would start from it is told too, and the model stays as it is."""
    told = found("improve", "small", tmp_path, "--build-memory", 0.1)
    refused = told["trials"][1:]
    assert {each["name"] for each in refused} == {"onnx-runtime", "inductor"}
    for each in refused:
        assert each["outcome"] == "refused"
        assert "GiB of memory, 0.1 are allowed" in each["reason"]
    assert dict(told["refused"])["openvino"] == "there is no form by onnx-runtime to start from"
    assert told["chosen"] == "original"
    assert not (tmp_path / "bundle").exists()


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on(tmp_path: Path) -> None:
    """What it had built is found again; nothing is left at the end."""
    command = [sys.executable, "-m", "suffice", "improve", f"{TARGETS}:small", *map(str, QUICK)]
    variables = {**os.environ, "SUFFICE_HOME": str(tmp_path / "home")}
    with subprocess.Popen(command, cwd=tmp_path, env=variables, stderr=subprocess.PIPE, text=True) as killed:
        assert killed.stderr is not None
        assert any("onnx-runtime: timing it" in line for line in killed.stderr)
        killed.kill()
    told = found("improve", "small", tmp_path)
    assert "going on where another search was killed: 1 forms" in told["said"]
    assert "onnx-runtime" in [each["name"] for each in told["trials"] if each["outcome"] == "kept"]
    assert list((tmp_path / "home" / "models").iterdir()) == []


@pytest.mark.slow
def test_an_operator_that_can_not_be_exported_is_told(tmp_path: Path) -> None:
    """The export's own words; no crash."""
    told = found("improve", "decomposes", tmp_path)
    assert told["trials"][1]["outcome"] == "refused"
    assert "Error" in told["trials"][1]["reason"]
    assert told["chosen"] == "original"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("untrained", "is no better than naming the most frequent label"),
        ("judge_that_raises", "can't be judged: KeyError: 'no such label'"),
        ("fails", "RuntimeError: the weights are elsewhere"),
        ("restless", "another answer to the same inputs each time"),
    ],
)
def test_a_model_that_can_not_be_compared_with(tmp_path: Path, name: str, says: str) -> None:
    """One line and exit code 2."""
    done = run("improve", f"{TARGETS}:{name}", tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere.onnx",), "NoSuchFile"),
        (("nowhere.py:model",), "there is no file nowhere.py"),
        ((f"{TARGETS}:small", "--batches", "many"), "numbers with commas"),
        ((f"{TARGETS}:small", "--floor", "high"), "is no number"),
        ((f"{TARGETS}:small", "--metric", "f1"), "no quality 'f1'"),
        ((f"{TARGETS}:small", "--memory-limit", "64"), "goes with --for edge"),
        ((f"{TARGETS}:small", "--for", "edge", "--minimise", "size"), "leave --minimise out"),
    ],
)
def test_what_can_not_be_asked_for(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    """It is told before anything is built."""
    done = run("improve", *arguments[:1], tmp_path, *arguments[1:])  # type: ignore[arg-type]
    assert done.returncode == 2
    assert says in done.stderr


def test_an_onnx_file_beside_the_user(tmp_path: Path) -> None:
    """Named as it lies there, with weights in a file of their own and a batch that is fixed."""
    rng = np.random.default_rng(0)
    helper, weights = onnx.helper, rng.normal(size=(64, 8)).astype(np.float32)
    ports = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [4, size]) for name, size in (("x", 64), ("y", 8))
    ]
    stored = onnx.numpy_helper.from_array(weights, "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "product", ports[:1], ports[1:], [stored]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    np.savez(tmp_path / "eval.npz", x=rng.normal(size=(90, 64)))
    done = run("improve", "model.onnx", tmp_path, "--samples", "eval.npz", "--json", "found.json", "--floor", "-0.2")
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "found.json").read_text())
    names = [each["name"] for each in told["trials"] if each["outcome"] == "kept"]
    assert {"original", "onnx-runtime", "openvino"} <= set(names), done.stderr


@pytest.mark.slow
def test_the_cheapest_form_that_is_good_enough(tmp_path: Path) -> None:
    """It is quicker than the original for sure, keeps the floor held out, and its bundle answers."""
    before = TARGETS.read_bytes()
    told = found("improve", "classifier", tmp_path, "--floor", -0.03)
    assert told["chosen"] != "original", told["said"]
    chosen = next(each for each in told["trials"] if each["name"] == told["chosen"])
    assert chosen["figures"]["speedup"]["low"] > 1
    assert chosen["front"]
    held_out = [
        next(each for each in told["trials"] if each["name"] == name)["figures"]["held_out_quality"]["value"]
        for name in ("original", told["chosen"])
    ]
    assert held_out[1] >= held_out[0] - 0.03
    model = suffice.load(tmp_path / "bundle")
    model.self_test()
    assert model(np.zeros((5, 16), np.float32)).shape == (5, 4)
    assert TARGETS.read_bytes() == before


@pytest.mark.slow
def test_the_smallest_form_for_the_edge(tmp_path: Path) -> None:
    """Weights of few bits, although they gain no time; a component comes beside its bundle, which loads."""
    told = found("improve", "classifier", tmp_path, "--floor", -0.03, "--for", "edge", "--memory-limit", 2_000)
    kept = {each["name"]: each["figures"] for each in told["trials"] if each["outcome"] == "kept"}
    chosen = kept[told["chosen"]]
    assert "onnx-weights (bits=4)" in kept, told["said"]
    assert chosen["size_bytes"]["value"] < kept["original"]["size_bytes"]["value"] / 3
    assert chosen["size_bytes"]["value"] <= min(each["size_bytes"]["value"] for each in kept.values()) * 1.05
    assert chosen["cold_start_s"]["low"] <= chosen["cold_start_s"]["value"]
    assert suffice.load(tmp_path / "bundle").self_test() < 0.02
    assert {each.name for each in (tmp_path / "bundle-greengrass").iterdir()} == {"recipe.json", "bundle.zip"}
    again = run("improve", f"{TARGETS}:classifier", tmp_path, "--for", "edge")
    assert again.returncode == 2
    assert "bundle-greengrass is there already" in again.stderr


@pytest.mark.slow
def test_a_function_of_the_users_judges(tmp_path: Path) -> None:
    """It is called with every form, and what it accepts is written."""
    told = found("improve", "judged", tmp_path, "--floor", "0.5")
    assert told["quality"] == "function"
    assert told["chosen"] != "original", told["said"]
    chosen = next(each for each in told["trials"] if each["name"] == told["chosen"])
    assert chosen["figures"]["speedup"]["low"] > 1
    assert chosen["figures"]["held_out_quality"]["low"] > 0.5


@pytest.mark.slow
def test_another_structure_needs_consent_and_its_forms_are_tried_too(tmp_path: Path) -> None:
    """Without consent it is told how to give it; with it the smaller model is built, and so is what starts from it."""
    told = found("improve", "deep", tmp_path, "--floor", "0.8")
    reasons = dict(told["refused"])
    assert reasons["layer-dropping (keep=3, stack=0, steps=300)"] == "it is semantic: allow it with --allow semantic"
    told = found("improve", "deep", tmp_path, "--floor", "0.8", "--allow", "semantic", "--fine-tune-steps", 40)
    smaller = "layer-dropping (keep=3, stack=0, steps=40)"
    sizes = {
        each["name"]: each["figures"]["size_bytes"]["value"] for each in told["trials"] if each["outcome"] == "kept"
    }
    assert sizes[smaller] < sizes["onnx-runtime"]
    assert f"openvino of {smaller}" in sizes
    assert told["chosen"] != "original"
    assert suffice.load(tmp_path / "bundle").self_test() < 0.02
