"""Fused updates and updates by lists: switched between steps, refused where they can't be, invisible to the job."""

import copy
import itertools

import pytest
import torch
from torch import nn

from suffice.agent.rig.job import Refused
from suffice.change.train import channels_last, foreach_optimiser, fused_optimiser
from tests.change.small_jobs import JobOf, cnn, furthest, same_bits

ROUNDING = 1e-4
FUSED = [("AdamW", {}), ("Adam", {"amsgrad": True}), ("SGD", {"momentum": 0.9, "nesterov": True}), ("Adagrad", {})]
BY_LISTS = [
    ("Adadelta", {}),
    ("Adagrad", {"lr_decay": 0.01}),
    ("Adam", {"amsgrad": True, "weight_decay": 0.01}),
    ("AdamW", {}),
    ("Adamax", {}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("Rprop", {}),
    ("SGD", {"momentum": 0.9, "dampening": 0.1}),
]


@pytest.mark.parametrize(("kind", "options"), FUSED)
def test_fused_steps_round_and_no_more(kind, options):
    """On in every other step, the losses stay within rounding, and every one of those steps was fused."""
    plain, changed = cnn(kind, **options).run(), cnn(kind, **options)
    switch = changed.toggled(fused_optimiser)
    assert furthest(changed, plain) < ROUNDING
    assert switch.facts() == {"optimisers": kind, "steps": 12, "steps_unlike": 0}


@pytest.mark.parametrize(("kind", "options"), BY_LISTS)
def test_steps_by_lists_are_bitwise_equal(kind, options):
    """Losses, weights and state, for every optimiser that is let in."""
    plain, changed = cnn(kind, **options).run(), cnn(kind, **options)
    switch = changed.toggled(foreach_optimiser)
    assert same_bits(changed, plain)
    assert switch.facts() == {"optimisers": kind, "steps": 12}
    assert kind in foreach_optimiser.KINDS


@pytest.mark.parametrize("technique", [fused_optimiser, foreach_optimiser])
def test_the_job_sees_its_own_groups(technique):
    """While the change is on, groups, saved state and copies are what they are without it; loading keeps it on."""
    training = cnn()
    groups = copy.deepcopy(training.optimiser.state_dict()["param_groups"])
    switch = technique.prepare(training.job, {})
    switch.on()
    switch.on()
    training.run(2)
    assert training.optimiser.state_dict()["param_groups"] == groups
    training.optimiser.load_state_dict(copy.deepcopy(training.optimiser.state_dict()))
    training.run(2)
    assert switch.facts()["steps"] == 4
    switch.off()
    switch.off()
    training.run(2)
    assert switch.facts()["steps"] == 4
    assert training.optimiser.state_dict()["param_groups"] == groups


def test_a_step_that_fails_leaves_the_groups_alone():
    """The job catches its own exception, and goes on with what it had."""
    training = cnn()
    switch = fused_optimiser.prepare(training.job, {})
    switch.on()
    training.run(1)

    def closure():
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        training.optimiser.step(closure)
    training.run(1)
    switch.off()
    assert training.optimiser.param_groups[0]["fused"] is None
    assert training.optimiser.param_groups[0]["foreach"] is None


@pytest.mark.parametrize("kind", ["AdamW", "SGD"])
def test_fused_and_channels_last_are_right_together(kind):
    """In whatever order the two are switched: whenever a step is fused, all that it reads lies in one order."""
    options = {"momentum": 0.9} if kind == "SGD" else {}
    plain, changed = cnn(kind, **options).run(), cnn(kind, **options)
    switches = [technique.prepare(changed.job, {}) for technique in (fused_optimiser, channels_last)]
    arms = list(itertools.product((True, False), repeat=2)) * 6

    def switch(index):
        for each, wanted in zip(switches, arms[index], strict=True):
            (each.on if wanted else each.off)()

    changed.run(before_step=switch)
    assert furthest(changed, plain) < ROUNDING
    assert switches[0].facts()["steps_unlike"] == 0
    assert switches[0].facts()["steps"] == 12


def test_a_gradient_in_another_order_is_not_fused():
    """Torch would walk through both as if they lay alike: such a step is made as before, and counted."""

    def trained(change):
        torch.manual_seed(0)
        weight = nn.Parameter(torch.randn(4, 6))
        optimiser = torch.optim.AdamW([weight], lr=0.1)
        switch = fused_optimiser.prepare(JobOf([], [optimiser], "", ()), {})
        if change:
            switch.on()
        for _ in range(4):
            weight.grad = torch.randn(6, 4).t()
            optimiser.step()
        return weight.detach(), switch.facts()["steps_unlike"]

    (plain, _), (changed, unlike) = trained(change=False), trained(change=True)
    assert torch.equal(plain, changed)
    assert unlike == 4


def with_group(**values):
    training = cnn()
    training.optimiser.param_groups[0].update(values)
    return training.job


def of_weights(weight, kind="AdamW", roots=()):
    optimiser = getattr(torch.optim, kind)([weight], lr=0.1)
    return JobOf(roots, [optimiser], "", ())


class Own(torch.optim.AdamW):
    def step(self, closure=None):
        return super().step(closure)


def with_gaps():
    return of_weights(nn.Parameter(torch.randn(4, 8)[:, :3]))


def sparse(kind="AdamW"):
    table = nn.Embedding(4, 2, sparse=True)
    return of_weights(table.weight, kind, [table])


def scaled():
    job = cnn().job
    job.scaler = torch.amp.GradScaler("cpu")
    return job


REFUSED = [
    (fused_optimiser, lambda: cnn("RMSprop").job, "RMSprop has no fused step"),
    (fused_optimiser, lambda: cnn("LBFGS").job, "LBFGS has no fused step"),
    (fused_optimiser, lambda: JobOf([], [Own([nn.Parameter(torch.ones(2))])], "", ()), "Own has no fused step"),
    (fused_optimiser, lambda: cnn(fused=True).job, "AdamW is fused already"),
    (fused_optimiser, lambda: with_group(differentiable=True), "differentiable"),
    (fused_optimiser, lambda: with_group(capturable=True), "capturable"),
    (fused_optimiser, lambda: with_group(lr=torch.tensor(0.1)), "tensor for its learning rate"),
    (fused_optimiser, lambda: of_weights(nn.Parameter(torch.ones(2, dtype=torch.bfloat16))), "of a type"),
    (fused_optimiser, lambda: of_weights(nn.Parameter(torch.ones(2, dtype=torch.complex64))), "of a type"),
    (fused_optimiser, with_gaps, "these have gaps"),
    (fused_optimiser, sparse, "sparse gradients"),
    (fused_optimiser, scaled, "a GradScaler is at work"),
    (fused_optimiser, lambda: JobOf([], [], "", ()), "there is no optimiser"),
    (foreach_optimiser, lambda: cnn("RAdam").job, "rounds otherwise, or can't be done, in RAdam"),
    (foreach_optimiser, lambda: cnn("LBFGS").job, "can't be done, in LBFGS"),
    (foreach_optimiser, lambda: cnn(foreach=True).job, "by lists or fused already"),
    (foreach_optimiser, lambda: with_group(lr=torch.tensor(0.1)), "tensor for its learning rate"),
    (foreach_optimiser, lambda: of_weights(nn.Parameter(torch.ones(2, dtype=torch.bfloat16))), "neither float32"),
    (foreach_optimiser, lambda: sparse("SGD"), "sparse gradients"),
]


@pytest.mark.parametrize(("technique", "made", "reason"), REFUSED, ids=[each[2] for each in REFUSED])
def test_it_is_refused_with_the_reason(technique, made, reason):
    """Nothing is touched, and the reason names the optimiser."""
    job = made()
    groups = [dict(group) for optimiser in job.optimisers() for group in optimiser.param_groups]
    with pytest.raises(Refused, match=reason):
        technique.prepare(job, {})
    assert [dict(group) for optimiser in job.optimisers() for group in optimiser.param_groups] == groups


def test_those_that_can_are_switched():
    """Of two optimisers one has a fused step."""
    one, other = cnn("AdamW"), cnn("RMSprop")
    switch = fused_optimiser.prepare(JobOf([], [one.optimiser, other.optimiser], "", ()), {})
    assert switch.facts()["optimisers"] == "AdamW"


def test_lists_are_of_no_use_beside_fused_steps():
    """Where the fused kernel is in use, nothing is left to do by lists."""
    job = cnn().job
    switch = fused_optimiser.prepare(job, {})
    foreach_optimiser.prepare(job, {})
    switch.on()
    with pytest.raises(Refused, match="updated by a fused kernel by now"):
        foreach_optimiser.prepare(job, {})
    switch.off()
    foreach_optimiser.prepare(job, {})
