"""The small jobs of bench/faults/: what was planted in each, and which diagnosis of it is right.

What is right was written down from the physics of what was planted, before any run.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Job:
    """A program with its arguments, what was planted in it, and which diagnosis of it is right.

    `processors` is how many of the machine's the job may use, by affinity; None for all. With one, and so with one
    thread, neighbours on a shared machine can slow a job but plant no fault of their own in it. Where a job needs two,
    and its right diagnosis depends on what neighbours do, `if_contended` are the first cures that are right while
    neighbours use a good part of them. `free` says that it is only planted while a processor is free: the bench waits
    for that, and says how often it tried. `neighbours` programs are started beside it. `memory_limit` is the limit
    that is written into the record of the run, as a multiple of what the job took: a real one could end other programs
    of a shared machine.
    """

    name: str
    program: str
    planted: str
    rung: int
    cures: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    processors: int | None = None
    free: bool = False
    if_contended: tuple[str, ...] | None = None
    neighbours: int = 0
    memory_limit: float | None = None
    seconds: float | None = None


TORCHRUN = "-m torch.distributed.run --standalone --nproc-per-node 2"
BF16 = any(flag in Path("/proc/cpuinfo").read_text() for flag in ("amx_bf16", "avx512_bf16"))
THREADS = ("intra-op-threads",)
JOBS = (
    Job(
        name="slow disk",
        program="slow_disk.py",
        planted="a disk gives 4 MB/s however many read: only fewer reads help",
        rung=2,
        cures=("sample-cache",),
    ),
    Job(
        name="slow store",
        program="slow_store.py 2",
        planted="two workers wait 15 ms for each answer: more at once, or none for what was read before",
        rung=2,
        cures=("loader-workers", "sample-cache"),
    ),
    Job(
        name="slow store, no workers",
        program="slow_store.py 0",
        planted="the loop itself waits for each answer, and the processors idle",
        rung=2,
        cures=("loader-workers",),
    ),
    Job(
        name="slow decode",
        program="slow_decode.py 2 4",
        planted="both processors decode the same photos anew: only doing it once helps",
        rung=2,
        cures=("sample-cache", "batch-gather"),
    ),
    Job(
        name="no workers",
        program="slow_decode.py 0 24",
        planted="one processor decodes the same photos anew, then computes; the other idles",
        rung=2,
        cures=("loader-workers", "sample-cache"),
    ),
    Job(
        name="no workers, random",
        program="slow_augmentation.py",
        planted="the same, and every sample is random: a cache can't help",
        free=True,
        rung=2,
        cures=("loader-workers",),
    ),
    Job(
        name="too many workers",
        program="slow_decode.py 8 16",
        planted="eight workers on two processors",
        rung=2,
        cures=("loader-workers",),
    ),
    Job(
        name="lock",
        program="lock.py",
        planted="three workers take turns: only fewer reads help",
        rung=2,
        cures=("sample-cache",),
    ),
    Job(
        name="latency and decode",
        program="latency_and_decode.py",
        planted="two workers wait and decode alike: a cache spares both, more workers overlap them",
        rung=2,
        cures=("sample-cache", "loader-workers"),
    ),
    Job(
        name="epoch starts",
        program="epoch_starts.py",
        planted="a worker is spawned anew every 50 steps",
        rung=2,
        cures=("loader-workers",),
        seconds=25,
    ),
    Job(
        name="samples one by one",
        program="in_memory.py",
        planted="20 µs of Python for each of 128 samples in memory: to hand them over from a worker costs as much",
        rung=2,
        cures=("batch-gather", "sample-cache"),
    ),
    Job(
        name="logging every step",
        program="logging_every_step.py",
        planted="histograms of all parameters, each step",
        processors=1,
        rung=3,
        advice=("logging",),
    ),
    Job(
        name=".item() for every sample",
        program="item_every_sample.py",
        planted="losses and metrics in Python, sample by sample (a processor does not wait for `.item()` itself)",
        processors=1,
        rung=3,
        advice=("metrics",),
    ),
    Job(
        name="pure-Python metric",
        program="edit_distance.py",
        planted="an edit distance in Python, each step",
        processors=1,
        rung=3,
        advice=("metrics",),
    ),
    Job(
        name="checkpoint every 10 steps",
        program="checkpoints.py",
        planted="weights and Adam's state are written and synced",
        processors=1,
        rung=3,
        advice=("checkpoints",),
    ),
    Job(
        name="report every 20 steps",
        program="logging_now_and_then.py",
        planted="a long report in Python",
        processors=1,
        rung=3,
        advice=("logging",),
    ),
    Job(
        name="metrics server",
        program="remote_metrics.py",
        planted="each step waits 30 ms for an answer that it does not need",
        processors=1,
        rung=3,
        advice=("the network", "logging"),
    ),
    Job(
        name="slow rank",
        program=f"{TORCHRUN} slow_rank.py",
        planted="the second of two ranks does 30 ms more in forward",
        rung=3,
        advice=("rank 0 waits",),
    ),
    Job(
        name="evaluation too often",
        program="evaluation.py",
        planted="every five steps, eight batches are evaluated",
        processors=1,
        rung=4,
        advice=("evaluate less often",),
    ),
    Job(
        name="tiny batch",
        program="tiny_batch.py",
        planted="two samples a step",
        processors=1,
        rung=4,
        cures=("larger-batch",),
    ),
    Job(
        name="unfused optimiser",
        program="unfused_optimiser.py",
        planted="Adam over 400 small tensors, one by one",
        processors=1,
        rung=4,
        cures=("fused-optimiser", "foreach-optimiser"),
    ),
    Job(
        name="too many threads",
        program="threads.py 8",
        planted="eight threads on two processors",
        processors=1,
        rung=4,
        cures=THREADS,
    ),
    Job(
        name="spinning on contended processors",
        program="threads.py 2",
        planted="two programs beside it want both processors",
        rung=4,
        cures=THREADS,
        neighbours=2,
        seconds=20,
    ),
    Job(
        name="one thread of two",
        program="threads.py 1",
        planted="a processor idles, unless neighbours want it",
        rung=4,
        cures=THREADS,
        if_contended=(),
    ),
    Job(
        name="memory leak",
        program="leak.py",
        planted="graphs are kept in a list",
        processors=1,
        rung=4,
        seconds=26,
        advice=("lets go",),
    ),
    Job(
        name="memory full",
        program="quiet_mlp.py",
        planted="the limit of memory is 4 % above what the job took (written into the record); nothing stalls for it",
        processors=1,
        rung=4,
        advice=("make room",),
        memory_limit=1.04,
    ),
    Job(
        name="lopsided lengths",
        program="lopsided.py",
        planted="a batch is as long as its longest sentence",
        processors=1,
        rung=4,
        cures=("sequence-bucketing",),
    ),
    Job(
        name="float32 products",
        program="matmul.py",
        planted="nothing but products in float32: a fault only where there are units for less",
        processors=1,
        rung=4 if BF16 else 5,
        cures=("mixed-precision",) if BF16 else (),
    ),
    Job(name="quiet CNN", program="threads.py", planted="no fault", processors=1, rung=5),
    Job(name="quiet perceptron", program="quiet_mlp.py", planted="no fault", processors=1, rung=5),
    Job(name="quiet transformer", program="quiet_transformer.py", planted="no fault", processors=1, rung=5),
    Job(name="quiet LSTM", program="quiet_lstm.py", planted="no fault", processors=1, rung=5),
    Job(
        name="quiet perceptron, two threads",
        program="quiet_mlp.py",
        planted="no fault, unless neighbours want the processors",
        rung=5,
        if_contended=THREADS,
    ),
    Job(
        name="quiet images",
        program="quiet_images.py",
        planted="no fault: the worker and the loop share two processors",
        rung=5,
    ),
)
