"""bf16 around the roots' calls: what comes out is float32 again, the job's own autocast is left alone."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional

from suffice.agent.rig.job import Refused
from suffice.change.train import mixed_precision
from tests.change.small_jobs import JobOf, Training, cnn, furthest, same_bits, stack

UNITS = ("avx512f", "amx_bf16")
COARSE = 0.2  # bf16 rounds by 2^-8, and a small network with dropout makes more of it


@dataclass
class Output:
    logits: torch.Tensor
    rest: list


class Pair(NamedTuple):
    logits: torch.Tensor
    rest: list


FORMS = {
    "tuple": lambda y: (y, [y]),
    "named tuple": lambda y: Pair(y, [y]),
    "dictionary": lambda y: {"logits": y, "rest": [y]},
    "ordered dictionary": lambda y: OrderedDict(logits=y, rest=[y]),
    "dataclass": lambda y: Output(y, [y]),
}


class Wrapped(nn.Module):
    """Returns its tensors in some container, and notes the type that its product had."""

    def __init__(self, form=lambda y: y) -> None:
        super().__init__()
        self.layer, self.form, self.seen = nn.Linear(16, 4), form, []

    def forward(self, x, *_):
        y = self.layer(x)
        self.seen.append(y.dtype)
        return self.form(y)


def of(net, **options):
    return Training(net=net, optimiser=torch.optim.SGD(net.parameters(), lr=0.1), shape=(16,), flags=UNITS, **options)


def switch_of(training):
    switch = mixed_precision.prepare(training.job, {})
    switch.on()
    return switch


@pytest.mark.parametrize("make", [cnn, stack])
def test_losses_stay_near(make):
    """On in every other step: losses near the plain ones, weights in float32, and nothing left behind."""
    plain, changed = make(flags=UNITS).run(), make(flags=UNITS)
    switch = changed.toggled(mixed_precision)
    assert 0 < furthest(changed, plain) < COARSE
    assert all(parameter.dtype == torch.float32 for parameter in changed.net.parameters())
    assert switch.facts() == {"calls": 12, "calls_in_autocast_of_job": 0}
    assert not any("_compiled_call_impl" in module.__dict__ for module in changed.net.modules())


def test_once_off_the_bits_are_those_of_the_plain_job():
    """Switched on and off before the first step it leaves no trace, not even in autocast's cache."""
    plain, changed = stack(flags=UNITS).run(), stack(flags=UNITS)
    switch_of(changed).off()
    assert same_bits(changed.run(), plain)


@pytest.mark.parametrize("form", FORMS)
def test_what_comes_out_is_float32_again(form):
    """In whatever container, which keeps its type; what was computed was bf16, and gradients reach the weights."""
    net = Wrapped(FORMS[form])
    switch_of(of(net))
    out = net(torch.randn(3, 16))
    assert type(out) is type(FORMS[form](torch.ones(1)))
    read = (
        out
        if isinstance(out, dict)
        else dict(zip(("logits", "rest"), out, strict=True))
        if form != "dataclass"
        else vars(out)
    )
    assert net.seen == [torch.bfloat16]
    assert read["logits"].dtype == read["rest"][0].dtype == torch.float32
    read["logits"].sum().backward()
    assert net.layer.weight.grad.dtype == torch.float32


def test_what_is_handed_through_keeps_its_type():
    """A tensor in bf16 that the job gave itself, and one of integers."""
    given = torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.long)
    net = Wrapped(lambda y: (y, *given))
    switch_of(of(net))
    out = net(torch.randn(3, 16), *given)
    assert [each.dtype for each in out] == [torch.float32, torch.bfloat16, torch.long]
    assert out[1] is given[0]


def test_an_exception_in_the_model_ends_autocast():
    """The job catches it and goes on in float32."""
    net = Wrapped()
    switch_of(of(net))
    with pytest.raises(RuntimeError):
        net(torch.randn(3, 5))
    assert not torch.is_autocast_enabled("cpu")
    assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_the_jobs_own_autocast_is_left_alone():
    """Where it is on around the call, the call is made as it was, and counted."""
    net = Wrapped()
    switch = switch_of(of(net))
    with torch.autocast("cpu", dtype=torch.float16):
        out = net(torch.randn(3, 16))
    assert out.dtype == torch.float16
    assert switch.facts() == {"calls": 0, "calls_in_autocast_of_job": 1}


def test_a_root_that_is_never_called_gives_way_to_what_is():
    """As in Lightning, where the model's own method calls its parts: each of these is a call, and none within it."""

    class Lightninglike(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Sequential(Wrapped(), nn.ReLU()), nn.Linear(4, 4)

        def training_step(self, x, y):
            return functional.cross_entropy(self.head(self.body(x)), y)

    torch.manual_seed(0)
    net = Lightninglike()
    switch = switch_of(of(net))
    for _ in range(2):
        net.training_step(torch.randn(3, 16), torch.zeros(3, dtype=torch.long)).backward()
    assert net.body[0].seen == [torch.bfloat16] * 2
    assert switch.facts()["calls"] == 4
    switch.off()
    assert not any("_compiled_call_impl" in module.__dict__ for module in net.modules())


def half():
    net = Wrapped().to(torch.bfloat16)
    return of(net).job


def scaled():
    job = of(Wrapped()).job
    job.scaler = torch.amp.GradScaler("cpu")
    return job


def on_meta():
    return of(Wrapped().to("meta")).job


REFUSED = [
    (lambda: stack(flags=("avx2", "avx512f", "avx512_vnni")).job, "no units for bf16"),
    (half, "another type than float32"),
    (scaled, "scales its losses"),
    (on_meta, "not known which units there are on meta"),
    (lambda: JobOf([], [], "", UNITS), "there is no model"),
]


@pytest.mark.parametrize(("made", "reason"), REFUSED, ids=[each[1] for each in REFUSED])
def test_it_is_refused_with_the_reason(made, reason):
    """Where the units are missing, or the job chooses its types itself."""
    with pytest.raises(Refused, match=reason):
        mixed_precision.prepare(made(), {})


def test_it_is_refused_within_autocast():
    """The job trains in a block of its own."""
    training = of(Wrapped())
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(Refused, match="autocast already"):
        mixed_precision.prepare(training.job, {})
