"""The order of channels: switched between steps, undone to bit and stride, and ended where a model can't read it."""

import copy

import pytest
import torch
from torch import nn

from suffice.agent.rig.job import Refused
from suffice.change.train import channels_last
from tests.change.small_jobs import Training, cnn, furthest, stack, values

ROUNDING = 1e-4


class Viewing(nn.Module):
    """Reads what a convolution made by `view`, which channels-last makes impossible; draws numbers before."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.dropout = nn.BatchNorm2d(3), nn.Dropout(0.3)
        self.convolution, self.head = nn.Conv2d(3, 8, 3), nn.Linear(288, 4)

    def forward(self, x):
        x = self.convolution(self.dropout(self.norm(x)))
        return self.head(x.view(x.shape[0], -1))


class Pixels(nn.Sequential):
    """Returns an image for each image."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, 3, padding=1))


def of(net, **options):
    return Training(net=net, optimiser=torch.optim.AdamW(net.parameters(), lr=1e-2), shape=(3, 8, 8), **options)


@pytest.mark.parametrize("set_to_none", [True, False])
@pytest.mark.parametrize("kind", ["AdamW", "SGD"])
def test_switching_rounds_and_no_more(kind, set_to_none):
    """On in every other step; afterwards weights, gradients and state lie in memory as they did."""
    options = {"set_to_none": set_to_none, **({"momentum": 0.9} if kind == "SGD" else {})}
    plain, changed = cnn(kind, **options).run(), cnn(kind, **options)
    changed.toggled(channels_last)
    assert furthest(changed, plain) < ROUNDING
    assert [t.stride() for t in values(changed)] == [t.stride() for t in values(plain)]
    assert all(p.grad.is_contiguous() for p in changed.net.parameters())


def test_weights_gradients_and_state_change_their_order_together():
    """The same objects with the same values."""
    training = cnn().run(2)
    weight = training.net[0].weight
    before = weight.detach().clone()
    switch = channels_last.prepare(training.job, {})
    switch.on()
    moved = [weight, weight.grad, *(t for t in training.optimiser.state[weight].values() if t.dim() == 4)]
    assert len(moved) == 4
    assert all(t.is_contiguous(memory_format=torch.channels_last) for t in moved)
    assert training.net[0].weight is weight
    assert torch.equal(weight, before)
    assert switch.facts() == {"weights": 2}
    switch.off()
    assert all(t.is_contiguous() for t in moved)


@pytest.mark.parametrize("first", [nn.Conv2d(1, 4, 3), nn.Conv2d(3, 4, 1)], ids=["one channel", "one pixel"])
def test_a_weight_that_lies_in_both_orders_hands_on_the_new_one(first):
    """Else every layer behind it would lay its input out anew."""
    net = nn.Sequential(first, nn.ReLU(), nn.Conv2d(4, 4, 3), nn.AdaptiveMaxPool2d(1), nn.Flatten())
    training = Training(
        net=net, optimiser=torch.optim.AdamW(net.parameters(), lr=1e-2), shape=(first.in_channels, 8, 8)
    )
    before = first.weight.stride()
    switch = channels_last.prepare(training.run(1).job, {})
    orders = []
    net[1].register_forward_hook(lambda _module, _args, made: orders.append(made.stride()[1]))
    switch.on()
    training.run(1)
    switch.off()
    assert orders == [1]
    assert first.weight.stride() == before


def test_the_job_gets_its_images_as_before():
    """Code behind the model that reads by `view` finds the order that it knows; a copy of the model has no wrapper."""
    net = Pixels()
    switch = channels_last.prepare(of(net).job, {})
    switch.on()
    images = net(torch.randn(2, 3, 8, 8))
    assert images.is_contiguous()
    assert "_compiled_call_impl" not in copy.deepcopy(net).__dict__
    switch.off()
    assert "_compiled_call_impl" not in net.__dict__


def test_a_model_that_cannot_read_it_goes_on_without():
    """The forward pass is made again: same random numbers, statistics updated once; and the change says what failed."""
    torch.manual_seed(0)
    plain = of(Viewing()).run(6)
    torch.manual_seed(0)
    changed = of(Viewing())
    switch = channels_last.prepare(changed.job, {})
    switch.on()
    changed.run(6)
    assert changed.losses == plain.losses
    assert all(torch.equal(a, b) for a, b in zip(values(changed), values(plain), strict=True))
    assert "view size is not compatible" in switch.facts()["fault"]
    switch.off()
    switch.on()
    assert changed.net.convolution.weight.is_contiguous()


def test_errors_of_the_job_pass_through():
    """What has nothing to do with the order is raised as it was."""
    training = cnn()
    switch = channels_last.prepare(training.job, {})
    switch.on()
    with pytest.raises(RuntimeError, match="channels"):
        training.net(torch.randn(2, 5, 8, 8))
    assert "fault" not in switch.facts()


def in_that_order():
    training = cnn()
    training.net.to(memory_format=torch.channels_last)
    return training.job


def compiled():
    training = cnn()
    training.net = torch.compile(training.net, backend="eager")
    return training.job


class DistributedDataParallel(nn.Sequential):
    """Named as the one that is asked for."""


REFUSED = [
    (lambda: stack().job, "no convolution of images"),
    (in_that_order, "in this order already"),
    (compiled, "the compiler lays out"),
    (lambda: of(DistributedDataParallel(nn.Conv2d(3, 4, 3))).job, "several ranks"),
]


@pytest.mark.parametrize(("made", "reason"), REFUSED, ids=[each[1] for each in REFUSED])
def test_it_is_refused_with_the_reason(made, reason):
    """Where there is nothing to lay out, or somebody else does."""
    with pytest.raises(Refused, match=reason):
        channels_last.prepare(made(), {})
