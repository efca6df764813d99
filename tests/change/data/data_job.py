"""A small training with a change of its data: `python -m tests.change.data.data_job '{"dataset": …, "change": …, …}'`.

dataset, folder, scratch   which class of `made_sets`, where its files and the techniques' files are
change, settings           a technique of change/data, or none; `when` "before" the first batch, or "middle" of it
workers, shuffle, epochs   as they say; `start` the workers' start method
toggle                     the change is switched every so many steps
Prints losses as exact text, the generators' last states, and the switch's facts.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from importlib import import_module
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from suffice.agent.rig.job import Job, Refused
from tests.change.data import made_sets


class Mine(Job):
    """In a fork of the tests there are other tests' loaders."""

    def __init__(self, scratch: str, loader: DataLoader) -> None:
        super().__init__(torch, scratch)
        self.mine = loader

    def loaders(self) -> list:
        """Ours alone."""
        return [self.mine]


class Told:
    """The change, from the job's point of view."""

    def __init__(self, order: dict, loader: DataLoader) -> None:
        self.order = order
        self.loader = loader
        self.switch = None
        self.refused = None
        self.steps = 0

    def begin(self) -> None:
        """Prepare and switch on."""
        scratch = self.order["scratch"]
        job = Mine(scratch, self.loader) if __name__ != "__main__" else Job(torch, scratch)
        name = self.order["change"].replace("-", "_")
        module = import_module(f"suffice.change.data.{name}")
        try:
            self.switch = module.prepare(job, self.order.get("settings", {}))
            self.switch.on()
        except Refused as refusal:
            self.refused = str(refusal)

    def reads(self, loader: DataLoader) -> None:
        """As the steering tells it, before each iteration."""
        if self.order["change"] and self.steps == 0 and self.order.get("when", "before") == "before":
            self.begin()
        if self.switch is not None and hasattr(self.switch, "reads"):
            self.switch.reads(loader)

    def stepped(self) -> None:
        """As the steering tells it, after each step."""
        self.steps += 1
        if self.order["change"] and self.steps == 2 and self.order.get("when") == "middle":
            self.begin()
        toggle = self.order.get("toggle")
        if toggle and self.switch is not None and self.steps % toggle == 0:
            (self.switch.on if self.steps // toggle % 2 else self.switch.off)()


def train(order: dict) -> dict:
    """Train; what came of it."""
    torch.manual_seed(order.get("seed", 0))
    random.seed(order.get("seed", 0))
    files = made_sets.write_files(Path(order["folder"]) / "samples", order.get("count", 24))
    dataset = getattr(made_sets, order["dataset"])(files)
    options = {"num_workers": order.get("workers", 0), "persistent_workers": order.get("persistent", False)}
    if order.get("start"):
        options["multiprocessing_context"] = order["start"]
    loader = DataLoader(dataset, 4, shuffle=order.get("shuffle", True), **options)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(3), torch.nn.Dropout(0.2))
    model(torch.ones(1, 1, made_sets.SIDE, made_sets.SIDE))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    told, losses, labels = Told(order, loader), [], []
    for epoch in range(order.get("epochs", 3)):
        if hasattr(dataset, "epoch"):
            dataset.epoch = epoch
        told.reads(loader)
        for pictures, wanted in loader:
            loss = torch.nn.functional.cross_entropy(model(pictures), wanted)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            losses.append(loss.item().hex())
            labels.append(wanted.tolist())
            told.stepped()
    states = hashlib.blake2b(torch.get_rng_state().numpy().tobytes() + repr(random.getstate()).encode()).hexdigest()
    facts = told.switch.facts() if told.switch is not None else {}
    return {"losses": losses, "labels": labels, "states": states, "facts": facts, "refused": told.refused}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(train(json.loads(sys.argv[1]))))
