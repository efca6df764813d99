"""Small models as a user would hand them over, with what trains them on: a net of convolutions, and a perceptron."""

import torch
from torch import nn

SIDE, CLASSES, SAMPLES = 8, 4, 400


class Step(nn.Module):
    """Two convolutions, whose result is added to what passes them."""

    def __init__(self, width):
        super().__init__()
        self.one, self.two = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(2))

    def forward(self, x):
        return torch.relu(x + self.norms[1](self.two(torch.relu(self.norms[0](self.one(x))))))


def images():
    """One of four corners is brighter."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (SAMPLES,), generator=generator)
    x = 0.5 * torch.randn(SAMPLES, 1, SIDE, SIDE, generator=generator)
    half = SIDE // 2
    for sample, label in zip(x, labels.tolist(), strict=True):
        row, column = half * (label // 2), half * (label % 2)
        sample[:, row : row + half, column : column + half] += 1
    return x, labels


def trainer(x, y):
    """What a user would hand over as `fine_tune`."""

    def fine_tune(model, steps, teacher=None):
        model.train()
        optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(steps):
            part = torch.randint(0, len(x), (50,))
            optimiser.zero_grad()
            told = model(x[part])
            loss = nn.functional.cross_entropy(told, y[part])
            if teacher is not None:
                with torch.no_grad():
                    wanted = teacher(x[part]).softmax(-1)
                loss = loss + nn.functional.cross_entropy(told, wanted)
            loss.backward()
            optimiser.step()

    return fine_tune


def target(model, x, y, steps):
    """The model, trained."""
    torch.set_num_threads(1)
    fine_tune = trainer(x, y)
    fine_tune(model, steps)
    return {"model": model, "example_inputs": (x[:2],), "samples": (x, y), "fine_tune": fine_tune}


def net():
    """Convolutions, one after the other and past each other, and a perceptron."""
    torch.manual_seed(0)
    x, y = images()
    first = (nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), Step(16), nn.MaxPool2d(4))
    return target(nn.Sequential(*first, nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, CLASSES)), x, y, 40)


class Fixed(nn.Module):
    """It counts on the width of its layers."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(SIDE * SIDE, 32), nn.Linear(32, CLASSES)

    def forward(self, x):
        return self.two(torch.relu(self.one(x.flatten(1))).view(-1, 32))


def fixed():
    """A model of which nothing can be left out."""
    torch.manual_seed(0)
    return target(Fixed(), *images(), 1)


def wide():
    """A perceptron whose samples have few directions, and so have its layers."""
    torch.manual_seed(0)
    _, y = images()
    spread = torch.randn(CLASSES, 96)
    x = torch.nn.functional.one_hot(y, CLASSES).float() @ spread + 0.1 * torch.randn(SAMPLES, 96)
    model = nn.Sequential(nn.Linear(96, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, CLASSES))
    return target(model, x, y, 30)


def words():
    """A transformer that tells which of four words is there."""
    torch.manual_seed(0)
    y = torch.randint(0, CLASSES, (SAMPLES,))
    x = torch.randint(CLASSES, 20, (SAMPLES, 6))
    x[torch.arange(SAMPLES), torch.randint(0, 6, (SAMPLES,))] = y

    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.head = nn.Embedding(20, 32), nn.Linear(32, CLASSES)
            self.block = nn.TransformerEncoderLayer(32, 4, 128, 0.0, batch_first=True)

        def forward(self, x):
            return self.head(self.block(self.words(x)).amax(1))

    return target(Words(), x, y, 60)
