"""A plain image classifier on made images: two loaders, a schedule, an evaluation each epoch; prints every loss.

`cnn.py [--workers N] [--compile] [--epochs N]`
"""

import argparse

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

parser = argparse.ArgumentParser()
parser.add_argument("--workers", type=int, default=0)
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--compile", action="store_true")
parser.add_argument("--save", default="")
arguments = parser.parse_args()


class Blobs(Dataset):
    """Noise with a bright square whose place is the class, drawn anew each time."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        label = index % 4
        image = torch.rand(1, 16, 16)
        row, column = divmod(label, 2)
        image[:, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] += 0.5
        return image, label


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AvgPool2d(4))
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(72, 4)

    def forward(self, x):
        return self.head(self.dropout(self.features(x).flatten(1)))


if __name__ == "__main__":
    torch.manual_seed(0)
    model = Net()
    called = torch.compile(model) if arguments.compile else model
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, arguments.epochs * 10)
    training = DataLoader(Blobs(160), batch_size=16, shuffle=True, num_workers=arguments.workers)
    validation = DataLoader(Blobs(48), batch_size=16, num_workers=arguments.workers)
    for _ in range(arguments.epochs):
        model.train()
        for images, labels in training:
            loss = functional.cross_entropy(called(images), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            print(f"loss {loss.item().hex()}")
        model.eval()
        right = 0
        with torch.no_grad():
            for images, labels in validation:
                right += int((called(images).argmax(1) == labels).sum())
        print(f"accuracy: {right / 48:.4f}")
    if arguments.save:
        torch.save(model, arguments.save)
