"""Large linear layers become two thin ones, where what they write has few directions."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from suffice.change.model.structure.low_rank import _moments, _thin, propose, split
from suffice.change.model.structure.student import plain_blocks, size_of
from suffice.change.models import change_of
from suffice.measure.model.subject import Subject
from suffice.records import Risk
from tests.change.model.structure.conftest import Made


def few_directions(rows: int, width: int, rank: int) -> torch.Tensor:
    """Samples that lie in a space of `rank` directions, away from the origin."""
    generator = torch.Generator().manual_seed(1)
    spread = torch.randn(rank, width, generator=generator)
    return torch.randn(rows, rank, generator=generator) @ spread + 3 * torch.randn(width, generator=generator)


def test_thin_layers_take_the_place_of_large_ones(make: Callable[..., Made]) -> None:
    """Fewer weights, and as good as before."""
    made = make("low-rank", "wide")
    assert made.share < 0.7
    assert made.accuracy("wide") > 0.9
    assert made.form.settings["operators"].get("Gemm", 0) + made.form.settings["operators"].get("MatMul", 0) == 5


def test_it_is_another_model_that_training_may_mend(look: Callable[[str], Subject]) -> None:
    """With consent alone; without a `fine_tune` more is kept."""
    subject = look("wide")
    assert change_of("low-rank", {}).risk is Risk.SEMANTIC
    assert propose(subject, frozenset()) == [{"keep": 0.95, "steps": 40}]
    assert propose(replace(subject, fine_tune=False), frozenset()) == [{"keep": 0.99, "steps": 0}]
    assert propose(replace(subject, layers={"Conv2d": 3}), frozenset()) == "it has no linear layer"


def test_what_samples_read_is_kept_and_not_what_they_never_do() -> None:
    """Weights of full rank on samples of eight directions: a rank of eight answers as before, on others it does not."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(96, 80, bias=False))
    x = few_directions(4_000, 96, 8)
    ((count, mean, covariance),) = _moments(model, {"0": model[0]}, [(x,)]).values()
    assert count == len(x)
    assert torch.allclose(covariance, torch.cov(x.double().T, correction=0), atol=1e-8)
    thin = _thin(model[0], count, mean, covariance, 0.95)
    assert thin[0].out_features == 8
    error = (thin(x) - model(x)).square().mean() / model(x).var()
    assert error < 0.02
    other = torch.randn(100, 96)
    assert (thin(other) - model(other)).square().mean() / model(other).var() > 0.5


def test_the_whole_rank_is_the_layer_itself() -> None:
    """But for rounding."""
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 64), torch.randn(500, 64)
    ((count, mean, covariance),) = _moments(nn.Sequential(layer), {"0": layer}, [(x,)]).values()
    thin = _thin(layer, count, mean, covariance, 2.0)
    assert thin[0].out_features == 64
    assert torch.allclose(thin(x), layer(x), atol=1e-4)


def test_what_does_not_pay_is_refused_with_its_figures() -> None:
    """The rank that it needs, and the one that would pay."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 4))
    with pytest.raises(ValueError, match=r"keep 99% of the variance 0 \(64 to 128\) needs a rank of 64, 29 would pay"):
        split(model, [(torch.randn(2_000, 64),)], 0.99)
    with pytest.raises(ValueError, match="no other has 64 inputs and outputs"):
        split(nn.Linear(8, 8), [(torch.randn(20, 8),)], 0.99)


def test_few_samples_are_not_taken_for_few_directions() -> None:
    """Ten rows of a hundred inputs say nothing of the other directions."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(100, 100))
    with pytest.raises(ValueError, match="needs a rank of"):
        split(model, [(torch.randn(10, 100),)], 0.95)


class Tied(nn.Module):
    """One layer's weights are another's."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.inner, self.head = nn.Embedding(80, 96), nn.Linear(96, 96), nn.Linear(96, 80, bias=False)
        self.head.weight = self.words.weight

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.head(self.inner(self.words(words)))


def test_shared_weights_and_encoder_layers() -> None:
    """Shared weights stay as they are; PyTorch's own encoder layer takes thin parts, and the original keeps its own."""
    torch.manual_seed(0)
    tied = Tied()
    with torch.no_grad():
        tied.inner.weight.copy_(few_directions(96, 96, 4))
    smaller = split(tied, [(torch.arange(80),)], 0.95)
    assert isinstance(smaller.inner, nn.Sequential)
    assert smaller.head.weight is smaller.words.weight
    block = nn.TransformerEncoderLayer(64, 4, 256, batch_first=True).eval()
    with torch.no_grad():
        block.linear1.weight.copy_(few_directions(256, 64, 4))
    before, x = size_of(block), torch.randn(30, 20, 64)
    with plain_blocks(), torch.no_grad():
        smaller = split(block, [(x,)], 0.9)
        assert smaller(x).shape == x.shape
    assert isinstance(smaller.linear1, nn.Sequential)
    assert size_of(smaller) < size_of(block) == before
