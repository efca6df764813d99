"""Small models as a user would hand them over: a trained classifier, and such that nothing can be compared with."""

import torch
from torch import nn

SAMPLES, FEATURES, CLASSES = 1_000, 16, 4


def blobs():
    """Samples around four points, some of them nearer to another one, and their labels."""
    generator = torch.Generator().manual_seed(0)
    centres = 1.2 * torch.randn(CLASSES, FEATURES, generator=generator)
    labels = torch.randint(0, CLASSES, (SAMPLES,), generator=generator)
    return centres[labels] + torch.randn(SAMPLES, FEATURES, generator=generator), labels


def trained(width, steps=60):
    """A perceptron that has learnt them."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y = blobs()
    model = nn.Sequential(
        nn.Linear(FEATURES, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, CLASSES)
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(steps):
        part = slice(50 * step % SAMPLES, 50 * step % SAMPLES + 50)
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x[part]), y[part]).backward()
        optimiser.step()
    return model


def classifier():
    """A model that is worth a search."""
    x, y = blobs()
    return {"model": trained(512), "example_inputs": (x[:2],), "samples": (x, y)}


def planted():
    """A classifier with a unit whose range leaves the others no steps in 8 bits; the next layer does not ask it."""
    x, y = blobs()
    model = trained(64)
    with torch.no_grad():
        model[0].weight[0] *= 3_000.0
        model[0].bias[0] = 3_000.0
        model[2].weight[:, 0] = 0.0
    return {"model": model, "example_inputs": (x[:2],), "samples": (x, y)}


def small():
    """A model for quick tests, with samples in batches."""
    x, y = blobs()
    batches = [(x[begin : begin + 100], y[begin : begin + 100]) for begin in range(0, SAMPLES, 100)]
    return {"model": trained(32), "example_inputs": (x[:2],), "samples": batches}


def wide_samples():
    """Samples in float64, as numpy makes them."""
    x, y = blobs()
    return {**small(), "samples": (x.double().numpy(), y.int().numpy())}


def judged():
    """The quality is a function of the user's."""

    def quality(model, samples):
        inputs, labels = samples
        return (model(inputs).argmax(-1) == labels).float().mean().item()

    return {**small(), "quality": quality}


def judge_that_raises():
    """The function fails."""

    def quality(model, samples):
        raise KeyError("no such label")

    return {**small(), "quality": quality}


def two_inputs():
    """A model of two inputs and two outputs, whose second axis is free."""
    torch.manual_seed(0)

    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.randn(1))

        def forward(self, values, mask):
            return {"sum": (values * mask).sum(1, keepdim=True) * self.scale, "mask": mask.cumsum(1)}

    values, mask = torch.randn(64, 5), (torch.rand(64, 5) > 0.5).float()
    axes = {0: "batch", 1: ("length", 2, 9)}
    return {
        "model": Pair(),
        "example_inputs": (values[:2], mask[:2]),
        "samples": [(values, mask)],
        "dynamic": (axes, axes),
    }


def writer():
    """A language model that has learnt to count: each token is the one before it and one more, of sixteen."""
    torch.manual_seed(0)
    x = (torch.arange(12)[None] + torch.arange(80)[:, None]) % 16
    model = nn.Sequential(nn.Embedding(16, 16), nn.Linear(16, 16))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x).flatten(0, 1), (x.flatten() + 1) % 16).backward()
        optimiser.step()
    axes = ({0: "batch", 1: "length"},)
    return {
        "model": model,
        "example_inputs": (x[:2],),
        "samples": [(x, None)],
        "quality": "perplexity",
        "dynamic": axes,
    }


def untrained():
    """No better than chance: it names one class for everything, and not the most frequent."""
    x, y = blobs()
    model = nn.Linear(FEATURES, CLASSES)
    rarest = torch.bincount(y).argmin()
    with torch.no_grad():
        model.weight.zero_()
        model.bias.copy_(nn.functional.one_hot(rarest, CLASSES))
    return {"model": model, "example_inputs": (x[:2],), "samples": (x, y)}


def restless():
    """It draws random numbers in evaluation mode."""

    class Restless(nn.Module):
        def forward(self, x):
            return nn.functional.dropout(x, 0.5, training=True)

    return {"model": Restless(), "example_inputs": (torch.ones(2, 8),)}


def not_finite():
    """Its samples hold a NaN."""
    x, y = blobs()
    x[3, 3] = float("nan")
    return {"model": nn.Linear(FEATURES, CLASSES), "example_inputs": (torch.zeros(2, FEATURES),), "samples": (x, y)}


def no_dict_key():
    """A key that is not known."""
    return {"modle": nn.Linear(1, 1)}


def no_module():
    """No module."""
    return {"model": len}


def fails():
    """The factory fails."""
    raise RuntimeError("the weights are elsewhere")


def decomposes():
    """An operator that ONNX does not have."""

    class Decomposes(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return torch.linalg.svdvals(x.reshape(-1, 4, 4)) * self.scale

    x, _ = blobs()
    return {"model": Decomposes(), "example_inputs": (x[:2],), "samples": x}


class Step(nn.Module):
    """A block that adds a little to what passes it."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(FEATURES, FEATURES)

    def forward(self, x):
        return x + torch.tanh(self.inner(x))


def deep():
    """Six blocks where one would do, and what trains it on."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y = blobs()

    def fine_tune(model, steps, teacher=None):
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(steps):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            if teacher is not None:
                with torch.no_grad():
                    wanted = teacher(x).softmax(-1)
                loss = loss + nn.functional.cross_entropy(model(x), wanted)
            loss.backward()
            optimiser.step()

    model = nn.Sequential(nn.Sequential(*(Step() for _ in range(6))), nn.Linear(FEATURES, CLASSES))
    fine_tune(model, 60)
    return {"model": model, "example_inputs": (x[:2],), "samples": (x, y), "fine_tune": fine_tune}
