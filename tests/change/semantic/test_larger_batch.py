"""Larger batches: the same samples in fewer steps, with the rate and the schedule that go with them."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, LambdaLR, LRScheduler, OneCycleLR, StepLR
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from suffice.agent.rig.job import Refused
from suffice.change.catalog import CATALOG
from suffice.change.semantic import larger_batch
from suffice.records import Loader, Profile
from tests.change.profiles import profile
from tests.change.small_jobs import JobOf

SAMPLES, BATCH = 70, 2


class Training:
    """A line fitted to points; what each step saw is kept."""

    def __init__(self, kind: str = "SGD", schedule: Any = None, **options: Any) -> None:
        torch.manual_seed(0)
        self.net = nn.Linear(1, 1)
        self.optimiser = getattr(torch.optim, kind)(self.net.parameters(), lr=0.01)
        dataset = TensorDataset(torch.arange(SAMPLES, dtype=torch.float32)[:, None] / SAMPLES)
        self.loader = DataLoader(dataset, BATCH, shuffle=True, **options)
        self.scheduler = None if schedule is None else schedule(self.optimiser, len(self.loader))
        self.seen: list[list[int]] = []
        self.job = JobOf([self.net], [self.optimiser], "/nowhere", ())
        self.job.loaders = lambda: [self.loader]  # type: ignore[method-assign]

    @property
    def order(self) -> list[int]:
        return [sample for batch in self.seen for sample in batch]

    def epoch(self, switch: Any = None, *, toggle: bool = False, by_hand: bool = False) -> None:
        torch.manual_seed(7)
        if switch is not None:
            switch.reads(self.loader)
        for step, (x,) in enumerate(self.loader):
            if by_hand:
                self.optimiser.param_groups[0]["lr"] = 0.01 / (step + 1)
            self.seen.append((x[:, 0] * SAMPLES).round().int().tolist())
            self.optimiser.zero_grad()
            (self.net(x) - 3 * x - 1).square().mean().backward()
            self.optimiser.step()
            if self.scheduler is not None:
                self.scheduler.step()
            if toggle:
                (switch.off if switch.is_on else switch.on)()


@pytest.fixture(autouse=True)
def codes() -> Iterator[None]:
    """Torch gets its functions back."""
    kind = torch.utils.data.dataloader._BaseDataLoaderIter
    functions = [kind._next_index, kind.__next__, LRScheduler.step]
    before = [function.__code__ for function in functions]
    yield
    for function, code in zip(functions, before, strict=True):
        function.__code__ = code


def switched(training: Training, times: int = 4) -> Any:
    switch = larger_batch.prepare(training.job, {"times": times})
    switch.on()
    return switch


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_has_the_same_samples_in_the_same_order(workers: int) -> None:
    """In a fourth of the steps; the last batch holds what is left, and no plain step is lost in the count."""
    plain, larger = Training(), Training(num_workers=workers)
    plain.epoch()
    switch = switched(larger)
    larger.epoch(switch)
    assert larger.order == plain.order
    assert [len(batch) for batch in larger.seen] == [8] * 8 + [6]
    assert switch.worth == len(plain.seen) == 35


def test_it_can_be_switched_at_every_step() -> None:
    """Steps stand for one or for four in turn, and the samples are still the same."""
    plain, larger = Training(), Training()
    plain.epoch()
    switch = switched(larger)
    larger.epoch(switch, toggle=True)
    assert larger.order == plain.order
    assert [len(batch) for batch in larger.seen] == [8, 2] * 7
    assert switch.worth == 28, "what is off counts by itself"


@pytest.mark.parametrize(("kind", "factor"), [("SGD", 4.0), ("AdamW", 2.0)])
def test_the_learning_rate_grows_while_it_steps(kind: str, factor: float) -> None:
    """By as much for SGD, by the root for Adam; the last batch has three parts, and the job sees its own rate."""
    training = Training(kind)
    switch = switched(training)
    rates: list[float] = []
    training.optimiser.register_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
    training.epoch(switch)
    last = 3.0 if kind == "SGD" else math.sqrt(3)
    assert rates == pytest.approx([0.01 * factor] * 8 + [0.01 * last])
    assert training.optimiser.param_groups[0]["lr"] == 0.01


def test_one_larger_step_is_the_sum_of_small_ones() -> None:
    """What the linear rule rests on: from one place, four small steps of SGD are the large one."""
    training = Training()
    weight = training.net.weight.detach().clone()
    switch = switched(training)
    switch.reads(training.loader)
    torch.manual_seed(7)
    (x,) = next(iter(training.loader))
    (training.net(x) - 3 * x - 1).square().mean().backward()
    gradients = []
    for part in x.split(BATCH):
        (gradient,) = torch.autograd.grad((training.net(part) - 3 * part - 1).square().mean(), training.net.weight)
        gradients.append(gradient)
    training.optimiser.step()
    assert torch.allclose(training.net.weight, weight - 0.01 * sum(gradients))


SCHEDULES = {
    "each step": lambda optimiser, _: LambdaLR(optimiser, lambda step: 0.9**step),
    "one cycle": lambda optimiser, steps: OneCycleLR(optimiser, max_lr=0.1, total_steps=steps + 1),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_of_steps_ends_where_it_did(name: str) -> None:
    """It makes as many steps as there are plain ones; a cycle that is over after those raises nothing."""
    plain, larger = Training(schedule=SCHEDULES[name]), Training(schedule=SCHEDULES[name])
    plain.epoch()
    switch = switched(larger)
    larger.epoch(switch)
    assert larger.scheduler.last_epoch == plain.scheduler.last_epoch == 35
    assert larger.optimiser.param_groups[0]["lr"] == plain.optimiser.param_groups[0]["lr"]
    assert switch.given_up is None


def test_a_schedule_of_epochs_is_left_alone() -> None:
    """It is stepped once for many steps."""
    training = Training()
    scheduler = StepLR(training.optimiser, 1, 0.5)
    switch = switched(training)
    for _ in range(3):
        training.epoch(switch)
        scheduler.step()
    assert scheduler.last_epoch == 3
    assert training.optimiser.param_groups[0]["lr"] == 0.01 / 8


def test_a_rate_set_by_hand_at_each_step_ends_it() -> None:
    """Its count of steps would run slower, and nobody can tell it."""
    training = Training()
    switch = switched(training)
    training.epoch(switch, by_hand=True)
    assert "by hand" in switch.facts()["given_up"]
    assert [len(batch) for batch in training.seen][-10:] == [BATCH] * 10


def test_evaluation_keeps_its_batches() -> None:
    """What is read without gradients is as the job made it."""
    training = Training()
    switch = switched(training)
    with torch.no_grad():
        switch.reads(training.loader)
        assert {len(x) for (x,) in training.loader} == {BATCH}


class Stream(IterableDataset):
    """Has no samples by number."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(4))


def of_loader(make: Any) -> Any:
    def made() -> Training:
        training = Training()
        training.loader = make(training.loader.dataset)
        return training

    return made


REFUSED = [
    (lambda: Training("LBFGS"), "no rule is known"),
    (lambda: Training(schedule=lambda o, _: CosineAnnealingWarmRestarts(o, 5)), "steps in a way of its own"),
    (of_loader(lambda _: DataLoader(Stream(), 2)), "iterable data set"),
    (of_loader(lambda data: DataLoader(data, batch_sampler=[[0, 1], [2]])), "a sampler of its own"),
    (of_loader(lambda data: DataLoader(data, None)), "one by one"),
    (of_loader(lambda data: DataLoader(data, 10, shuffle=True)), "would have 1 steps"),
]


@pytest.mark.parametrize(("make", "reason"), REFUSED, ids=[each[1] for each in REFUSED])
def test_it_is_refused_with_the_reason(make: Any, reason: str) -> None:
    """Where batch, rate or schedule could not be made to match."""
    training = make()
    with pytest.raises(Refused, match=reason):
        larger_batch.prepare(training.job, {"times": 4})


def fed(batch: int, **options: Any) -> Profile:
    made = profile(**options)
    loader = Loader(name="0", role="training", dataset="Set", batch_size=batch, workers=0)
    object.__setattr__(made.ranks[0], "loaders", (loader,))
    return made


def test_what_is_proposed() -> None:
    """Small batches may grow more; memory bounds it."""
    propose = CATALOG["larger-batch"].propose
    assert propose(fed(8)) == [{"times": 4}, {"times": 2}]
    assert propose(fed(64)) == [{"times": 2}]
    assert propose(fed(8, peak_gib=5.0)) == [{"times": 2}]
    assert "memory" in propose(fed(8, peak_gib=10.0))
    assert "no rule" in propose(fed(8, optimisers=["LBFGS"]))
    assert "no DataLoader" in propose(profile())
