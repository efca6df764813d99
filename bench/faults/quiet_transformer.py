"""No fault: a small language model that cuts its batches from a text, with a fused optimiser."""

import torch
from parts import Transformer, over
from torch import nn

if __name__ == "__main__":
    text = torch.randint(0, 256, (1_000_000,))
    model = Transformer(128, 3)
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    while not over():
        starts = torch.randint(0, len(text) - 129, (32,)).tolist()
        tokens = torch.stack([text[i : i + 129] for i in starts])
        output = model(tokens[:, :-1])
        loss = nn.functional.cross_entropy(output.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
