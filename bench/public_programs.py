"""The programs that bench/public.py runs: their words, their data, and what is read in their output."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from public_data import make

PROGRAMS = Path(__file__).resolve().parent / "programs"
PYTHON = Path(sys.executable)
BY_HAND = {name: f"--by-hand {name}" for name in ("compile", "bf16", "workers")}
WITHOUT_LOADER = {name: words for name, words in BY_HAND.items() if name != "workers"}


@dataclass(frozen=True, kw_only=True)
class Program:
    """A training command, its data, and what of its output tells how far it is and how good the model became."""

    data: str
    words: str
    lap: str
    metric: str
    by_hand: dict[str, str]

    def command(self, folder):
        """The words to start it with."""
        first, *rest = self.words.format(data=make(self.data, folder)).split()
        return [str(PYTHON), str(PROGRAMS / first), *rest] if first.endswith(".py") else [beside_python(first), *rest]


def beside_python(name):
    """A command that a package has installed beside this Python."""
    return str(PYTHON.with_name(name))


ALL = {
    "cifar-resnet": Program(
        data="cifar",
        words="cifar_resnet.py --data {data}",
        lap=r"^Epoch:",
        metric=r"Test acc: ([\d.]+)",
        by_hand=BY_HAND,
    ),
    "nanogpt": Program(
        data="text",
        words="nanogpt.py --data {data}",
        lap=r"^iter ",
        metric=r"val loss ([\d.]+)",
        by_hand=WITHOUT_LOADER,
    ),
    "char-rnn": Program(
        data="source",
        words="char_rnn.py --data {data}",
        lap=r"^step ",
        metric=r"mean loss of the last \d+ steps: ([\d.]+)",
        by_hand=WITHOUT_LOADER,
    ),
    "vae": Program(
        data="mnist",
        words="vae.py --data {data}",
        lap=r"Test set loss",
        metric=r"Test set loss: ([\d.]+)",
        by_hand=BY_HAND,
    ),
    "word-lm": Program(
        data="text",
        words="word_lm.py --data {data}",
        lap=r"ms/batch",
        metric=r"test loss ([\d.]+)",
        by_hand=WITHOUT_LOADER,
    ),
    "lightning-images": Program(
        data="mnist",
        words="lightning_images.py --data {data}",
        lap=r"loss of the last batch",
        metric=r"test accuracy: ([\d.]+)",
        by_hand=BY_HAND,
    ),
    "accelerate-images": Program(
        data="photos",
        words="accelerate_images.py --data {data}",
        lap=r"^epoch ",
        metric=r"accuracy: ([\d.]+)",
        by_hand=BY_HAND,
    ),
    "transformer-finetune": Program(
        data="docstrings",
        words="transformer_finetune.py --data {data}",
        lap=r"'loss'",
        metric=r"eval_loss ([\d.]+)",
        by_hand=BY_HAND,
    ),
    "chemprop": Program(
        data="molecules",
        words="chemprop train -i {data}/molecules.csv -o out --smiles-columns smiles --target-columns logp --epochs 8 "
        "--accelerator cpu --devices 1 --num-workers 0 --pytorch-seed 1",
        lap=r"^Epoch ",
        metric=r"test/mse: ([\d.]+)",
        by_hand={"workers": f"--num-workers {os.cpu_count()}"},
    ),
}
