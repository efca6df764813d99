"""Two ranks that train together, plain and with techniques of `change.ranks` switched, and print what came of it."""

import json
import os
import sys
import tempfile

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from suffice.agent.rig.job import Job, Refused
from suffice.change.ranks import bucket_size, bucket_view, gradient_compression, no_sync, static_graph

STEPS = 12
WORLD = 2
SEARCHING = {"find_unused_parameters": True}
BITWISE = {"bucket-view": (bucket_view, {}, {}), "bucket-size": (bucket_size, {"mib": 1}, {})}
BITWISE["static-graph"] = (static_graph, {}, SEARCHING)


class OneWrapper(Job):
    """The job has one model."""

    def __init__(self, model, optimiser, *, together=True):
        super().__init__(torch, "")
        self.model, self.optimiser, self.together = model, optimiser, together

    def roots(self):
        return [self.model]

    def optimisers(self):
        return [self.optimiser]


def made(**options):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    model = DistributedDataParallel(net, **{"bucket_cap_mb": 0.02, **options})
    return model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def train(rank, model, optimiser, before_step=lambda _: None, passes=lambda _: 1):
    """The losses and the sums of the weights."""
    generator = torch.Generator().manual_seed(rank + 1)
    losses = []
    for step in range(STEPS):
        before_step(step)
        optimiser.zero_grad(set_to_none=bool(step % 3))
        for _ in range(passes(step)):
            x, y = torch.randn(8, 32, generator=generator), torch.randint(0, 4, (8,), generator=generator)
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return [*losses, *(p.double().sum().item() for p in model.parameters())]


def refusal(technique, model, optimiser, settings=None, **options):
    try:
        technique.prepare(OneWrapper(model, optimiser, **options), settings or {})
    except Refused as refused:
        return str(refused)
    return None


def bitwise(rank, technique, settings, options):
    """Whether it computes what the plain job does: from the start, and switched before every step."""
    plain = train(rank, *made(**options))
    model, optimiser = made(**options)
    switch = technique.prepare(OneWrapper(model, optimiser, together=False), settings)
    switch.on()
    told = {"from the start": train(rank, model, optimiser) == plain}
    told["in training"] = refusal(technique, model, optimiser, settings, together=False)
    switch.off()
    model, optimiser = made(**options)
    switch = technique.prepare(OneWrapper(model, optimiser), settings)
    told["switched"] = train(rank, model, optimiser, lambda step: (switch.on if step % 2 else switch.off)()) == plain
    return told


def views(rank):
    """Whether the gradients are views while it is on, and when it is off."""
    model, optimiser = made()
    switch = bucket_view.prepare(OneWrapper(model, optimiser), {})
    switch.on()
    train(rank, model, optimiser)
    on = [p.grad._is_view() for p in model.parameters()]
    switch.off()
    return {"on": all(on), "off": any(p.grad._is_view() for p in model.parameters())}


def accumulating(rank, passes):
    """The largest difference from the plain job's losses and weights, and what the technique tells."""
    plain = train(rank, *made(), passes=passes)
    model, optimiser = made()
    switch = no_sync.prepare(OneWrapper(model, optimiser), {})
    switch.on()
    changed = train(rank, model, optimiser, passes=passes)
    sums = torch.tensor([p.double().sum().item() for p in model.parameters()])
    others = sums.clone()
    dist.broadcast(others, src=0)
    furthest = max(abs(a - b) for a, b in zip(plain, changed, strict=True))
    return {"furthest": furthest, "alike": torch.equal(sums, others), **switch.facts()}


def refusals():
    wrapped = made()
    bare = torch.nn.Linear(2, 2)
    hooked = made()
    hooked[0].register_comm_hook(None, allreduce_hook)
    sought = made(**SEARCHING)
    functional.cross_entropy(sought[0](torch.randn(8, 32)), torch.zeros(8, dtype=torch.long)).backward()
    sought[0].module[0].weight.grad = None
    return {
        "bare": refusal(bucket_view, bare, torch.optim.SGD(bare.parameters(), lr=0.1)),
        "has views": refusal(bucket_view, *made(gradient_as_bucket_view=True)),
        "hooked": [refusal(each, *hooked, {"mib": 1}) for each in (bucket_view, bucket_size)],
        "has size": refusal(bucket_size, *made(bucket_cap_mb=1), {"mib": 1}),
        "no search": refusal(static_graph, *wrapped),
        "found": refusal(static_graph, *sought),
        "processor": refusal(gradient_compression, *wrapped),
    }


def main(rank, store):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=WORLD)
    told = {name: bitwise(rank, *each) for name, each in BITWISE.items()}
    told["views"] = views(rank)
    told["accumulating"] = accumulating(rank, lambda _: 3)
    told["a shorter step"] = accumulating(rank, lambda step: 2 if step == STEPS - 4 else 3)
    told["one pass"] = accumulating(rank, lambda _: 1)
    told["refusals"] = refusals()
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
