"""CUDA graphs where there is no GPU: they are refused, and on one made by hand no number changes."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from suffice.agent.rig.job import Refused
from suffice.change.train import cuda_graphs
from suffice.change.train.cuda_graphs import CudaGraphs
from tests.change.small_jobs import Training, cnn, same_bits

WARM_UPS = 3


class FakeCuda:
    """Records as torch does: passes to warm up, then one input, one output and one gradient in memory that stays."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.get_rng_state, self.set_rng_state = torch.get_rng_state, torch.set_rng_state

    def make_graphed_callables(self, module: Any, samples: Any, *, allow_unused_input: bool) -> None:
        assert allow_unused_input
        for _ in range(WARM_UPS):
            output = module(*samples)
        if self.fails:
            raise RuntimeError(self.fails)
        original, parameters = module.forward, tuple(module.parameters())
        places = SimpleNamespace(output=output.detach().clone(), gradients=[p.detach().clone() for p in parameters])

        class Graphed(torch.autograd.Function):
            @staticmethod
            def forward(_: Any, *inputs: Any) -> Any:
                for sample, given in zip(samples, inputs, strict=False):
                    sample.copy_(given)
                with torch.enable_grad():
                    places.graph = original(*samples)
                return places.output.copy_(places.graph.detach()).detach()

            @staticmethod
            def backward(_: Any, gradient: Any) -> Any:
                found = torch.autograd.grad(places.graph, parameters, gradient)
                for place, value in zip(places.gradients, found, strict=True):
                    place.copy_(value)
                return (*(None for _ in samples), *(place.detach() for place in places.gradients))

        module.forward = lambda *inputs: Graphed.apply(*inputs, *parameters)


class Torch:
    """torch, with a GPU made by hand."""

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def graphs_of(training: Training, fails: str = "") -> CudaGraphs:
    job = training.job
    job.torch = Torch(FakeCuda(fails))
    return CudaGraphs(job, [training.net])


@pytest.mark.parametrize("set_to_none", [True, False])
def test_a_training_stays_the_same_to_the_bit(*, set_to_none: bool) -> None:
    """Switched every other step: losses, weights, the statistics of the norm, the optimiser's state."""
    plain = cnn(set_to_none=set_to_none).run()
    changed = cnn(set_to_none=set_to_none)
    switch = graphs_of(changed)
    changed.run(before_step=lambda index: switch.on() if index % 2 else switch.off())
    switch.off()
    assert same_bits(changed, plain)
    assert switch.facts() == {"recorded": 1, "replayed": 9, "passed": 3, "given_up": None}
    assert "forward" not in changed.net.__dict__


def one_linear(fails: str = "") -> tuple[nn.Module, CudaGraphs]:
    training = cnn()
    torch.manual_seed(1)
    training.net = nn.Linear(3, 2)
    switch = graphs_of(training, fails)
    switch.on()
    for _ in range(4):
        training.net(torch.ones(4, 3)).sum().backward()
        training.net.zero_grad()
    return training.net, switch


def test_gradients_add_up() -> None:
    """A second replay writes where the first one's gradient lies."""
    net, switch = one_linear()
    for _ in range(3):
        net(torch.ones(4, 3)).sum().backward()
    assert torch.equal(net.weight.grad, torch.full((2, 3), 12.0))
    assert switch.replayed == 4


def test_what_was_returned_stays() -> None:
    """The job may keep outputs, though each replay writes into the same memory."""
    net, _ = one_linear()
    kept = []
    for factor in (1.0, 2.0):
        kept.append(net(factor * torch.ones(4, 3)))
        kept[-1].sum().backward()
    assert not torch.equal(kept[0], kept[1])


def test_two_calls_before_a_backward_pass() -> None:
    """The second goes through the model: a replay would overwrite what the first one's backward pass needs."""
    net, switch = one_linear()
    replayed = switch.replayed
    first, second = net(torch.ones(4, 3)), net(2 * torch.ones(4, 3))
    (first.sum() + second.sum()).backward()
    assert torch.equal(net.weight.grad, torch.full((2, 3), 12.0))
    assert switch.replayed == replayed + 1


def test_what_is_not_alike_goes_through_the_model() -> None:
    """A smaller batch, evaluation, weights in another place."""
    net, switch = one_linear()
    replayed = switch.replayed
    assert net(torch.ones(3, 3)).shape == (3, 2)
    with torch.no_grad():
        net(torch.ones(4, 3))
    net.eval()
    net(torch.ones(4, 3))
    net.train()
    net.weight.data = net.weight.data.clone()
    net(torch.ones(4, 3))
    assert switch.replayed == replayed


def test_what_can_not_be_recorded_goes_on_as_ever() -> None:
    """The job hears nothing of it."""
    net, switch = one_linear(fails="operation not permitted when stream is capturing\nmore")
    assert net(torch.ones(4, 3)).shape == (4, 2)
    assert switch.facts()["given_up"] == "it can't be recorded: operation not permitted when stream is capturing"
    assert switch.replayed == 0
    assert "forward" not in net.__dict__


def test_without_a_gpu_it_is_refused() -> None:
    """Here, and wherever a part of the model is not on one."""
    with pytest.raises(Refused, match="there is no GPU"):
        cuda_graphs.prepare(cnn().job, {})


def test_what_a_recording_would_leave_out() -> None:
    """Hooks within the model, a forward that somebody has replaced, a buffer that is trained."""
    hooked, replaced, trained = (nn.Sequential(nn.Linear(2, 2)) for _ in range(3))
    assert cuda_graphs.obstacle(hooked) == ""
    hooked[0].register_forward_hook(lambda *_: None)
    replaced[0].forward = replaced[0].forward
    trained[0].register_buffer("scale", torch.ones(2, requires_grad=True))
    assert "hooks" in cuda_graphs.obstacle(hooked)
    assert "replaced the forward" in cuda_graphs.obstacle(replaced)
    assert "buffer" in cuda_graphs.obstacle(trained)
