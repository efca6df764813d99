"""Trains without an optimiser of torch: update_by_hand.py EPOCHS; prints the loss of each epoch."""

import sys

import torch

torch.manual_seed(3)
model = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.ReLU(), torch.nn.Dropout(0.1), torch.nn.Linear(64, 4))
inputs, labels = torch.randn(512, 16), torch.randint(0, 4, (512,))
for _ in range(int(sys.argv[1])):
    total = 0.0
    for start in range(0, 512, 32):
        model.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs[start : start + 32]), labels[start : start + 32])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for parameter in model.parameters():
            parameter.data.add_(parameter.grad, alpha=-0.1)
        total += loss.item()
    print(f"loss {total:.9f}", flush=True)
