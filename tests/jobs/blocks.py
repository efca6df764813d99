"""A job whose steps fill blocks of memory that the C library gives back at once; it prints what it was started with."""

import os
import sys

import torch

torch.manual_seed(0)
print("policy", os.environ.get("OMP_WAIT_POLICY"), "preloaded", os.environ.get("LD_PRELOAD"))
steps, blocks = map(int, sys.argv[1:])
model = torch.nn.Linear(8, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for _ in range(steps):
    for _ in range(blocks):
        torch.empty(1 << 24).fill_(1.0)
    optimizer.zero_grad()
    model(torch.randn(16, 8)).square().mean().backward()
    optimizer.step()
