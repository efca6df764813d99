"""Large products of matrices in float32, and nothing else."""

import torch
from parts import over
from torch import nn

if __name__ == "__main__":
    model = nn.Sequential(*(nn.Linear(1024, 1024) for _ in range(4)))
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-4)
    x, y = torch.randn(512, 1024), torch.randn(512, 1024)
    while not over():
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
