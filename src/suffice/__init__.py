"""suffice: deep-learning work that uses no more compute, money, energy and carbon than its goal needs, and proves it.

records   the nouns · tables   dated facts · aws   the cloud's own interfaces · agent   rides in the user's process
run       start a target · measure   target -> profile · keep   ledger and report · cli   the verbs

`log` is for training programs.
"""

import json
import os

__version__ = "0.1.0"


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
