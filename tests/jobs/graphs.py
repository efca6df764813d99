"""Compiles in the way named and prints dynamo's counters: `graphs.py module|inplace|function|step|late`."""

import json
import sys

import torch
from torch import nn
from torch._dynamo.utils import counters

way = sys.argv[1]
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
called = model
if way == "module":
    called = torch.compile(model, backend="aot_eager")
if way == "inplace":
    model.compile(backend="aot_eager")


def loss_of(x):
    return called(x).square().mean()


def step(x):
    optimiser.zero_grad()
    loss = called(x).square().mean()
    loss.backward()
    optimiser.step()
    return loss


if way == "function":
    loss_of = torch.compile(loss_of, backend="aot_eager")
if way == "step":
    step = torch.compile(step, backend="aot_eager")
losses = []
for index in range(8):
    if way == "late" and index == 4:
        called = torch.compile(model, backend="aot_eager")
    x = torch.randn(4, 8)
    if way == "step":
        losses.append(step(x).item())
        continue
    optimiser.zero_grad()
    loss = loss_of(x)
    loss.backward()
    optimiser.step()
    losses.append(loss.item())
stats = counters["stats"]
breaks = sum(counters["graph_break"].values())
print(json.dumps({"graphs": stats["unique_graphs"], "breaks": breaks, "losses": [each.hex() for each in losses]}))
