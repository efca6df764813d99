"""Small trainings in this process, in which a change is switched at the boundaries of steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from suffice.agent.rig.job import Job

STEPS = 24
BATCHES = 5


class JobOf(Job):
    """A job with these models and optimisers, whatever else is alive; with units that this machine may lack."""

    def __init__(
        self, roots: Sequence[nn.Module], optimisers: Sequence[Any], scratch: str, flags: Sequence[str]
    ) -> None:
        super().__init__(torch, scratch)
        self.models, self.steppers, self.flags = list(roots), list(optimisers), frozenset(flags)

    def roots(self) -> list[Any]:
        return self.models

    def optimisers(self) -> list[Any]:
        return self.steppers

    @property
    def processor_flags(self) -> frozenset[str]:
        return self.flags


@dataclass
class Training:
    """A model with its optimiser and batches; `losses` grows with each step."""

    net: nn.Module
    optimiser: Any
    shape: tuple[int, ...]
    loss_of: Callable[[Any, torch.Tensor], torch.Tensor] = functional.cross_entropy
    set_to_none: bool = True
    scratch: str = "/nowhere"
    flags: Sequence[str] = ()
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.batches = [
            (torch.randn(8, *self.shape, generator=generator), torch.randint(0, 4, (8,), generator=generator))
            for _ in range(BATCHES)
        ]

    @property
    def job(self) -> JobOf:
        return JobOf([self.net], [self.optimiser], self.scratch, self.flags)

    def step(self) -> None:
        inputs, labels = self.batches[len(self.losses) % BATCHES]
        self.optimiser.zero_grad(set_to_none=self.set_to_none)
        loss = self.loss_of(self.net(inputs), labels)
        loss.backward()
        self.optimiser.step()
        self.losses.append(loss.item())

    def run(self, steps: int = STEPS, before_step: Callable[[int], None] = lambda _: None) -> "Training":
        for index in range(steps):
            before_step(index)
            self.step()
        return self

    def toggled(self, technique: ModuleType, **settings: Any) -> Any:
        """Train with the change on in every other step; returns the switch, which is off."""
        switch = technique.prepare(self.job, settings)
        self.run(before_step=lambda index: switch.on() if index % 2 else switch.off())
        switch.off()
        return switch


class Block(nn.Module):
    """A residual block with dropout."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.wide, self.narrow = (
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.Linear(2 * width, width),
        )
        self.dropout = nn.Dropout(0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.dropout(self.narrow(torch.relu(self.wide(self.norm(x)))))


class Blocks(nn.Module):
    """A stack of like blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(16) for _ in range(3))
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def cnn(kind: str = "AdamW", **options: Any) -> Training:
    """Images, with batch normalisation and without dropout."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)
    )
    return _training(net, kind, (3, 8, 8), options)


def stack(kind: str = "AdamW", **options: Any) -> Training:
    """Vectors through like blocks, with dropout."""
    torch.manual_seed(0)
    return _training(Blocks(), kind, (16,), options)


def _training(net: nn.Module, kind: str, shape: tuple[int, ...], options: dict[str, Any]) -> Training:
    ours = {name: options.pop(name) for name in ("loss_of", "set_to_none", "scratch", "flags") if name in options}
    optimiser = getattr(torch.optim, kind)(net.parameters(), **{"lr": 1e-2, **options})
    return Training(net=net, optimiser=optimiser, shape=shape, **ours)


def values(training: Training) -> list[torch.Tensor]:
    """Every number that the training has left behind."""
    state = [t for s in training.optimiser.state.values() for t in s.values() if isinstance(t, torch.Tensor)]
    return [*training.net.state_dict().values(), *state]


def same_bits(one: Training, other: Training) -> bool:
    """Whether two trainings went and ended alike."""
    pairs = zip(values(one), values(other), strict=True)
    return one.losses == other.losses and all(torch.equal(a, b) and a.stride() == b.stride() for a, b in pairs)


def furthest(one: Training, other: Training) -> float:
    """The largest relative difference of a loss."""
    return max(abs(a - b) / abs(b) for a, b in zip(one.losses, other.losses, strict=True))
