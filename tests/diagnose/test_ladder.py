"""Made-up jobs with one planted fault each: the rung and the first cure; quiet jobs: no finding."""

from dataclasses import replace

import pytest
from made_jobs import (
    FACTS,
    GPU_FACTS,
    QUIET,
    QUIET_GPU,
    STEPS,
    loads,
    moved,
    profile,
    quiet,
    quiet_gpu,
    rank,
    with_gauges,
    with_steps,
)

from suffice.diagnose.ladder import diagnose
from suffice.records import measured

WAITING = moved(QUIET, wait_for_data=0.096)
WAITING_GPU = moved(QUIET_GPU, wait_for_data=0.098)
GIB = 2.0**30


def slow_disk():
    """Two workers read from a disk that gives what it can."""
    return quiet(split=WAITING, busy=1.9, loader=loads("I/O", on=0.1, read=1e5))


def slow_network():
    """Two workers wait for answers."""
    return quiet(split=WAITING, busy=1.9, loader=loads("I/O", on=0.1))


def slow_network_without_workers():
    """The training process waits for answers, on a machine without a free processor."""
    return profile(rank(split=WAITING, busy=1.0, loader=loads("I/O", on=0.1, workers=0)), processors=1.0, used=1.0)


def slow_decode():
    """As many workers as processors, all computing."""
    return quiet(split=WAITING, busy=1.9, loader=loads("compute", workers=3, fetch_s=0.02))


def slow_decode_beyond_all_processors():
    """No workers, but even both processors together would not keep up."""
    split, facts = moved(QUIET, wait_for_data=0.288), {**FACTS, "intra_op_threads": 2}
    loader = loads("compute", workers=0, fetch_s=0.009)
    return profile(rank(split=split, busy=1.0, loader=loader, facts=facts), processors=2.0, used=1.0)


def no_workers():
    """The training process decodes while other processors idle."""
    return profile(rank(split=WAITING, busy=1.0, loader=loads("compute", workers=0, fetch_s=0.003)), used=1.0)


def no_workers_and_no_processor_free():
    """The training process decodes, and neighbours have the other processors: only the run queue shows them."""
    loader = loads("compute", workers=0, fetch_s=0.003, on=0.5, queue=0.5)
    return profile(rank(split=WAITING, busy=1.0, loader=loader), used=1.0)


def too_few_workers():
    """Two workers on sixteen processors."""
    return profile(rank(split=WAITING, busy=1.9, loader=loads("compute", fetch_s=0.006)), processors=16.0, used=4.0)


def too_many_workers():
    """Sixteen workers on four processors queue for them."""
    return quiet(split=WAITING, loader=loads("compute", workers=16, fetch_s=0.02, on=0.3, queue=0.7))


def lock():
    """Workers that wait for each other."""
    return quiet(split=WAITING, loader=loads("a lock", on=0.5))


def both():
    """Workers that wait and compute alike."""
    return quiet(split=WAITING, loader=loads("both", on=0.5))


def no_record():
    """A wait of which nothing else is known."""
    return quiet(split=WAITING, loader=replace(loads("unknown"), figures={}))


def epoch_starts():
    """Four epochs, each of which starts its workers anew for five seconds."""
    waits = [5.0 if i % 50 == 0 else 0.0001 for i in range(STEPS)]
    job = quiet(split=moved(QUIET, wait_for_data=0.0754), loader=loads("compute", first_wait_s=5.2))
    return with_steps(job, "wait_for_data_s", waits)


def gpu_without_workers():
    """The GPU's own clock waits for data."""
    job = quiet_gpu(split=WAITING_GPU, loader=loads("compute", workers=0, fetch_s=0.003))
    return with_gauges(job, gpu0_utilization_gpu=50.0, processors_used=1.0)


def launch_bound():
    """The GPU has its data and idles all the same."""
    return with_gauges(quiet_gpu(facts={**GPU_FACTS, "compiled": False}), gpu0_utilization_gpu=45.0)


def launch_bound_though_compiled():
    """The same of a compiled model."""
    return with_gauges(quiet_gpu(), gpu0_utilization_gpu=45.0)


def item_every_step():
    """The host waits for the GPU at the end of each step, and the GPU then for the host."""
    host = moved(QUIET_GPU, forward=0.004, backward=0.006, other=0.084)
    return with_gauges(quiet_gpu(split=host, device_split=QUIET_GPU), gpu0_utilization_gpu=80.0)


def slow_copies():
    """A third of the GPU's time is between the batch and the model."""
    return with_gauges(quiet_gpu(split=moved(QUIET_GPU, copy=0.05)), gpu0_utilization_gpu=66.0)


def checkpoint_every_ten_steps():
    """Every tenth step takes half a second more, and weights are written."""
    job = quiet(split=moved(QUIET, other=0.053), busy=2.0)
    job = with_steps(job, "other_s", [0.503 if i % 10 == 9 else 0.003 for i in range(STEPS)])
    return replace(job, figures={**job.figures, "disk_written_bytes": measured(20 * 8e6, "B")})


def logging_every_ten_steps():
    """The same without a byte written."""
    job = quiet(split=moved(QUIET, other=0.053), busy=2.0)
    return with_steps(job, "other_s", [0.503 if i % 10 == 9 else 0.003 for i in range(STEPS)])


def slow_rank():
    """One of two ranks takes longer in forward, the other waits for it in backward."""
    facts = {**FACTS, "world_size": 2, "intra_op_threads": 2}
    late = rank(1, split=moved(QUIET, forward=0.072, backward=0.055), facts=facts, busy=2)
    early = rank(0, split=moved(QUIET, forward=0.032, backward=0.095), facts=facts, busy=2)
    return profile(early, late)


def evaluation_too_often():
    """Half of the loop is evaluation."""
    return quiet(evaluation_s=20.0)


def evaluation_beside_some_waiting():
    """A fifth of a step waits, but steps are a tenth of the loop."""
    return quiet(split=moved(QUIET, wait_for_data=0.02), evaluation_s=210.0, loader=loads("compute", workers=3))


def float32_on_a_gpu():
    """Most operations in float32 on a GPU with units for less."""
    return quiet_gpu(facts={**GPU_FACTS, "precision": "float32"})


def float32_on_an_older_gpu():
    """The same on one that has units for fp16."""
    return quiet_gpu(facts={**GPU_FACTS, "precision": "float32", "device_name": "Tesla T4"})


def float32_on_a_processor_with_amx():
    """The same on a processor with units for bf16."""
    return profile(rank(), processor="Sapphire Rapids")


def uncompiled():
    """An eager model on a busy GPU, far from its peak."""
    return quiet_gpu(facts={**GPU_FACTS, "compiled": False}, share_of_peak=0.12)


def unfused_optimiser():
    """A third of the step updates parameters."""
    return quiet(split=moved(QUIET, optimiser=0.05))


def tiny_batch():
    """Two samples a step, nothing of the peak reached."""
    split = {name: seconds / 20 for name, seconds in QUIET.items()}
    return quiet(split=split, share_of_peak=0.004, loader=loads(batch=2))


def tiny_batch_on_a_gpu():
    """A kernel always runs, on a tenth of the multiprocessors."""
    return with_gauges(quiet_gpu(), gpu0_sm_active=11.0)


def too_many_threads():
    """Sixteen threads on four processors."""
    return quiet(facts={**FACTS, "intra_op_threads": 16})


def ranks_with_too_many_threads():
    """Four ranks, each with the threads of a machine of its own."""
    facts = {**FACTS, "world_size": 4}
    return profile(*(rank(i, facts=facts, busy=1.0) for i in range(4)))


def spinning_on_contended_processors():
    """Threads fit, but the machine is short of processors."""
    return with_gauges(quiet(), pressure_cpu=0.6)


def one_thread_of_four():
    """One thread computes, three processors idle, nobody else wants them."""
    return profile(rank(facts={**FACTS, "intra_op_threads": 1}, busy=1.0), used=1.0)


def lopsided_lengths():
    """Forward and backward vary threefold with the length of the sequences."""
    job = quiet(tokens_per_s=1e5)
    ranks = (replace(job.ranks[0], figures={**job.ranks[0].figures, "step_s": measured(0.1, "s", low=0.05, high=0.2)}),)
    job = replace(job, ranks=ranks)
    for name in ("forward_s", "backward_s"):
        job = with_steps(job, name, [QUIET[name[:-2]] * (0.5 + i % 4 / 2) for i in range(STEPS)])
    return job


def memory_is_full():
    """The job is at its limit, and the machine stalls."""
    job = with_gauges(quiet(), pressure_memory=0.4)
    return replace(job, figures={**job.figures, "memory_peak_bytes": measured(31.5 * GIB, "B")})


def memory_leak():
    """Resident memory doubles while it trains."""
    return with_gauges(quiet(), memory_gib=[2 + 0.05 * i for i in range(60)])


PLANTED = [
    (slow_disk, 2, "loader-io", "sample-cache"),
    (slow_network, 2, "loader-io", "loader-workers"),
    (slow_network_without_workers, 2, "few-workers", "loader-workers"),
    (slow_decode, 2, "loader-compute", "sample-cache"),
    (slow_decode_beyond_all_processors, 2, "loader-compute", "sample-cache"),
    (no_workers, 2, "few-workers", "loader-workers"),
    (no_workers_and_no_processor_free, 2, "loader-compute", "sample-cache"),
    (too_few_workers, 2, "few-workers", "loader-workers"),
    (too_many_workers, 2, "crowded-workers", "loader-workers"),
    (lock, 2, "loader-lock", "sample-cache"),
    (both, 2, "loader-both", "sample-cache"),
    (no_record, 2, "loader-unknown", "loader-workers"),
    (epoch_starts, 2, "epoch-starts", "loader-workers"),
    (gpu_without_workers, 2, "few-workers", "loader-workers"),
    (launch_bound, 3, "host-bound", "compile"),
    (launch_bound_though_compiled, 3, "host-bound", "fused-optimiser"),
    (item_every_step, 3, "synchronising", None),
    (slow_copies, 3, "copies", "pinned-memory"),
    (checkpoint_every_ten_steps, 3, "gaps", None),
    (logging_every_ten_steps, 3, "gaps", None),
    (slow_rank, 3, "rank-imbalance", None),
    (evaluation_too_often, 4, "frequent-evaluation", None),
    (evaluation_beside_some_waiting, 4, "frequent-evaluation", None),
    (float32_on_a_gpu, 4, "wide-precision", "mixed-precision"),
    (float32_on_an_older_gpu, 4, "wide-precision", "mixed-precision"),
    (float32_on_a_processor_with_amx, 4, "wide-precision", "mixed-precision"),
    (uncompiled, 4, "eager", "compile"),
    (unfused_optimiser, 4, "slow-optimiser", "fused-optimiser"),
    (tiny_batch, 4, "small-batch", "larger-batch"),
    (tiny_batch_on_a_gpu, 4, "small-batch", "larger-batch"),
    (too_many_threads, 4, "crowded-threads", "intra-op-threads"),
    (ranks_with_too_many_threads, 4, "crowded-threads", "intra-op-threads"),
    (spinning_on_contended_processors, 4, "crowded-threads", "intra-op-threads"),
    (one_thread_of_four, 4, "idle-processors", "intra-op-threads"),
    (lopsided_lengths, 4, "uneven-steps", "sequence-bucketing"),
    (memory_is_full, 4, "memory-pressure", "gradient-checkpointing"),
    (memory_leak, 4, "memory-growth", None),
]


@pytest.mark.parametrize(("job", "rung", "rule", "cure"), PLANTED, ids=[job.__name__ for job, *_ in PLANTED])
def test_a_planted_fault_is_found(job, rung, rule, cure) -> None:
    """The rung, the rule and the first cure are those of the fault, and the evidence is not empty."""
    found = diagnose(job())
    assert (found.rung, found.findings[0].id) == (rung, rule), found
    first = found.findings[0]
    assert (first.cures[0] if first.cures else None) == cure
    assert first.evidence
    assert first.sentence in found.sentence


QUIET_JOBS = {
    "on a processor": quiet,
    "on a GPU": quiet_gpu,
    "with an evaluation now and then": lambda: quiet(evaluation_s=2.0),
    "with one thread where there is one processor": lambda: profile(
        rank(facts={**FACTS, "intra_op_threads": 1}, busy=1.0), processors=1.0, used=1.0
    ),
    "with one thread on a machine that others use": lambda: with_gauges(
        profile(rank(facts={**FACTS, "intra_op_threads": 1}, busy=0.6), used=0.6), pressure_cpu=0.6
    ),
    "with gentle batches of different size": lambda: with_steps(quiet(), "forward_s", [0.03, 0.034] * 100),
    "with caches that fill at first": lambda: with_gauges(
        quiet(), memory_gib=[1.0 + min(i, 15) / 5 for i in range(60)]
    ),
    "on two ranks": lambda: profile(
        *(rank(i, facts={**FACTS, "world_size": 2, "intra_op_threads": 2}, busy=2.0) for i in range(2))
    ),
    "on an old GPU without units for less": lambda: quiet_gpu(
        facts={**GPU_FACTS, "precision": "float32", "device_name": "Tesla P100-PCIE-16GB"}
    ),
    "on a GPU that no table knows": lambda: quiet_gpu(
        facts={**GPU_FACTS, "precision": "float32", "device_name": "Accelerator 9"}
    ),
    "on a GPU while its host waits for data": lambda: quiet_gpu(
        split=moved(WAITING_GPU, forward=0.004, backward=0.006), device_split=QUIET_GPU
    ),
}


@pytest.mark.parametrize("job", QUIET_JOBS.values(), ids=QUIET_JOBS)
def test_no_cure_without_a_fault(job) -> None:
    """A job without a fault has no finding, and a sentence says that it is well as it is."""
    found = diagnose(job())
    assert found.findings == ()
    assert found.rung == 5
    assert "already" in found.sentence


def test_the_next_rung_waits_until_this_one_is_exhausted() -> None:
    """Where data are waited for, precision and evaluation are not spoken of."""
    job = quiet_gpu(
        split=WAITING_GPU,
        evaluation_s=10.0,
        facts={**GPU_FACTS, "precision": "float32"},
        loader=loads("compute", workers=3),
    )
    assert {finding.rung for finding in diagnose(job).findings} == {2}


def test_what_an_exhausted_rung_found_is_still_told() -> None:
    """A fault whose cure gains next to nothing does not hold the ladder up, and comes last."""
    found = diagnose(evaluation_beside_some_waiting())
    assert [finding.rung for finding in found.findings] == [4, 2]


def test_the_bound_is_amdahls() -> None:
    """A wait of half a step bounds the gain at a factor of two; with as long an evaluation, at four thirds."""
    assert diagnose(slow_decode()).findings[0].bound == pytest.approx(0.192 / 0.096, rel=1e-6)
    training_s = STEPS * 0.192
    job = quiet(split=WAITING, evaluation_s=training_s, loader=loads("compute", workers=3))
    assert diagnose(job).findings[0].bound == pytest.approx(4 / 3, rel=1e-6)


def test_workers_are_bounded_by_the_processors() -> None:
    """Fetching alone can't be faster than all processors fetch."""
    found = diagnose(slow_decode_beyond_all_processors()).findings
    workers = next(finding for finding in found if finding.id == "few-workers")
    assert workers.bound == pytest.approx(2 / 0.009 / (32 / 0.384), rel=1e-6)
    assert workers.bound < found[0].bound


def test_what_has_a_surer_cause_is_not_counted_twice() -> None:
    """A GPU that idles for its copies is not called host-bound as well, one that idles for more than that is."""
    assert [finding.id for finding in diagnose(slow_copies()).findings] == ["copies"]
    found = diagnose(with_gauges(slow_copies(), gpu0_utilization_gpu=20.0)).findings
    assert [finding.id for finding in found] == ["host-bound", "copies"]
    assert found[0].bound == pytest.approx(1 / (0.2 + 0.05 / 0.148), rel=1e-3)


def test_the_rate_that_a_store_must_give() -> None:
    """100 kB a sample at 32 samples in the 96 ms that a step takes without waiting are 33 MB/s."""
    assert "33.3 MB/s" in diagnose(slow_disk()).findings[0].sentence


def test_few_steps_are_a_doubt() -> None:
    """What ten steps show is found, and the number of steps is said; four show nothing."""
    (found,) = diagnose(quiet(split=moved(QUIET, optimiser=0.05), steps=10)).findings
    assert "only 10 steps were seen" in (found.confidence or "")
    nothing = diagnose(quiet(split=moved(QUIET, optimiser=0.05), steps=4))
    assert nothing.findings == ()
    assert "4 steps were seen" in nothing.sentence


def test_a_gpu_that_tells_nothing_is_not_called_busy() -> None:
    """Without a reading, no finding and no praise: the sentence says what is not known."""
    job = quiet_gpu()
    found = diagnose(replace(job, series=tuple(s for s in job.series if not s.name.startswith("gpu"))))
    assert found.findings == ()
    assert "not known" in found.sentence


def test_a_part_that_is_not_told_is_not_guessed() -> None:
    """A loop that cuts its batches by hand is told that data may lie in `other`, without a cure."""
    (found,) = diagnose(quiet(split={"forward": 0.02, "backward": 0.03, "optimiser": 0.004, "other": 0.046})).findings
    assert found.id == "other-work"
    assert "cuts by itself" in found.sentence
    assert found.cures == ()


def test_a_sleeping_process_is_found_and_nothing_offered() -> None:
    """A process off the processor for most of a step, on a machine without pressure, waits for something untold."""
    found = diagnose(quiet(busy=0.3))
    assert [finding.id for finding in found.findings] == ["processor-waits"]
    assert found.findings[0].cures == ()
