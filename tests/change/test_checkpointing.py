"""Blocks called through checkpoints: bitwise equal with dropout, less memory, and refused where twice is not once."""

import pytest
import torch
from torch import nn

from suffice.agent.rig.job import Refused
from suffice.change.train import gradient_checkpointing
from tests.change.small_jobs import Block, Blocks, Training, same_bits, stack


def of(net):
    return Training(net=net, optimiser=torch.optim.AdamW(net.parameters(), lr=1e-2), shape=(16,))


def saved_bytes(training):
    """What a forward pass keeps for the backward pass, weights left out."""
    kept = {}
    weights = {p.data_ptr() for p in training.net.parameters()}

    def keep(tensor):
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        training.net(torch.randn(64, 16))
    return sum(kept.values())


def test_all_numbers_are_bitwise_equal():
    """Losses, weights and state, with dropout in every block, on in every other step; nothing is left behind."""
    plain, changed = stack().run(), stack()
    switch = changed.toggled(gradient_checkpointing)
    assert same_bits(changed, plain)
    assert switch.facts() == {"blocks": 3, "left_alone": 0}
    assert not any("_compiled_call_impl" in module.__dict__ for module in changed.net.modules())


def test_less_is_kept_for_the_backward_pass():
    """From the second call on: the first one looks whether a block changes its buffers."""
    training = stack()
    before = saved_bytes(training)
    switch = gradient_checkpointing.prepare(training.job, {})
    switch.on()
    training.run(1)
    assert saved_bytes(training) < 0.5 * before
    training.net.eval()
    with torch.no_grad():
        training.net(torch.randn(4, 16))
    training.net.train()
    switch.off()
    assert saved_bytes(training) == before


class Counting(Block):
    """Counts its calls in a buffer, as running statistics do."""

    def __init__(self, width):
        super().__init__(width)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


def test_blocks_that_change_their_buffers_are_left_alone():
    """They count one call a step, whatever the switch says."""
    net = Blocks()
    net.blocks = nn.ModuleList(Counting(16) for _ in range(2))
    training = of(net)
    switch = gradient_checkpointing.prepare(training.job, {})
    switch.on()
    training.run(5)
    assert [block.calls.item() for block in net.blocks] == [5, 5]
    assert switch.facts() == {"blocks": 2, "left_alone": 2}


class Normed(Block):
    def __init__(self, width):
        super().__init__(width)
        self.norm = nn.BatchNorm1d(width)


def with_norms():
    net = Blocks()
    net.blocks = nn.ModuleList(Normed(16) for _ in range(2))
    return of(net).job


def with_hooks():
    training = stack()
    training.net.blocks[1].wide.register_forward_hook(lambda *_: None)
    return training.job


def with_cache():
    class Config:
        use_cache = True

    training = stack()
    training.net.config = Config()
    return training.job


REFUSED = [
    (lambda: of(nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 4))).job, "no list of like blocks"),
    (with_norms, "BatchNorm"),
    (with_hooks, "hooks"),
    (with_cache, "use_cache"),
]


@pytest.mark.parametrize(("made", "reason"), REFUSED, ids=[each[1] for each in REFUSED])
def test_it_is_refused_with_the_reason(made, reason):
    """Where there are no blocks, or a second call would show."""
    with pytest.raises(Refused, match=reason):
        gradient_checkpointing.prepare(made(), {})
