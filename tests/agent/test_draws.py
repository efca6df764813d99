"""In a course dropout draws the mask of the plain job, whatever a change has made of what it is applied to."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from suffice.agent.rig.draws import steady_draws

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def steady() -> Iterator[Any]:
    """A process of a course, for the length of a test; the value is torch's own dropout."""
    original = functional.dropout
    steady_draws(torch)
    yield original
    functional.dropout = original


def dropped(images, **options):
    torch.manual_seed(0)
    layer = nn.Dropout(0.3, **options)
    out = layer(images)
    return out, torch.rand(1).item()


def test_plain_numbers_are_dropped_as_ever(steady):
    """The bits of torch's own dropout, also in place, in evaluation, and where nothing or all is dropped."""
    for p in (0.0, 0.3, 1.0):
        for training in (True, False):
            for inplace in (True, False):
                torch.manual_seed(0)
                expected = steady(IMAGES.clone(), p, training, inplace)
                torch.manual_seed(0)
                assert torch.equal(functional.dropout(IMAGES.clone(), p, training, inplace), expected)


def test_the_order_in_memory_makes_no_difference(steady):
    """Values, the numbers drawn afterwards, and gradients are the same; the result lies as what went in."""
    plain, other = IMAGES.clone().requires_grad_(), IMAGES.clone().requires_grad_()
    expected, then = dropped(plain)
    out, also = dropped(other.contiguous(memory_format=torch.channels_last))
    assert torch.equal(out, expected)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert then == also
    expected.sum().backward()
    out.sum().backward()
    assert torch.equal(plain.grad, other.grad)


def test_elsewhere_the_order_makes_another_mask():
    """Which is why a course takes such care."""
    expected, _ = dropped(IMAGES)
    out, _ = dropped(IMAGES.contiguous(memory_format=torch.channels_last))
    assert not torch.equal(out == 0, expected == 0)


def test_the_type_makes_no_difference(steady):
    """The same are dropped in bf16, in place or not."""
    expected, then = dropped(IMAGES)
    for inplace in (True, False):
        out, also = dropped(IMAGES.bfloat16(), inplace=inplace)
        assert torch.equal(out == 0, expected == 0)
        assert out.dtype == torch.bfloat16
        assert then == also


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_takes_it(steady):
    """A model that is scripted drops as ever."""
    torch.manual_seed(0)
    expected = nn.Dropout(0.3)(IMAGES)
    torch.manual_seed(0)
    assert torch.equal(torch.jit.script(nn.Dropout(0.3))(IMAGES), expected)
