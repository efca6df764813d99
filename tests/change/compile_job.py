"""Trains three models with compiled calls switched on and off, and prints what came of it: `compile_job.py SCRATCH`.

`recurrent` is nothing but an LSTM, of which torch makes no graph; `broken` is compiled without a compiler for C++.
"""

import json
import sys

import torch
from torch import nn

from suffice.agent.rig.job import Job
from suffice.agent.roots import Roots
from suffice.change.train import compile as technique

STEPS = 10


class Recurrent(nn.LSTM):
    def forward(self, x):
        return super().forward(x[:, None])[0][:, -1]


def made(kind):
    torch.manual_seed(0)
    net = (
        Recurrent(6, 4, batch_first=True)
        if kind == "recurrent"
        else nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.3), nn.Linear(16, 4))
    )
    return net, torch.optim.SGD(net.parameters(), lr=0.1)


def train(net, optimiser, before_step=lambda _: None):
    """Losses of some steps, each followed by an evaluation of another batch size."""
    generator = torch.Generator().manual_seed(1)
    losses = []
    for step in range(STEPS):
        x = torch.randn(5, 6, generator=generator)
        before_step(step)
        optimiser.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            net(x[:2])
        net.train()
    return losses


def tried(kind):
    """With the agent's marks around the model, which must stay outermost."""
    plain = train(*made(kind))
    net, optimiser = made(kind)
    calls = []
    agent = Roots(torch, lambda *_: calls.append(1) or True, lambda: None)
    agent.search(insist=False)
    mark = net.__dict__["_compiled_call_impl"]
    job = Job(torch, sys.argv[1])
    job.same_draws = True
    switch = technique.prepare(job, {})
    losses = train(net, optimiser, lambda step: switch.on() if step % 3 else switch.off())
    switch.on()
    told = {"inside": mark.inner is not None and net.__dict__["_compiled_call_impl"] is mark}
    switch.off()
    told["off"] = mark.inner is None and net.__dict__["_compiled_call_impl"] is mark
    agent.remove()
    told["gone"] = "_compiled_call_impl" not in net.__dict__
    told["calls_marked"] = len(calls)
    told["furthest"] = max(abs(a - b) / abs(b) for a, b in zip(losses, plain, strict=True))
    told["facts"] = switch.facts()
    return told


if __name__ == "__main__":
    torch.set_num_threads(1)
    results = {"recurrent": tried("recurrent")}
    import torch._inductor.config as settings

    compiler, settings.cpp.cxx = settings.cpp.cxx, (None, "/bin/false")
    results["broken"] = tried("broken")
    settings.cpp.cxx = compiler
    results["layers"] = tried("layers")
    json.dump(results, sys.stdout)
