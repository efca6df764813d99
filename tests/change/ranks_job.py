"""Two ranks that train together, plain and with `bucket-view` switched, and print what came of it."""

import json
import os
import sys
import tempfile

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from suffice.agent.rig.job import Job, Refused
from suffice.change.train import bucket_view as technique

STEPS = 12
WORLD = 2


class OneWrapper(Job):
    """The job has one model."""

    def __init__(self, model, optimiser):
        super().__init__(torch, "")
        self.model, self.optimiser = model, optimiser

    def roots(self):
        return [self.model]

    def optimisers(self):
        return [self.optimiser]


def made(**options):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    model = DistributedDataParallel(net, bucket_cap_mb=0.02, **options)
    return model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def train(rank, model, optimiser, before_step=lambda _: None):
    generator = torch.Generator().manual_seed(rank + 1)
    losses = []
    for step in range(STEPS):
        before_step(step)
        x, y = torch.randn(8, 32, generator=generator), torch.randint(0, 4, (8,), generator=generator)
        optimiser.zero_grad(set_to_none=bool(step % 3))
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return [*losses, *(p.sum().item() for p in model.parameters())]


def refusal(model, optimiser):
    try:
        technique.prepare(OneWrapper(model, optimiser), {})
    except Refused as refused:
        return str(refused)
    return None


def views(model):
    return [p.grad._is_view() for p in model.parameters()]


def main(rank, store):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=WORLD)
    plain = train(rank, *made())
    told = {}
    model, optimiser = made()
    switch = technique.prepare(OneWrapper(model, optimiser), {})
    switch.on()
    told["from the start"] = train(rank, model, optimiser) == plain
    told["views"] = views(model)
    told["in training"] = refusal(model, optimiser)
    switch.off()
    told["views when off"] = views(model)
    model, optimiser = made()
    switch = technique.prepare(OneWrapper(model, optimiser), {"agreed": True})
    told["switched"] = train(rank, model, optimiser, lambda step: (switch.on if step % 2 else switch.off)()) == plain
    told["has it"] = refusal(*made(gradient_as_bucket_view=True))
    told["static"] = refusal(*made(static_graph=True))
    dist.destroy_process_group()
    return told


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        child = os.fork()
        told = main(1 if child == 0 else 0, f"{folder}/store")
        if child == 0:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    json.dump(told, sys.stdout)
