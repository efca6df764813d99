"""The samples of bench/model_peers.py, as Olive's configuration names them: Olive imports this file by its path."""

from pathlib import Path

import numpy as np
from olive.data.component.dataset import BaseDataset
from olive.data.registry import Registry


@Registry.register_dataset()
def parts_of_samples(folder, parts, name, most=None, **_):
    """Samples of these parts in their order, ({input: array}, label) each; `most`: the first ones only."""
    pairs = []
    for part in parts:
        for path in sorted(Path(folder, part).glob("*.npz")):
            with np.load(path, allow_pickle=False) as arrays:
                pairs += [({name: x}, y) for x, y in zip(arrays["input0"], arrays["labels"], strict=True)]
    return BaseDataset(pairs, max_samples=most)


@Registry.register_post_process()
def largest_output(output, **_):
    """The class that the model names."""
    return output.argmax(dim=-1)
