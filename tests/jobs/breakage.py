"""A small image classifier that can be broken in many ways, and trains for ever: `breakage.py WAY`, "" for as it is."""

import sys
import warnings

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset

SAMPLES, NOISE = 1024, 0.25
WORKERS = {"workers", "workers, frozen", "workers, lost", "workers, no shuffle", "workers, no dropout"}


class Digits(Dataset):
    """Ten patterns with noise of their own, which more noise augments anew at each read."""

    def __init__(self, plant: str) -> None:
        made = torch.Generator().manual_seed(7)
        patterns = torch.randn(10, 1, 8, 8, generator=made)
        self.labels = torch.randint(0, 10, (SAMPLES,), generator=made)
        if "sorted" in plant:
            self.labels = self.labels.sort().values
        self.images = patterns[self.labels] * 0.5 + torch.randn(SAMPLES, 1, 8, 8, generator=made) * 0.8
        self.plant = plant
        self.kept = {}
        if plant == "workers, frozen":
            self.frozen = torch.randn(self.images.shape, generator=made) * NOISE

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image, label = self.images[index], int(self.labels[index])
        if self.plant in ("augmentation lost", "workers, lost"):
            return image, label
        if self.plant == "workers, frozen":
            return image + self.frozen[index], label
        if self.plant == "augmentation frozen":
            if index not in self.kept:
                self.kept[index] = image + torch.randn(image.shape) * NOISE
            return self.kept[index], label
        return image + torch.randn(image.shape) * NOISE, label


class Net(nn.Module):
    def __init__(self, plant: str) -> None:
        super().__init__()
        self.plant = plant
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()
        )
        self.dropout = nn.Dropout(0.0 if "dropout" in plant else 0.3)
        self.head = nn.Linear(512, 10)

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16, enabled=self.plant in ("bf16 autocast", "bf16 loss")):
            x = x.to(self.head.weight.dtype)
            twice = self.plant == "batch-norm twice"
            x = checkpoint(self.features, x, use_reentrant=False) if twice else self.features(x)
            x = self.head(self.dropout(functional.max_pool2d(x, 2).flatten(1)))
        return x if self.plant == "bf16 loss" else x.float()


class Mnist(nn.Sequential):
    """What torch 2.13 compiles wrongly on a processor: all gradients of the convolutions are zero."""

    def __init__(self) -> None:
        convolutions = nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
        super().__init__(*convolutions, nn.Linear(9216, 128), nn.ReLU(), nn.Linear(128, 10), nn.LogSoftmax(1))


def loss_of(plant, outputs, labels):
    if plant == "bf16 loss":
        return -(torch.log(torch.softmax(outputs, 1) + 1e-8)).gather(1, labels[:, None]).mean()
    return functional.cross_entropy(outputs, labels)


def train(plant: str) -> None:
    """The user's program."""
    torch.manual_seed(0)
    if plant.startswith("mnist"):
        model, step = Mnist(), 64
        data = [(torch.rand(1, 28, 28), index % 10) for index in range(step * 4)]
    else:
        model, step, data = Net(plant), 32, Digits(plant)
    if plant == "bf16 weights":
        model = model.bfloat16()
    if plant == "channels-last":
        model = model.to(memory_format=torch.channels_last)
    called = torch.compile(model) if plant == "mnist, compile" else model
    fused = True if plant == "fused" else None
    optimiser = torch.optim.AdamW(model.parameters(), 5e-4 if plant == "learning rate halved" else 1e-3, fused=fused)
    loader = DataLoader(data, step, shuffle="no shuffle" not in plant, num_workers=2 * (plant in WORKERS))
    while True:
        for images, labels in loader:
            loss = loss_of(plant, called(images), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "Online softmax is disabled")
    torch.set_num_threads(1)
    train(sys.argv[1])
