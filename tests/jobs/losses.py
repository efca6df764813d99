"""Trains and prints every loss bit for bit: `losses.py eager|compile WORKERS`."""

import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

mode, workers = sys.argv[1], int(sys.argv[2])


class Noise(Dataset):
    def __len__(self) -> int:
        return 96

    def __getitem__(self, index: int):
        return torch.randn(3, 12, 12) + index % 3, index % 3


if __name__ == "__main__":
    torch.manual_seed(7)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(800, 3)
    )
    called = torch.compile(model) if mode == "compile" else model
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(Noise(), batch_size=8, shuffle=True, num_workers=workers)
    for _ in range(3):
        for x, y in loader:
            loss = nn.functional.cross_entropy(called(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            print(loss.item().hex())
    print(torch.rand(1).item().hex(), model[-1].weight.sum().item().hex())
