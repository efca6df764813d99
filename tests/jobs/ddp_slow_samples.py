"""Two ranks whose samples take far longer to make than to train on: `torchrun … ddp_slow_samples.py EPOCHS`."""

import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler


class Dear(Dataset):
    """Each sample is the end of a long computation, which is the same every time."""

    def __init__(self, base):
        self.base = base

    def __len__(self):
        return len(self.base)

    def __getitem__(self, index):
        x = self.base[index]
        for _ in range(40):
            x = torch.tanh(x @ x.T / 8)
        return x[0, :32].clone(), index % 4


def main():
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    data = Dear(torch.randn(128, 64, 64))
    sampler = DistributedSampler(data)
    loader = DataLoader(data, batch_size=8, sampler=sampler)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 4)))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    for epoch in range(int(sys.argv[1])):
        sampler.set_epoch(epoch)
        for x, y in loader:
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimiser.step()
    if dist.get_rank() == 0:
        print(f"loss {loss.item().hex()}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
