"""Layers are rounded while they are trained, and what comes out stands being rounded."""

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from suffice.change.model.structure.quantisation_aware import LAYERS, propose
from suffice.change.model.structure.rounding_in_training import RoundedInput, RoundedWeight, rounded
from suffice.change.model.structure.student import train
from suffice.change.models import change_of
from suffice.form.target import Loaded, load_target
from suffice.measure.model.subject import Subject
from suffice.records import Risk
from tests.change.model.structure.conftest import TARGETS, Made

FEW_BITS = 2


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    """The net of convolutions, trained."""
    return load_target(f"{TARGETS}:net")


def surprise(module: nn.Module, samples: tuple[torch.Tensor, torch.Tensor]) -> float:
    """The cross-entropy over all samples."""
    x, y = samples
    with torch.no_grad():
        return float(nn.functional.cross_entropy(module(x), y))


def test_it_is_trained_and_as_good_as_before(make: Callable[..., Made]) -> None:
    """In full precision, with as many weights."""
    made = make("quantisation-aware", "net")
    assert made.share == 1
    assert made.accuracy("net") > 0.9


def test_it_is_another_model_and_needs_training(look: Callable[[str], Subject]) -> None:
    """With consent alone, not without a `fine_tune`, and not without layers that are rounded."""
    subject = look("net")
    assert change_of("quantisation-aware", {}).risk is Risk.SEMANTIC
    assert propose(subject, frozenset()) == [{"steps": 40}]
    assert propose(replace(subject, fine_tune=False), frozenset()) == "there is no fine_tune to train it by"
    assert propose(replace(subject, layers={"GRU": 1}), frozenset()) == "it has no convolution and no linear layer"


def test_what_was_trained_so_stands_few_bits(loaded: Loaded) -> None:
    """In two bits it is surer than what was trained as long without rounding; the original is untouched."""
    inputs, samples = [(loaded.samples[0][:64],)], loaded.samples
    before = {name: each.clone() for name, each in loaded.module.state_dict().items()}
    aware, plain = copy.deepcopy(loaded.module), copy.deepcopy(loaded.module)
    with rounded(aware, LAYERS, inputs, bits=FEW_BITS):
        train(aware, loaded, 60)
        ours = surprise(aware, samples)
    train(plain, loaded, 60)
    with rounded(plain, LAYERS, inputs, bits=FEW_BITS):
        theirs = surprise(plain, samples)
    assert ours < 0.75 * theirs
    assert aware.state_dict().keys() == before.keys()
    assert all(torch.equal(each, before[name]) for name, each in loaded.module.state_dict().items())


def test_it_is_the_same_each_time(loaded: Loaded) -> None:
    """Whatever was drawn before."""
    students = []
    for _ in range(2):
        student = copy.deepcopy(loaded.module)
        with rounded(student, LAYERS, [loaded.example_inputs], bits=8):
            train(student, loaded, 3)
        students.append(student.state_dict())
    assert all(torch.equal(each, students[1][name]) for name, each in students[0].items())


@pytest.mark.parametrize("bits", [3, 8])
def test_rounding_as_by_hand(bits: int) -> None:
    """Weights by the largest of each output, inputs by their range; gradients pass."""
    torch.manual_seed(0)
    weight = torch.randn(5, 2, 3, dtype=torch.float32, requires_grad=True)
    most = 2 ** (bits - 1) - 1
    found = RoundedWeight(bits)(weight)
    array = weight.detach().numpy()
    scale = np.abs(array).max((1, 2), keepdims=True) / most
    assert np.allclose(found.detach().numpy(), np.round(array / scale) * scale, atol=1e-6)
    found.sum().backward()
    assert torch.equal(weight.grad, torch.ones_like(weight))
    reader, layer = RoundedInput(bits), nn.Identity().eval()
    x = torch.linspace(-1, 3, 2_000)
    assert reader(layer, (x,)) == (x,)
    reader.widens = False
    (read,) = reader(layer, (x,))
    assert len(read.unique()) == 2**bits
    assert float((read - x).abs().max()) <= 4 / (2**bits - 1) * 1.01
    assert float(reader(layer, (torch.zeros(1),))[0]) == 0
    reader(layer.train(), (10 * x,))
    assert reader.high == pytest.approx(3 + 0.05 * 27)


def test_the_rounding_ends_when_training_fails(loaded: Loaded) -> None:
    """The layers are as they were."""
    student = copy.deepcopy(loaded.module)
    with pytest.raises(ValueError, match="no such data"), rounded(student, LAYERS, [loaded.example_inputs], bits=8):
        raise ValueError("no such data")
    x = loaded.samples[0]
    assert torch.equal(student(x), loaded.module(x))
