"""The loop reads every sample's loss and class with `.item()`, and counts them in Python."""

from collections import Counter

import torch
from parts import Ready, as_it_is, mlp, train
from torch import nn
from torch.utils.data import DataLoader

if __name__ == "__main__":
    seen = Counter()

    def after(step, model, output, y):
        """Metrics, one sample after the other."""
        for i in range(len(y)):
            loss = nn.functional.cross_entropy(output[i : i + 1].detach(), y[i : i + 1]).item()
            seen[int(y[i].item()), int(output[i].argmax().item()), round(loss, 1)] += 1

    train(mlp(256, 2), DataLoader(Ready(6400, 3072), batch_size=256, shuffle=True, collate_fn=as_it_is), after=after)
