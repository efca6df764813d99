"""A training loop whose parts take planted times: `planted.py DATA FORWARD BACKWARD OPTIMISER OTHER STEPS` in ms.

Prints the seconds of the loop, by its own clock.
"""

import sys
import time

import torch
from torch.utils.data import DataLoader, Dataset

data_ms, forward_ms, backward_ms, optimiser_ms, other_ms = (float(text) for text in sys.argv[1:6])
steps = int(sys.argv[6])
torch.set_num_threads(1)


def spend(milliseconds: float) -> None:
    """Wait without sleeping, which would take longer than it was told."""
    until = time.perf_counter() + milliseconds / 1e3
    while time.perf_counter() < until:
        pass


class Samples(Dataset):
    def __len__(self) -> int:
        return steps

    def __getitem__(self, index: int) -> torch.Tensor:
        spend(data_ms)
        return torch.ones(4)


class SlowBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        spend(backward_ms)
        return grad


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 1)

    def forward(self, x):
        spend(forward_ms)
        return SlowBackward.apply(self.linear(x))


class SlowSGD(torch.optim.SGD):
    def step(self, closure=None):
        spend(optimiser_ms)
        return super().step(closure)


model = Model()
optimiser = SlowSGD(model.parameters(), lr=0.01)
loader = DataLoader(Samples(), batch_size=1)
begun = time.perf_counter()
for batch in loader:
    loss = model(batch).sum()
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
    spend(other_ms)
print(f"loop: {time.perf_counter() - begun:.6f}")
