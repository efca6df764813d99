"""What the small jobs of this folder share: a clock, models and data. Each job plants its own fault, or none."""

import io
import os
import sys
import time

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset

SECONDS = float(sys.argv[1])  # of training
_begun = []


def over():
    """Whether the job has trained for its seconds; the clock starts with the first call."""
    _begun.append(time.monotonic())
    del _begun[1:-1]
    return _begun[-1] - _begun[0] > SECONDS


def burn(seconds):
    """Compute in Python for so much processor time: on a busy machine it takes longer, and is still work."""
    begun = time.thread_time()
    while time.thread_time() < begun + seconds:
        pass


def mlp(width=512, layers=3, inputs=3072, classes=10):
    """A perceptron; at its default width some 3 ms a step of 64 on one processor."""
    rows = [nn.Linear(inputs, width), nn.ReLU()]
    for _ in range(layers - 1):
        rows += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*rows, nn.Linear(width, classes))


def cnn(channels=32, classes=10):
    """Four convolutions on images of 32 x 32."""
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(channels, 2 * channels, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(2 * channels, 2 * channels, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * channels, classes),
    )


class Transformer(nn.Module):
    """A language model of a few blocks; gives the logits of each next token."""

    def __init__(self, width=128, layers=2, words=256, longest=512):
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.places = nn.Embedding(longest, width)
        block = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True)
        self.blocks = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, words)

    def forward(self, tokens):
        """(batch, length) -> (batch, length, words)."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        return self.head(self.blocks(self.words(tokens) + self.places(places), mask=mask, is_causal=True))


def photo(size, seed=0):
    """The bytes of a JPEG of `size` pixels."""
    grain = np.random.default_rng(seed).integers(0, 255, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(grain).resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=85)
    return file.getvalue()


def decoded(jpeg, size=32):
    """A JPEG's bytes -> a tensor of (3, size, size) in 0 to 1."""
    image = Image.open(io.BytesIO(jpeg)).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


class Photos(Dataset):
    """Large photos in memory, decoded and reduced whenever one is read: the same pixels each time."""

    def __init__(self, count=512, size=(640, 480), reduced=32):
        self.files = [photo(size, seed) for seed in range(16)]
        self.count, self.reduced = count, reduced

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return decoded(self.files[index % 16], self.reduced), index % 10


class Ready(Dataset):
    """Tensors that only have to be handed over, a whole batch at once."""

    def __init__(self, count, *shape, classes=10):
        self.x, self.y = torch.randn(count, *shape), torch.randint(0, classes, (count,))

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], self.y[index]

    def __getitems__(self, indices):
        chosen = torch.tensor(indices)
        return self.x[chosen], self.y[chosen]


def as_it_is(batch):
    """A collate function for what is a batch already."""
    return batch


def train(model, loader, optimiser=None, after=None):
    """The plain loop, epoch after epoch, until the time is over; `after(step, model, output, y)` ends each step."""
    optimiser = optimiser or torch.optim.SGD(model.parameters(), lr=0.01)
    step = 0
    while not over():
        for x, y in loader:
            output = model(x)
            loss = nn.functional.cross_entropy(output, y)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            if after is not None:
                after(step, model, output, y)
            step += 1
            if over():
                break


def scratch():
    """A folder for what the job writes."""
    return os.environ.get("TMPDIR", "/tmp")
