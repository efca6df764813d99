"""Jobs for a machine with a GPU: `gpu.py cnn|starved|lm|compiled|scaled SECONDS`; prints steps and seconds.

cnn: loader with workers, bf16 · starved: the same with a loader that sleeps · lm: a small GPT, batches made on the GPU
compiled: the same under torch.compile · scaled: fp16 with a gradient scaler, two optimisers
"""

import sys
import time

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

kind, seconds = sys.argv[1], float(sys.argv[2])


class Images(Dataset):
    def __len__(self) -> int:
        return 100_000

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if kind == "starved":
            time.sleep(0.002)
        return torch.randn(3, 64, 64), index % 10


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x):
        q, k, v = (t.unflatten(2, (8, -1)).transpose(1, 2) for t in self.qkv(self.norm(x)).chunk(3, dim=2))
        x = x + self.out(functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.mlp(x)


class GPT(nn.Module):
    def __init__(self, width: int = 1024) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(8192, width), nn.Embedding(512, width)
        self.blocks, self.head = nn.Sequential(*(Block(width) for _ in range(8))), nn.Linear(width, 8192)

    def forward(self, x, targets):
        y = self.blocks(self.tokens(x) + self.places(torch.arange(x.shape[1], device=x.device)))
        return functional.cross_entropy(self.head(y).flatten(0, 1), targets.flatten())


def cnn():
    layers, width = [], 3
    for wide in (64, 128, 256):
        layers += [nn.Conv2d(width, wide, 3, padding=1), nn.BatchNorm2d(wide), nn.ReLU(), nn.MaxPool2d(2)]
        width = wide
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10))


def train_images(model):
    optimisers = [torch.optim.SGD(model[:4].parameters(), lr=0.01), torch.optim.SGD(model[4:].parameters(), lr=0.01)]
    optimisers = optimisers if kind == "scaled" else [torch.optim.SGD(model.parameters(), lr=0.01)]
    scaler = torch.amp.GradScaler("cuda", enabled=kind == "scaled")
    dtype = torch.float16 if kind == "scaled" else torch.bfloat16
    for x, y in DataLoader(Images(), batch_size=256, num_workers=4, pin_memory=True, shuffle=True):
        x, y = x.cuda(non_blocking=True), y.cuda(non_blocking=True)
        for optimiser in optimisers:
            optimiser.zero_grad()
        with torch.autocast("cuda", dtype=dtype):
            loss = functional.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        for optimiser in optimisers:
            scaler.step(optimiser)
        scaler.update()
        yield loss


def train_text(model):
    called = torch.compile(model) if kind == "compiled" else model
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
    while True:
        data = torch.randint(0, 8192, (16, 513), device="cuda")
        optimiser.zero_grad()
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = called(data[:, :-1], data[:, 1:])
        loss.backward()
        optimiser.step()
        yield loss


if __name__ == "__main__":
    torch.manual_seed(0)
    losses = train_images(cnn().cuda()) if kind in ("cnn", "starved", "scaled") else train_text(GPT().cuda())
    loss, begun, steps = next(losses), time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        loss = next(losses)
        steps += 1
    torch.cuda.synchronize()
    print(f"{steps} steps in {time.perf_counter() - begun:.3f} s, last loss {loss.item():.4f}")
