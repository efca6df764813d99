"""suffice: deep-learning work that uses no more compute, money, energy and carbon than its goal needs, and proves it.

records   the nouns · tables   dated facts · aws   the cloud's own interfaces · agent   rides in the user's process
form      a model in one form, and its bundle · run   start a target · measure   target -> profile
keep      ledger and report · cli   the verbs

`log` is for training programs, `load` for those that use a model which suffice improved.
"""

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from suffice.form.bundle import Bundle

__version__ = "0.1.0"


def load(folder: "str | Path", *, threads: int | None = None, trust: bool = False) -> "Bundle":
    """The model of a bundle that `suffice improve MODEL` wrote, as a callable of arrays or tensors.

    `trust` opens a bundle of machine code (inductor, tensorrt, neuron) too, which runs whatever its writer put there.

    Raises:
        ModelError: if it is no bundle, or a file is missing, another, or one too many; if it is machine code that is
            not trusted, or for another processor.
        MissingExtraError: if its backend is not installed.
    """
    from suffice.form.bundle import load as load_bundle  # noqa: PLC0415 - a job that only logs waits for no more

    return load_bundle(folder, threads=threads, trust=trust)


def log(**metrics: float) -> None:
    """Tell suffice how good the model is, for example `suffice.log(accuracy=0.93)`; the latest value counts.

    `suffice improve --prove full --metric accuracy` compares it; a program that runs without suffice tells nobody.

    Raises:
        TypeError, ValueError: if a value is no number.
    """
    told = {name: float(value) for name, value in metrics.items()}
    path = os.environ.get("SUFFICE_METRICS")
    if path:
        with open(path, "a") as file:  # noqa: PTH123 - without pathlib it is imported in no time
            file.write(json.dumps(told) + "\n")
