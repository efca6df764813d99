"""Ranks that exchange far more than they compute: `torchrun --nproc-per-node 2 ddp_wide.py [EPOCHS [PASSES A STEP]]`."""

import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

torch.set_num_threads(1)
dist.init_process_group("gloo")
torch.manual_seed(0)
data = TensorDataset(torch.randn(512, 256), torch.randint(0, 4, (512,)))
sampler = DistributedSampler(data)
loader = DataLoader(data, batch_size=4, sampler=sampler)
net = nn.Sequential(nn.Linear(256, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 4))
model = DistributedDataParallel(net)
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
epochs, passes = (*map(int, sys.argv[1:]), *(2, 1)[len(sys.argv) - 1 :])
for epoch in range(epochs):
    sampler.set_epoch(epoch)
    for number, (x, y) in enumerate(loader, start=1):
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        if number % passes == 0:
            optimiser.step()
            optimiser.zero_grad()
print(f"loss {loss.item():.4f} of rank {dist.get_rank()}")
dist.destroy_process_group()
