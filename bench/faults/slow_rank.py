"""Two ranks under torchrun; the second has twice the work in its forward pass, and the first waits for it."""

import datetime as dt

import torch
import torch.distributed as dist
from parts import burn, mlp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

STEPS = 200


class Uneven(nn.Module):
    """A model that one rank prepares its input for."""

    def __init__(self, extra_s):
        super().__init__()
        self.net, self.extra_s = mlp(512, 3), extra_s

    def forward(self, x):
        """Some work of this rank alone first."""
        burn(self.extra_s)
        return self.net(x)


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=dt.timedelta(seconds=60))
    model = DistributedDataParallel(Uneven(0.03 if dist.get_rank() == 1 else 0.0))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        x, y = torch.randn(64, 3072), torch.randint(0, 10, (64,))
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    dist.destroy_process_group()
