"""A loop in which every other step has planted delays: `planted.py DATA FORWARD BACKWARD OPTIMISER OTHER PAIRS` in ms.

The plain steps show what the parts take by themselves. Prints as JSON the seconds that the planted delays really took
by the job's own clock (on a busy machine 1 ms is longer than that), and the seconds of the loop after a warm-up step.
"""

import json
import sys
import time

import torch
from torch.utils.data import DataLoader, Dataset

data_ms, forward_ms, backward_ms, optimiser_ms, other_ms = (float(text) for text in sys.argv[1:6])
pairs = int(sys.argv[6])
torch.set_num_threads(1)
spent = dict.fromkeys(("wait_for_data", "forward", "backward", "optimiser", "other"), 0.0)
planting = False


def spend(part: str, milliseconds: float) -> None:
    """Stay busy, which ends sooner than a sleep, and note what it took."""
    if planting:
        begun = time.perf_counter()
        while time.perf_counter() < begun + milliseconds / 1e3:
            pass
        spent[part] += time.perf_counter() - begun


class Samples(Dataset):
    def __len__(self) -> int:
        return 2 * pairs + 1

    def __getitem__(self, index: int) -> torch.Tensor:
        global planting
        planting = index > 0 and index % 2 == 0
        spend("wait_for_data", data_ms)
        return torch.ones(4)


class SlowBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        spend("backward", backward_ms)
        return grad


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 1)

    def forward(self, x):
        spend("forward", forward_ms)
        return SlowBackward.apply(self.linear(x))


class SlowSGD(torch.optim.SGD):
    def step(self, closure=None):
        spend("optimiser", optimiser_ms)
        return super().step(closure)


model = Model()
optimiser = SlowSGD(model.parameters(), lr=0.01)
begun = 0.0
for batch in DataLoader(Samples(), batch_size=1):
    loss = model(batch).sum()
    spend("other", other_ms)
    loss.backward()
    optimiser.step()
    ended = time.perf_counter()
    begun = begun or ended
    optimiser.zero_grad()
print(json.dumps({"loop_s": ended - begun, **spent}))
