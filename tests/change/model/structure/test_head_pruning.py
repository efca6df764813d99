"""Heads and neurons are left out where nobody would miss them but for what they give, and the rest is trained on."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from suffice.change.model.structure.attention import Attention, with_own_layers
from suffice.change.model.structure.head_pruning import narrowed, propose
from suffice.change.model.structure.student import answer_alike, plain_blocks
from suffice.change.models import change_of
from suffice.measure.model.subject import Subject
from suffice.records import Risk
from tests.change.model.structure.conftest import Made

WIDTH, HEADS, LENGTH = 32, 4, 6


class Own(nn.Module):
    """Attention as users write it; `how` heads are told apart, and put together again."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.num_heads, self.head_dim, self.width = how, HEADS, WIDTH // HEADS, WIDTH
        thirds = 1 if how in {"parts first", "heads first"} else 3
        self.reads = nn.ModuleList(nn.Linear(WIDTH, 3 * WIDTH // thirds) for _ in range(thirds))
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, wide = x.shape
        if self.how == "parts first":
            q, k, v = self.reads[0](x).view(batch, length, 3, -1, self.head_dim).permute(2, 0, 3, 1, 4)
        elif self.how == "heads first":
            q, k, v = self.reads[0](x).view(batch, length, -1, 3, self.head_dim).permute(3, 0, 2, 1, 4)
        else:
            sizes = {"by size": (-1, self.head_dim), "by number": (self.num_heads, -1)}
            split = sizes.get(self.how, (self.num_heads, self.head_dim))
            q, k, v = (read(x).view(batch, length, *split).transpose(1, 2) for read in self.reads)
        mixed = ((q @ k.transpose(-1, -2)) * self.head_dim**-0.5).softmax(-1) @ v
        wide = {"by the input": wide, "by name": self.width}.get(self.how, -1)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, wide))


class Gated(nn.Module):
    """A feed-forward part with a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, 3 * WIDTH)
        self.down = nn.Linear(3 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(nn.functional.silu(self.gate(x)) * self.up(x))


@pytest.fixture
def samples() -> torch.Tensor:
    """Sequences of features."""
    torch.manual_seed(0)
    return torch.randn(12, LENGTH, WIDTH)


def test_half_of_the_heads_and_neurons_are_left_out(make: Callable[..., Made]) -> None:
    """Fewer weights, and as good as before."""
    made = make("head-pruning", "words")
    assert made.share < 0.7
    assert made.accuracy("words") > 0.9


def test_it_is_another_model_and_needs_training(look: Callable[[str], Subject]) -> None:
    """With consent alone, not without a `fine_tune`, and not of a model without attention."""
    subject = look("words")
    assert change_of("head-pruning", {}).risk is Risk.SEMANTIC
    assert [each["keep"] for each in propose(subject, frozenset())] == [0.5, 0.75]
    assert propose(replace(subject, fine_tune=False), frozenset()) == "there is no fine_tune to train what is left"
    assert propose(replace(subject, layers={"Linear": 9}), frozenset()) == "it has no attention"


@pytest.mark.parametrize("how", ["by size", "by number", "by both", "by name", "parts first", "heads first"])
def test_attention_as_users_write_it(how: str, samples: torch.Tensor) -> None:
    """What is left gives what it gave: two heads, of which the others were never read; the original is untouched."""
    model = nn.Sequential(Own(how), nn.LayerNorm(WIDTH), Gated()).eval()
    with torch.no_grad():
        model[0].out.weight[:, 8:24] = 0
    before = model(samples)
    student = narrowed(model, [(samples,)], 0.5)
    assert student[0].out.in_features == WIDTH // 2
    assert student[2].down.in_features == student[2].gate.out_features == student[2].up.out_features == 48
    student[2] = model[2]
    assert torch.allclose(student(samples), before, atol=1e-5)
    assert torch.equal(model(samples), before)


def test_code_that_counts_on_the_width_is_told(samples: torch.Tensor) -> None:
    """Its own error, and no model."""
    with pytest.raises(ValueError, match=r"no head of attention can be left out .*RuntimeError: shape '\[8, 6, 32\]'"):
        narrowed(nn.Sequential(Own("by the input"), nn.LayerNorm(WIDTH)), [(samples,)], 0.5)
    with pytest.raises(ValueError, match="none was found whose heads can be counted"):
        narrowed(nn.Sequential(Gated()), [(samples,)], 0.5)


def test_the_heads_that_give_least_go(samples: torch.Tensor) -> None:
    """Not those of small weights, but those that add little to the answers."""
    model = nn.Sequential(Own("by size"), nn.Identity()).eval()
    with torch.no_grad():
        model[0].reads[2].weight[:16] *= 100
        model[0].out.weight[:, :16] *= 0.1
    student = narrowed(model, [(samples,)], 0.5)
    assert torch.equal(student[0].reads[2].weight, model[0].reads[2].weight[:16])


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_attention_with_layers_of_its_own_computes_the_same(
    samples: torch.Tensor, *, batch_first: bool, masked: bool
) -> None:
    """As PyTorch's, with masks of places and of padding, as numbers and as truth values."""
    torch.manual_seed(0)
    whole = nn.MultiheadAttention(WIDTH, HEADS, batch_first=batch_first).eval()
    own = Attention(whole).eval()
    x = samples if batch_first else samples.transpose(0, 1)
    later = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
    padding = torch.zeros(len(samples), LENGTH, dtype=torch.bool)
    padding[:, -2:] = True
    added = torch.zeros(LENGTH, LENGTH).masked_fill(later, -torch.inf)
    for attn_mask in (later, added) if masked else (None,):
        masks = {"attn_mask": attn_mask, "key_padding_mask": padding if attn_mask is later else None}
        assert torch.allclose(own(x, x, x, **masks)[0], whole(x, x, x, **masks)[0], atol=1e-5)


def test_encoder_and_decoder_of_pytorch(samples: torch.Tensor) -> None:
    """Heads of both go, also of attention to another sequence; with nothing left out the answers are the same."""
    torch.manual_seed(0)
    sizes = {"d_model": WIDTH, "nhead": HEADS, "dim_feedforward": 128, "batch_first": True}

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(**sizes), 2)
            self.decoder = nn.TransformerDecoderLayer(**sizes)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.decoder(y, self.encoder(x))

    model, inputs = Both().eval(), (samples, samples.flip(0))
    with plain_blocks():
        same = Both().eval()
        same.load_state_dict(model.state_dict())
        with_own_layers(same)
        assert answer_alike(same, model, [inputs])
        student = narrowed(model, [inputs], 0.5)
    assert student.decoder.multihead_attn.out.in_features == student.encoder.layers[1].self_attn.out.in_features == 16
    assert student.decoder.linear2.in_features == student.encoder.layers[0].linear1.out_features == 64
