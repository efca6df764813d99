"""Four models: what `suffice improve` finds by itself, and the best of what people configure by hand, by turns.

    python bench/models.py [--models cnn minilm gpt mlp] [--rounds N]

By hand are the configurations that were best on the processors that were tried so far, each with the libraries' own
calls and usual settings: OpenVINO in float32, in bfloat16 where there are units for it, in 8 bits by NNCF (also with
static shapes) and with weights of 8 bits; ONNX Runtime in float32, in 8 bits dynamic and static. Those that miss the
floor on the test set are out; the quickest of the rest is the anchor. suffice is given the file and the floor alone.

Everybody's artefact is opened in a process of its own with the same threads, and called in slices by turns: at batch 1
for the latency, at batch 32 for the throughput. suffice searches once for each of the two, as a user would. Neither it
nor a quantiser has seen the test set.
"""

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from random import Random

import numpy as np
import torch
from experts.models import Given, export, ways
from harness import timed
from model_targets import FLOORS, idle_blocks, minilm, test_set
from torch.nn import functional

from suffice.form.backends import open_form
from suffice.form.description import Form, sized
from suffice.form.samples import to_calibrate
from suffice.form.target import load_target
from suffice.measure.machine import this_machine
from suffice.measure.model.subject import Subject
from suffice.measure.model.timing import ratio
from suffice.measure.model.torch_target import inspect_module

ROOT = Path(__file__).resolve().parent
TARGETS = ROOT / "model_targets.py"
RESULTS = ROOT / "results"
THREADS, BATCH = 2, 32
AXES = {"latency": 1, "throughput": BATCH}
MODELS = ("cnn", "minilm", "gpt", "mlp")
TIE = 0.95


def search(name, aim, folder):
    """The bundle, what was found, and the seconds from the command to the artefact."""
    bundle, told = folder / f"{aim}-bundle", folder / f"{aim}.json"
    command = [sys.executable, "-m", "suffice", "improve", f"{TARGETS}:{name}", f"--floor={FLOORS[name]}"]
    command += ["--minimise", aim, "--threads", str(THREADS), "--bundle", str(bundle), "--json", str(told)]
    begun = time.monotonic()
    with (folder / f"{aim}.log").open("w") as log:
        subprocess.run(command, stderr=log, stdout=log, check=True)
    seconds = time.monotonic() - begun
    return (bundle if bundle.exists() else None), json.loads(told.read_text()), seconds


def by_hand(name, folder, subject, flags):
    """The folders of people's configurations, which a worker can open, and why the others failed."""
    target, source = load_target(f"{TARGETS}:{name}"), folder / "hand.onnx"
    names = ["x", "mask"][: len(target.example_inputs)]
    export(target.module, target.example_inputs, names, dict(zip(names, target.dynamic, strict=True)), source)
    items = to_calibrate(folder / "samples", names)
    given = Given(source, items, attention=name in {"minilm", "gpt"}, flags=flags)
    ports = tuple(replace(port, name=each) for port, each in zip(subject.inputs, names, strict=True))
    made, failed = {}, {}
    for way, (backend, file, make) in ways(given).items():
        place = folder / way.replace(" ", "-")
        place.mkdir()
        try:
            settings = make(given, place / file)
        except Exception as error:  # noqa: BLE001 - a library's failure is a result here
            failed[way] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            continue
        own = sized(ports, "batch", 1) if "shapes" in settings else ports
        Form(backend=backend, file=file, inputs=own, settings=settings).write(place)
        made[way] = place
    return made, failed


def quality(name, session, step):
    """On the test set: accuracy, perplexity, or the mean cosine with the original; so many samples a call."""
    total = count = 0.0
    for inputs, labels in test_set(name):
        arrays = [each.numpy() for each in inputs]
        rows = range(0, len(arrays[0]), step)
        found = np.concatenate([session([each[row : row + step] for each in arrays])[0] for row in rows])
        if name == "gpt":
            logits = torch.from_numpy(found).flatten(0, 1)
            total += functional.cross_entropy(logits, labels.flatten(), reduction="sum").item()
        elif name == "minilm":
            with torch.no_grad():
                theirs = minilm()["model"](*inputs).numpy()
            total += float(cosines(found, theirs).sum())
        else:
            total += float((found.argmax(1) == labels.numpy()).sum())
        count += labels.numel() if name == "gpt" else len(found)
    return float(np.exp(total / count)) if name == "gpt" else total / count


def cosines(ours, theirs):
    """Of each sample's two outputs."""
    return (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)


def keeps(name, floor, found, original):
    """Whether the quality is within the floor."""
    if name == "gpt":
        return found <= original * (1 + float(floor.strip("-%")) / 100)
    lost = float(floor.strip("-%")) / (100 if floor.endswith("%") else 1)
    return found >= original - lost


def qualities(name, folders):
    """The quality of each form on the test set, in this process, one after the other."""
    found = {}
    for way, folder in folders.items():
        step = 1 if isinstance(Form.read(folder).inputs[0].shape[0], int) else BATCH
        found[way] = quality(name, open_form(folder, THREADS), step)
    return found


def try_model(name, folder, rounds):
    """One model: both searches, everything by hand, and all of it by turns."""
    flags, rng = set(this_machine().flags), Random(0)
    if name == "gpt":
        print(
            f"  the test set's perplexity, and how many times as much without each block: {idle_blocks()}", flush=True
        )
    told = inspect_module({}, f"{TARGETS}:{name}", str(folder / "samples"), trust=False, quality=None)
    subject = Subject.from_json(told)
    hand, failed = by_hand(name, folder, subject, flags)
    original = folder / "original"
    original.mkdir()
    Form(backend="eager", file=f"{TARGETS}:{name}", inputs=subject.inputs).write(original)
    row = {"parameters": subject.parameters, "floor": FLOORS[name], "failed by hand": failed, "aims": {}}
    ours = {aim: search(name, aim, folder) for aim in AXES}
    bundles = {f"suffice {aim}": bundle or original for aim, (bundle, _, _) in ours.items()}
    found = qualities(name, {"original": original, **hand, **bundles})
    good = [way for way in hand if keeps(name, FLOORS[name], found[way], found["original"])]
    row["quality"] = found
    for aim, size in AXES.items():
        way, (_, searched, seconds) = f"suffice {aim}", ours[aim]
        times = timed(
            {"original": original, **{each: hand[each] for each in good}, way: bundles[way]},
            folder / "samples",
            size,
            threads=THREADS,
            rounds=rounds,
            rng=rng,
        )
        medians = {each: statistics.median(one.calls) for each, one in times.items()}
        best = min((each for each in good if each in medians), key=medians.get)
        share = ratio(times[best], times[way], rng)
        row["aims"][aim] = {
            "chosen": searched["chosen"],
            "search_s": seconds,
            "median_s": medians,
            "speedup": ratio(times["original"], times[way], rng).value,
            "best by hand": best,
            "of the best by hand": [share.value, share.low, share.high],
            "tie or better": share.high >= TIE,
            "keeps the floor": keeps(name, FLOORS[name], found[way], found["original"]),
            "calls": {each: len(one.calls) for each, one in times.items()},
        }
        one = row["aims"][aim]
        print(
            f"{name:8s}{aim:11s}{searched['chosen'][:34]:36s}{one['speedup']:7.2f}x   {best:10s}"
            f"{share.value:6.3f} [{share.low:.3f}, {share.high:.3f}]{seconds:7.0f} s   "
            f"quality {found[way]:.4f} ({found['original']:.4f})",
            flush=True,
        )
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    print("model   aim        chosen                               speed-up   by hand   share of it", flush=True)
    rows, path = {}, args.out / f"models_{platform.machine()}_{dt.datetime.now(tz=dt.UTC).date()}.json"
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.models:
        with tempfile.TemporaryDirectory() as folder:
            rows[name] = try_model(name, Path(folder), args.rounds)
        path.write_text(json.dumps(record(rows), indent=1) + "\n")
    print(f"{record(rows)['summary']}\nwrote {path}")


def record(rows):
    """What was found so far, with how."""
    aims = [one for row in rows.values() for one in row["aims"].values()]
    return {
        "command": sys.argv,
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "threads": THREADS,
        "flags": sorted(this_machine().flags),
        "versions": {name: version(name) for name in ("suffice", "torch", "openvino", "onnxruntime", "nncf")},
        "load": os.getloadavg(),
        "summary": {
            "tie or better": f"{sum(one['tie or better'] for one in aims)} of {len(aims)}",
            "keep the floor": f"{sum(one['keeps the floor'] for one in aims)} of {len(aims)}",
            "longest search": max(one["search_s"] for one in aims),
        },
        "models": rows,
    }


if __name__ == "__main__":
    main()
