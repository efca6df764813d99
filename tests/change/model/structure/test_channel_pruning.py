"""Channels are left out where that is the same as setting them to zero, and the rest is trained on."""

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from suffice.change.model.structure.channel_pruning import _pruned, propose, smaller
from suffice.change.models import change_of
from suffice.errors import MissingExtraError
from suffice.form.target import load_target
from suffice.measure.model.subject import Subject
from suffice.records import Risk
from tests.change.model.structure.conftest import TARGETS, Made


def test_half_of_the_channels_are_left_out_and_the_rest_is_trained(make: Callable[..., Made]) -> None:
    """Fewer than half of the weights are left, and it is as good as before, however many samples a call has."""
    made = make("channel-pruning", "net")
    assert made.share < 0.5
    assert made.accuracy("net") > 0.9
    assert made.answers(np.zeros((1, 1, 8, 8), np.float32)).shape == (1, 4)


def test_it_is_the_same_each_time_and_leaves_the_original_alone() -> None:
    """Whatever was drawn before."""
    loaded = load_target(f"{TARGETS}:net")
    before = {name: each.clone() for name, each in loaded.module.state_dict().items()}
    settings, batches = {"keep": 0.75, "steps": 4}, [loaded.example_inputs]
    first, second = (smaller(loaded, settings, batches).state_dict() for _ in range(2))
    assert all(torch.equal(each, second[name]) for name, each in first.items())
    assert all(torch.equal(each, before[name]) for name, each in loaded.module.state_dict().items())
    assert sum(each.numel() for each in first.values()) < sum(each.numel() for each in before.values())


def test_it_is_another_model_and_needs_training(look: Callable[[str], Subject]) -> None:
    """With consent alone, and not without a `fine_tune`, or layers that have channels."""
    subject = look("net")
    assert change_of("channel-pruning", {}).risk is Risk.SEMANTIC
    assert [each["keep"] for each in propose(subject, frozenset())] == [0.5, 0.75]
    assert propose(replace(subject, fine_tune=False), frozenset()) == "there is no fine_tune to train what is left"
    alone = replace(subject, layers={"Embedding": 1})
    assert propose(alone, frozenset()) == "it has no convolution and no linear layer"


def test_what_counts_on_a_width_is_told(make: Callable[..., Made]) -> None:
    """The user's own code, where it fails with another width."""
    with pytest.raises(ValueError, match=r"none of its channels can be left out .*RuntimeError: shape '\[-1, 32\]'"):
        make("channel-pruning", "fixed")


def test_a_missing_library_is_named(make: Callable[..., Made], monkeypatch: pytest.MonkeyPatch) -> None:
    """With what installs it."""
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(MissingExtraError, match="torch-pruning is not installed: pip install"):
        make("channel-pruning", "net")


def test_a_norm_over_the_channels_and_the_answer_stay_whole() -> None:
    """The norm would have another mean: only the layer in front of it that is read by a plain layer is cut."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 24), nn.LayerNorm(24), nn.Linear(24, 4)).eval()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    x = torch.randn(6, 8)
    cut = _pruned(model, (x[:2],), [(x,)], 0.5)
    shapes = [tuple(each.weight.shape) for each in cut if hasattr(each, "weight")]
    assert shapes == [(16, 8), (24, 16), (24,), (4, 24)]
    assert all(bool((each == before[name]).all()) for name, each in model.state_dict().items())


def test_the_channels_with_the_smallest_weights_go() -> None:
    """Those that write nothing and are read by nobody: the answer stays the same."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)
    ).eval()
    with torch.no_grad():
        model[0].weight[::2] = 0
        model[0].bias[::2] = 0
    x = torch.randn(4, 3, 8, 8)
    cut = _pruned(model, (x[:2],), [(x,)], 0.5)
    assert cut[0].out_channels == 8
    assert torch.allclose(cut(x), model(x), atol=1e-6)
