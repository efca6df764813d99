"""A transformer that tells the package of a docstring, and what `suffice improve --allow semantic` makes of it.

    python bench/distil.py

The classifier is trained here on real text: docstrings of the standard library, by the package that they are from. The
search leaves out half of its blocks and has `fine_tune` train the rest, with the original as teacher; what is kept must
keep 97 % of the accuracy on samples that neither training nor search has seen. Parameters, time by turns against the
same backend's form of the whole model, and the accuracy on a test set of this script's own are told.
"""

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from random import Random

import numpy as np
import torch
from harness import timed
from public_data import PACKAGES, docstrings_of
from torch import nn
from torch.nn import functional

from suffice.form.backends import open_form
from suffice.form.description import Form
from suffice.measure.model.timing import ratio

ROOT = Path(__file__).resolve().parent
FOLDER = Path(os.environ.get("SUFFICE_BENCH_MODELS") or Path(tempfile.gettempdir()) / "suffice-bench-models")
WORDS, LENGTH, WIDTH, BLOCKS, HEADS = 4_096, 64, 256, 6, 4
TRAIN_STEPS, FINE_TUNE_STEPS, BATCH, THREADS = 900, 500, 32, 2
HEAT = 2.0


class Classifier(nn.Module):
    """Words by their hash, blocks of attention, the mean of all places."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Parameter(0.02 * torch.randn(LENGTH, WIDTH))
        block = nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, 0.1, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.ModuleList(
            type(block)(WIDTH, HEADS, 4 * WIDTH, 0.1, "gelu", batch_first=True, norm_first=True) for _ in range(BLOCKS)
        )
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, len(PACKAGES))

    def forward(self, words):
        x = self.words(words) + self.places
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


def docstrings(part):
    """Words (n, 64) as numbers and packages: of every ten docstrings 6 to learn from, 3 to hand over, 1 to test.

    A docstring longer than 64 words is several samples, all in the same part.
    """
    pairs = [(told, label) for label, name in enumerate(PACKAGES) for told in docstrings_of(name)]
    kinds = np.random.default_rng(0).permutation(len(pairs)) % 10
    x, y = [], []
    for (told, label), kind in zip(pairs, kinds, strict=True):
        if {"train": kind < 6, "given": 6 <= kind < 9, "test": kind == 9}[part]:
            words = [1 + zlib.crc32(word.encode()) % (WORDS - 1) for word in told.lower().split()]
            for start in range(0, len(words), LENGTH):
                piece = words[start : start + LENGTH]
                if len(piece) >= LENGTH // 8:
                    x.append(piece + [0] * (LENGTH - len(piece)))
                    y.append(label)
    return torch.tensor(x), torch.tensor(y)


def train(model, steps, rate, teacher=None):
    """On the training part; the teacher's answers count half."""
    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    x, y = docstrings("train")
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps)
    model.train()
    for _ in range(steps):
        part = torch.randint(0, len(x), (BATCH,))
        optimiser.zero_grad()
        told = model(x[part])
        loss = functional.cross_entropy(told, y[part])
        if teacher is not None:
            with torch.no_grad():
                wanted = functional.log_softmax(teacher(x[part]) / HEAT, dim=-1)
            kept = functional.log_softmax(told / HEAT, dim=-1)
            loss = (loss + HEAT**2 * functional.kl_div(kept, wanted, log_target=True, reduction="batchmean")) / 2
        loss.backward()
        optimiser.step()
        schedule.step()


def fine_tune(model, steps, teacher=None):
    """What suffice calls."""
    train(model, steps, 5e-4, teacher)


def classifier():
    """What the search is pointed at."""
    model, path = Classifier(), FOLDER / "classifier.pt"
    if not path.exists():
        train(model, TRAIN_STEPS, 5e-4)
        FOLDER.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), path)
    model.load_state_dict(torch.load(path))
    x, y = docstrings("given")
    return {"model": model, "example_inputs": (x[:2],), "samples": (x, y), "fine_tune": fine_tune}


def accuracy(folder):
    """Of a form, on the test part."""
    x, y = docstrings("test")
    session = open_form(folder, THREADS)
    found = np.concatenate([session([part.numpy()])[0].argmax(1) for part in x.split(BATCH)])
    return float((found == y.numpy()).mean())


def search(folder, name, *options):
    """What the search found, and its bundle."""
    bundle, told = folder / name, folder / f"{name}.json"
    command = [sys.executable, "-m", "suffice", "improve", f"{ROOT / 'distil.py'}:classifier", "--floor=-3%"]
    command += ["--threads", str(THREADS), "--bundle", str(bundle), "--json", str(told), *map(str, options)]
    with (folder / f"{name}.log").open("w") as log:
        subprocess.run(command, stderr=log, stdout=log, check=True, cwd=ROOT)
    return json.loads(told.read_text()), bundle


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    args = parser.parse_args()
    from suffice.change.models import build_form
    from suffice.measure.model.subject import Subject
    from suffice.measure.model.torch_target import inspect_module

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        target = f"{ROOT / 'distil.py'}:classifier"
        told = inspect_module({}, target, str(folder / "samples"), trust=False, quality=None)
        subject = Subject.from_json(told)
        original, whole = folder / "original", folder / "whole"
        original.mkdir()
        whole.mkdir()
        subject.form.write(original)
        build_form({}, "onnx-runtime", {}, source=str(original), folder=str(whole), samples=str(folder / "samples"))
        found, bundle = search(folder, "smaller", "--allow", "semantic", "--fine-tune-steps", FINE_TUNE_STEPS)
        dropped = next(each for each in found["trials"] if each["name"].startswith("layer-dropping ("))
        half = folder / "half"
        half.mkdir()
        settings = dropped["changes"][0]["settings"]
        build_form(
            {}, "layer-dropping", settings, source=str(original), folder=str(half), samples=str(folder / "samples")
        )
        parameters = Form.read(half).settings["parameters"]
        row = {
            "parameters": [subject.parameters, parameters],
            "fewer parameters": 1 - parameters / subject.parameters,
            "accuracy": {name: accuracy(each) for name, each in (("whole", whole), ("half", half), ("bundle", bundle))},
            "speedup, the same backend": {},
            "chosen": found["chosen"],
            "chosen over original": next(each for each in found["trials"] if each["name"] == found["chosen"])[
                "figures"
            ]["speedup"]["value"],
            "verdict of half": dropped["reason"],
            "build_s": dropped["spent_s"],
            "search_s": found["seconds"],
        }
        for size in (1, BATCH):
            rng, forms = Random(0), {"whole": whole, "half": half}
            times = timed(forms, folder / "samples", size, threads=THREADS, rounds=args.rounds, rng=rng)
            gain = ratio(times["whole"], times["half"], rng)
            row["speedup, the same backend"][f"batch {size}"] = [gain.value, gain.low, gain.high]
        row["share of the accuracy"] = row["accuracy"]["half"] / row["accuracy"]["whole"]
    machine = {"machine": platform.machine(), "processors": os.cpu_count(), "torch": torch.__version__}
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"distil_{platform.machine()}_{dt.datetime.now(tz=dt.UTC).date()}.json"
    path.write_text(json.dumps({"command": sys.argv, **machine, **row}, indent=1) + "\n")
    print(json.dumps(row, indent=1), f"\nwrote {path}")


if __name__ == "__main__":
    main()
