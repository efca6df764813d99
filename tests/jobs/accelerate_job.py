"""A loop written for Accelerate, with accumulation."""

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
torch.manual_seed(0)
accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
data = TensorDataset(torch.randn(320, 16), torch.randint(0, 3, (320,)))
model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
model, optimiser, loader = accelerator.prepare(model, optimiser, DataLoader(data, batch_size=16, shuffle=True))
for _ in range(2):
    for x, y in loader:
        with accelerator.accumulate(model):
            loss = nn.functional.cross_entropy(model(x), y)
            accelerator.backward(loss)
            optimiser.step()
            optimiser.zero_grad()
accelerator.print(f"loss {loss.item():.4f}")
