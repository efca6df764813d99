"""Every step writes a histogram of each parameter and of its size to a log, and flushes it."""

import json
import tempfile

import numpy as np
import torch
from parts import Ready, as_it_is, mlp, train
from torch.utils.data import DataLoader

if __name__ == "__main__":
    with tempfile.TemporaryFile("w") as log:

        def after(step, model, output, y):
            """One line of the log."""
            line = {"step": step, "accuracy": (output.argmax(1) == y).float().mean().item()}
            for name, parameter in model.named_parameters():
                values = parameter.detach().flatten().numpy()
                counts, edges = np.histogram(values, bins=64)
                line[name] = {"counts": counts.tolist(), "edges": edges.tolist(), "norm": float(np.linalg.norm(values))}
            log.write(json.dumps(line) + "\n")
            log.flush()

        train(
            mlp(512, 3), DataLoader(Ready(6400, 3072), batch_size=128, shuffle=True, collate_fn=as_it_is), after=after
        )
