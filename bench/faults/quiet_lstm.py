"""No fault: a recurrent network over characters, a batch of 64, losses logged every fifty steps."""

import torch
from parts import over
from torch import nn


class Characters(nn.Module):
    """Two layers of memory cells."""

    def __init__(self):
        super().__init__()
        self.letters, self.cells, self.head = (
            nn.Embedding(96, 64),
            nn.LSTM(64, 192, 2, batch_first=True),
            nn.Linear(192, 96),
        )

    def forward(self, x):
        """(batch, length) -> (batch, length, letters)."""
        return self.head(self.cells(self.letters(x))[0])


if __name__ == "__main__":
    model = Characters()
    optimiser = torch.optim.Adam(model.parameters(), fused=True)
    step = 0
    while not over():
        x = torch.randint(0, 96, (64, 49))
        loss = nn.functional.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        step += 1
        if step % 50 == 0:
            print(step, loss.item())
