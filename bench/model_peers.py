"""suffice, NNCF's accuracy control and Olive on the same models: the time each takes, and what each one's form takes.

    python bench/model_peers.py [--models cnn mlp] [--peers nncf olive] [--rounds N]

Everybody is given the same ONNX file, the same samples to calibrate and to judge with, two threads, and the same goal:
the least latency of one sample that loses half a point of accuracy at most. A peer is run with its documented default
and with a configuration that people who know it would write; its search is timed from the command to the file that it
leaves, installing apart. Then all forms are called by turns in processes of their own, and judged on a test set that
nobody has seen, paired with the original. A peer that fails is told with its own words.

Olive has an environment of its own, made of bench/peers/olive.txt at the first run and kept among the temporary files:
1.5 GB with the CPU build of torch, which pip takes where PIP_EXTRA_INDEX_URL names its index (README.md has it). Else
SUFFICE_OLIVE_PYTHON names the interpreter of one that is ready. Searches are offline. The outcome of `olive optimize`,
which takes a precision and no samples, is told as well.
"""

import argparse
import datetime as dt
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from random import Random

import numpy as np
from experts.models import BF16, VNNI, export
from harness import timed
from model_targets import FLOORS, test_set
from peers import olive_runs

from suffice.form.backends import open_form
from suffice.form.description import Form, sized
from suffice.form.samples import MOST_CALIBRATED
from suffice.form.target import load_target
from suffice.measure.machine import this_machine
from suffice.measure.model.onnx_target import inspect_onnx
from suffice.measure.model.subject import Subject
from suffice.measure.model.timing import ratio
from suffice.prove.model.quality import Bar, judge

ROOT = Path(__file__).resolve().parent
TARGETS, CONTROL = ROOT / "model_targets.py", ROOT / "peers" / "nncf_control.py"
RESULTS = ROOT / "results"
MODELS, PEERS = ("cnn", "mlp"), ("nncf", "olive")
THREADS, BATCH, TIE = 2, 32, 0.95
MODEL, SAMPLES = "model.onnx", "given.npz"
LIMIT_S = 3_600
OURS, PACKAGES = "suffice", ("suffice", "torch", "openvino", "onnxruntime", "nncf", "onnx")
RAISED = re.compile(r"(?:\w+\.)*\w*(?:Error|Exception|Interrupt)\b.*")
REVERTED = re.compile(r"\d+ out of \d+ were reverted")
FOLDERS = re.compile(r"(?:/[\w.+-]+)+/")


@dataclass(frozen=True, kw_only=True)
class Task:
    """What everybody is given: a folder with MODEL, SAMPLES and `samples`, the same in parts; and the goal."""

    folder: Path
    subject: Subject
    floor: str
    classes: int
    flags: frozenset[str]

    @property
    def drop(self):
        """What may be lost."""
        return float(self.floor.strip("-"))

    def place(self, name):
        """A contestant's own folder."""
        place = self.folder / name.replace(" ", "-")
        place.mkdir(exist_ok=True)
        return place

    def form(self, name, **told):
        """What it left, as a worker opens it."""
        Form(**{"inputs": self.subject.inputs, **told}).write(self.place(name))
        return self.place(name)


def prepare(name, folder):
    """The file and the samples."""
    target = load_target(f"{TARGETS}:{name}")
    export(target.module, target.example_inputs, ["x"], {"x": target.dynamic[0]}, folder / MODEL)
    x, labels = target.samples
    np.savez(folder / SAMPLES, x=x.numpy(), labels=labels.numpy())
    parts = str(folder / "samples")
    told = inspect_onnx({}, str(folder / MODEL), parts, samples=str(folder / SAMPLES), quality="accuracy")
    return Task(
        folder=folder,
        subject=Subject.from_json(told),
        floor=FLOORS[name],
        classes=int(labels.max()) + 1,
        flags=frozenset(this_machine().flags),
    )


def ran(command, task, name, environment):
    """What a command took, and why it failed, if it did; it runs in the task's folder."""
    log = task.place(name) / "log.txt"
    begun, used_s = time.monotonic(), processor_s()
    with log.open("w") as out:
        try:
            code = subprocess.run(
                command, cwd=task.folder, env=environment, stdout=out, stderr=out, timeout=LIMIT_S, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
    row = {"command": without_folders(" ".join(command), task), "search_s": time.monotonic() - begun}
    row["search_processor_s"] = processor_s() - used_s
    if code is None:
        return {**row, "error": f"not ready within {LIMIT_S} s"}
    return row | ({"error": cause(log, code)} if code else {})


def processor_s():
    """Of what was started here and has ended: a busy machine alters it less than the clock's time."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def without_folders(text, task):
    """Of this machine."""
    return FOLDERS.sub("", text.replace(f"{task.folder}/", ""))


def cause(log, code=None):
    """The last error in it."""
    told = log.read_text(errors="replace")
    lines = [*told.splitlines(), f"it ended with {code}"]
    raised = [line for line in lines if RAISED.match(line)]
    return FOLDERS.sub("", " ".join((raised or lines)[-1].split()))[:300]


def try_suffice(task, name):
    """Its one command."""
    command = [sys.executable, "-m", "suffice", "improve", MODEL, "--samples", SAMPLES, "--metric", "accuracy"]
    command += [f"--floor={task.floor}", "--minimise", "latency", "--threads", str(THREADS)]
    command += ["--bundle", f"{name}/bundle", "--json", f"{name}/found.json"]
    home = {"SUFFICE_HOME": str(task.place(name) / "home")}
    row = ran(command, task, name, {**os.environ, **home})
    if "error" in row:
        return row, None
    place = task.place(name)
    found = json.loads((place / "found.json").read_text())
    row |= {"chosen": found["chosen"], "trials_s": {each["name"]: each["spent_s"] for each in found["trials"]}}
    return row, place / "bundle" if (place / "bundle").exists() else task.place("original")


def try_nncf(task, name):
    """With static shapes where it is tuned: a setting of OpenVINO that costs nothing."""
    place, tuned = task.place(name), name.endswith("tuned")
    command = [sys.executable, str(CONTROL), MODEL, "samples", str(task.drop), f"{place.name}/model.xml"]
    row = ran(command + ["--tuned"] * tuned, task, name, {**os.environ, "OMP_NUM_THREADS": str(THREADS)})
    if "error" in row:
        return row, None
    told = REVERTED.findall((place / "log.txt").read_text(errors="replace"))
    row["chosen"] = f"int8, {told[-1] if told else 'nothing reverted'}"
    inputs = sized(task.subject.inputs, "batch", 1) if tuned else task.subject.inputs
    settings = {"precision": "bf16" if task.flags & BF16 else "f32"}  # as OpenVINO has it where nothing is said
    settings |= {"shapes": [list(port.shape) for port in inputs]} if tuned else {}
    return row, task.form(name, backend="openvino", file="model.xml", inputs=inputs, settings=settings)


def try_olive(task, name, python):
    """`olive run` with a configuration, or `olive optimize`, which takes none."""
    place, environment = task.place(name), olive_runs.environment(THREADS)
    if name.endswith("optimize"):
        command = [python, "-m", "olive", "optimize", "-m", MODEL, "--precision", "int8", "--device", "cpu"]
        command += ["-o", f"{place.name}/found", "--disable_telemetry"]
    else:
        make = olive_runs.tuned_passes if name.endswith("tuned") else olive_runs.default_passes
        told = olive_runs.configuration(
            make(threads=THREADS, narrow=not task.flags & VNNI),
            model=task.folder / MODEL,
            samples=task.folder / "samples",
            port=task.subject.inputs[0].name,
            classes=task.classes,
            drop=task.drop,
            threads=THREADS,
            most=MOST_CALIBRATED,
            out=place,
        )
        (place / "run.json").write_text(json.dumps(told, indent=1))
        command = [python, "-m", "olive", "run", "--config", f"{place.name}/run.json", "--disable_telemetry"]
    row = ran(command, task, name, environment)
    found = next(iter(sorted((place / "found").rglob("*.onnx"))), None)
    if "error" in row or found is None:
        return {"error": cause(place / "log.txt"), **row}, None
    row["chosen"] = olive_runs.chosen(place / "found")
    return row, task.form(name, backend="onnx_runtime", file=str(found.relative_to(place)))


def right(name, folder):
    """Of each sample of the test set, whether the form in the folder names its class."""
    step = 1 if isinstance(Form.read(folder).inputs[0].shape[0], int) else BATCH
    session = open_form(folder, THREADS)
    (((x,), labels),) = test_set(name)
    found = np.concatenate([session([part.numpy()])[0].argmax(1) for part in x.split(step)])
    return (found == labels.numpy()).astype(float)


def judged(rows, forms, name, task):
    """Add each one's quality to its row, paired with the original's."""
    original, bar = right(name, forms["original"]), Bar.parse(task.floor)
    for each, folder in forms.items():
        ours = right(name, folder)
        lost = float(original.mean() - ours.mean())
        rows[each] |= {
            "quality": float(ours.mean()),
            "lost": lost,
            "keeps the floor": lost <= task.drop,
            "paired": judge("accuracy", list(ours), list(original), bar).reason,
        }


def try_model(name, folder, contestants, rounds):
    """One model: everybody's search, one after the other, then all that they left by turns."""
    task, rng = prepare(name, folder), Random(0)
    rows, forms = {"original": {"chosen": "in ONNX Runtime"}}, {}
    forms["original"] = task.form("original", backend="onnx_runtime", file=str(folder / MODEL))
    for each, attempt in contestants.items():
        rows[each], form = attempt(task, each)
        if form is not None:
            forms[each] = form
        print(f"{name:5s}{each:16s}{rows[each]['search_s']:7.0f} s   {rows[each].get('error', 'ready')}", flush=True)
    judged(rows, forms, name, task)
    times = timed(forms, folder / "samples", 1, threads=THREADS, rounds=rounds, rng=rng)
    for each, one in times.items():
        row = rows[each]
        row |= {"median_s": statistics.median(one.calls), "calls": len(one.calls)}
        row["speedup"] = told(ratio(times["original"], one, rng))
        if OURS in times and each not in {OURS, "original"}:
            share = ratio(one, times[OURS], rng)
            row["suffice is so many times as fast"] = told(share)
            row["suffice ties or is faster"] = share.high >= TIE
            row["suffice searched for less long"] = rows[OURS]["search_s"] < row["search_s"]
    return {
        "parameters": task.subject.parameters,
        "floor": task.floor,
        "samples": dict(task.subject.samples),
        "contestants": rows,
    }


def told(figure):
    """A ratio with its interval."""
    return [figure.value, figure.low, figure.high]


def show(name, model):
    """The table of a model."""
    print(f"\n{name:17s}{'search':>8s}{'median':>11s}{'speed-up':>10s}   suffice / it            lost   chosen")
    for each, row in model["contestants"].items():
        if "error" in row:
            print(f"{each:17s}{row['search_s']:6.0f} s   {row['error']}")
            continue
        search = f"{row['search_s']:6.0f} s" if "search_s" in row else " " * 8
        share = row.get("suffice is so many times as fast")
        against = f"{share[0]:.3f} [{share[1]:.3f}, {share[2]:.3f}]" if share else ""
        kept = "" if row["keeps the floor"] else " too much"
        print(
            f"{each:17s}{search}{row['median_s'] * 1e3:8.3f} ms{row['speedup'][0]:9.2f}x   {against:22s}"
            f"{row['lost']:8.4f}{kept}   {row['chosen']}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])  # for everybody that is started here
    contestants, versions = {OURS: try_suffice}, {name: version(name) for name in PACKAGES}
    if "nncf" in args.peers:
        contestants |= {"nncf": try_nncf, "nncf tuned": try_nncf}
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"model_peers_{platform.machine()}_{dt.datetime.now(tz=dt.UTC).date()}.json"
    models = {}
    with tempfile.TemporaryDirectory() as scratch:
        if "olive" in args.peers:
            python = olive_runs.interpreter()
            versions["in Olive's environment"] = olive_runs.versions(python)
            attempt = partial(try_olive, python=python)
            contestants |= dict.fromkeys(("olive", "olive tuned", "olive optimize"), attempt)
        for name in args.models:
            folder = Path(scratch, name)
            folder.mkdir()
            models[name] = try_model(name, folder, contestants, args.rounds)
            path.write_text(json.dumps(record(models, versions), indent=1) + "\n")
    for name, model in models.items():
        show(name, model)
    print(f"\n{record(models, versions)['summary']}\nwrote {path}")


def record(models, versions):
    """What was found so far, with how."""
    rows = {f"{each} on {name}": row for name, model in models.items() for each, row in model["contestants"].items()}
    met = [row for row in rows.values() if row.get("keeps the floor") and "suffice ties or is faster" in row]
    ours = [model["contestants"][OURS] for model in models.values()]
    return {
        "command": ["bench/model_peers.py", *sys.argv[1:]],
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "threads": THREADS,
        "flags": sorted(this_machine().flags),
        "versions": versions,
        "load": os.getloadavg(),
        "summary": {
            "suffice keeps the floor": f"{sum(row.get('keeps the floor', False) for row in ours)} of {len(ours)}",
            "of peers' forms that keep the floor, suffice ties or is faster": share_of(
                met, "suffice ties or is faster"
            ),
            "of peers' searches that kept the floor, suffice's took less long": share_of(
                met, "suffice searched for less long"
            ),
            "as fast as suffice's (within 5 %) after a shorter search": [
                each for each, row in rows.items() if row in met and shorter_and_as_fast(row)
            ],
            "missed the floor": [each for each, row in rows.items() if row.get("keeps the floor") is False],
            "could not run": {each: row["error"] for each, row in rows.items() if "error" in row},
        },
        "models": models,
    }


def shorter_and_as_fast(row):
    """Whether a peer's form may take as little time as suffice's, and was there sooner."""
    return row["suffice is so many times as fast"][1] <= 1 / TIE and not row["suffice searched for less long"]


def share_of(rows, key):
    """How many of them."""
    return f"{sum(row[key] for row in rows)} of {len(rows)}"


if __name__ == "__main__":
    main()
