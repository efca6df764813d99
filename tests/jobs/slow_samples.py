"""A job whose samples are dear to make and always the same, with a random shift after it; it writes files as it goes."""

import sqlite3
import sys
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


def decode(index):
    """What a decoder would do: 4 ms of work, and always the same picture."""
    until = time.process_time() + 0.004
    while time.process_time() < until:
        pass
    return torch.full((3, 16, 16), float(index % 7)) / 7


class Pictures(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, index):
        return decode(index) + torch.rand(()) * 0.1, index % 7


torch.manual_seed(0)
torch.set_num_threads(1)
epochs = int(sys.argv[1])
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 7))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
loader = DataLoader(Pictures(), batch_size=8, shuffle=True)
losses = []
for epoch in range(epochs):
    for images, labels in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    torch.save(model.state_dict(), "checkpoint.pt")
    with open("log.txt", "a") as log:
        log.write(f"{epoch} {losses[-1]}\n")
    with sqlite3.connect("runs.sqlite3") as database:
        database.execute("CREATE TABLE IF NOT EXISTS epochs (loss REAL)")
        database.execute("INSERT INTO epochs VALUES (?)", (losses[-1],))
print(losses)
print(f"accuracy: {1 - losses[-1] / 10:.4f}")
