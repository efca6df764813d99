"""Settings of the whole process: precision of products, numbers near zero, threads; each goes back to what it was."""

import pytest
import torch

from suffice.agent.rig.job import Refused
from suffice.change.train import flush_denormals, intra_op_threads, matmul_precision
from tests.change.small_jobs import cnn, furthest, stack

ROUNDING = 1e-4
UNITS = ("avx512_bf16",)
SETTINGS = [(backend, op) for backend in ("cuda", "mkldnn") for op in ("all", "matmul")]


def precisions():
    """All that torch tells of it."""
    tell = torch._C._get_fp32_precision_getter
    return torch.get_float32_matmul_precision(), [tell(*each) for each in SETTINGS]


def test_the_precision_of_products_goes_back_to_what_it_was():
    """Also below the surface, where torch's own call would leave its mark; twice on is once on."""
    before = precisions()
    switch = matmul_precision.prepare(stack(flags=UNITS).job, {"precision": "medium"})
    switch.on()
    switch.on()
    assert torch.get_float32_matmul_precision() == "medium"
    assert precisions() != before
    switch.off()
    switch.off()
    assert precisions() == before


def test_training_with_less_precise_products_stays_near():
    """Within what bf16 rounds, where the processor has it; else nothing changes."""
    plain, changed = stack(flags=UNITS).run(), stack(flags=UNITS)
    changed.toggled(matmul_precision, precision="medium")
    assert furthest(changed, plain) < 0.2


def test_precision_is_refused_without_units():
    """On this processor it would change nothing."""
    with pytest.raises(Refused, match="no units for bf16"):
        matmul_precision.prepare(stack(flags=("avx2",)).job, {"precision": "medium"})


def test_precision_is_refused_where_the_job_has_set_it():
    """What the job wants is the job's."""
    torch.set_float32_matmul_precision("high")
    try:
        with pytest.raises(Refused, match="set it to high"):
            matmul_precision.prepare(stack(flags=UNITS).job, {"precision": "medium"})
    finally:
        torch.set_float32_matmul_precision("highest")
        for backend in ("cuda", "mkldnn"):
            torch._C._set_fp32_precision_setter(backend, "matmul", "none")


@pytest.mark.parametrize("threads", [1, 2])
def test_small_numbers_are_flushed_in_every_thread(threads):
    """A large tensor is shared by all threads of OpenMP, those that were there before included; off, all is back."""
    torch.set_num_threads(threads)
    numbers = torch.full((2_000_000,), 1e-39)

    def kept():
        return ((numbers * 1.0).view(torch.int32) != 0).float().mean().item()

    assert kept() == 1.0
    switch = flush_denormals.prepare(stack().job, {})
    assert kept() == 1.0
    for _ in range(2):
        switch.on()
        switch.on()
        assert kept() == 0.0
        switch.off()
        switch.off()
        assert kept() == 1.0


def test_flushing_changes_no_loss_of_an_ordinary_job():
    """On in every other step."""
    plain, changed = cnn().run(), cnn()
    changed.toggled(flush_denormals)
    assert furthest(changed, plain) < ROUNDING


def test_flushing_is_refused_where_there_is_nothing_to_flush():
    """A job that has trained, and has no such number; one that has one in its optimiser's state is let in."""
    training = cnn().run(2)
    with pytest.raises(Refused, match="no such number"):
        flush_denormals.prepare(training.job, {})
    state = training.optimiser.state[training.net[0].weight]
    state["exp_avg"].view(-1)[0] = 1e-40
    flush_denormals.prepare(training.job, {}).off()


def test_flushing_is_refused_where_the_job_does_it():
    """It stays on afterwards."""
    torch.set_flush_denormal(True)
    try:
        with pytest.raises(Refused, match="the job has set it"):
            flush_denormals.prepare(stack().job, {})
        assert (torch.tensor([1e-39]) * 1.0).item() == 0.0
    finally:
        torch.set_flush_denormal(False)


def test_threads_are_switched_and_go_back():
    """To what they were when it was switched on, and the losses stay within rounding."""
    torch.set_num_threads(2)
    plain = cnn().run()
    changed = cnn()
    switch = intra_op_threads.prepare(changed.job, {"threads": 1})
    changed.run(before_step=lambda index: switch.on() if index % 8 < 4 else switch.off())
    switch.on()
    switch.on()
    assert torch.get_num_threads() == 1
    switch.off()
    switch.off()
    assert torch.get_num_threads() == 2
    assert furthest(changed, plain) < ROUNDING


@pytest.mark.parametrize(("threads", "reason"), [(1, "1 threads already"), (10_000, "would share")])
def test_threads_are_refused(threads, reason):
    """As many as there are, or more than there are processors."""
    with pytest.raises(Refused, match=reason):
        intra_op_threads.prepare(cnn().job, {"threads": threads})
