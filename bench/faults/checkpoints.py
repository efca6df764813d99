"""Every ten steps the model and its optimiser are written to a file, and the file to the disk."""

import os
import tempfile

import torch
from parts import Ready, as_it_is, mlp, train
from torch.utils.data import DataLoader

if __name__ == "__main__":
    net = mlp(1024, 4)
    optimiser = torch.optim.Adam(net.parameters(), fused=True)
    with tempfile.TemporaryDirectory() as folder:

        def after(step, model, output, y):
            """Save, and be sure of it."""
            if step % 10 == 9:
                with open(f"{folder}/checkpoint.pt", "wb") as file:
                    torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict()}, file)
                    file.flush()
                    os.fsync(file.fileno())

        loader = DataLoader(Ready(3200, 3072), batch_size=64, shuffle=True, collate_fn=as_it_is)
        train(net, loader, optimiser, after=after)
