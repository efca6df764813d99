"""Profiles of small made-up jobs: a quiet one on a processor, a quiet one on a GPU, and whatever is planted in them."""

from dataclasses import replace

from suffice.records import Loader, Profile, Rank, Series, Target, measured

STEPS = 200
QUIET = {"wait_for_data": 0.002, "forward": 0.032, "backward": 0.055, "optimiser": 0.006, "other": 0.003}
QUIET_GPU = {**QUIET, "copy": 0.002}
FACTS = {
    "world_size": 1,
    "models": ["Net"],
    "parameters": 1_000_000,
    "parameter_dtype": "float32",
    "intra_op_threads": 4,
    "matmul_precision": "highest",
    "optimisers": ["SGD"],
    "compiled": False,
    "torch": "2.13.0",
    "python": "3.12.3",
    "precision": "float32",
}
GPU_FACTS = {**FACTS, "device_name": "NVIDIA H100 80GB HBM3", "precision": "bfloat16", "compiled": True}


def quiet(**changes):
    """A job on four processors that does nothing but compute, with what is planted in its one rank."""
    return profile(rank(**changes))


def quiet_gpu(**changes):
    """The same on one GPU, which is busy."""
    job = profile(rank(**{"device": "cuda:0", "split": QUIET_GPU, "facts": GPU_FACTS, "on_device": True, **changes}))
    return with_gauges(job, gpu0_utilization_gpu=97.0, gpu0_sm_active=80.0)


def rank(
    number=0,
    *,
    split=QUIET,
    device="cpu",
    facts=FACTS,
    on_device=False,
    device_split=None,
    busy=3.8,
    loader=None,
    evaluation_s=0.0,
    share_of_peak=0.5,
    **figures,
):
    """One training process; `split` and `device_split` are in seconds of a step."""
    step_s = sum(split.values())
    own = {f"{name}_s": measured(value, "s/step") for name, value in split.items()}
    theirs = {f"{name}_s": measured(value, "s/step") for name, value in (device_split or split).items()}
    known = {
        "steps": STEPS,
        "step_s": step_s,
        "mean_step_s": step_s,
        "processors_busy": busy,
        "training_s": STEPS * step_s,
        "evaluation_s": evaluation_s,
        "samples_per_s": 32 / step_s,
        "share_of_peak": share_of_peak,
        **figures,
    }
    return Rank(
        rank=number,
        pid=100 + number,
        device=device,
        figures={name: measured(value, "1") for name, value in known.items() if value is not None},
        split=own,
        device_split=theirs if on_device else {},
        loaders=(loader or loads(),),
        facts=facts,
    )


def loads(
    limited_by="not limiting", *, workers=2, fetch_s=0.001, on=1.0, queue=0.0, read=0.0, first_wait_s=0.1, batch=32
):
    """A training loader; `on` and `queue` are shares of `fetch_s`, the rest is off the processor."""
    figures = {
        "wait_s": 0.001,
        "first_wait_s": first_wait_s,
        "fetch_s": fetch_s,
        "fetch_processor_s": on * fetch_s,
        "fetch_queueing_s": queue * fetch_s,
        "fetch_off_processor_s": (1 - on - queue) * fetch_s,
        "fetch_read_bytes": read,
    }
    return Loader(
        name="DataLoader 0",
        role="training",
        dataset="Photos",
        batch_size=batch,
        workers=workers,
        figures={name: measured(value, "1") for name, value in figures.items()},
        limited_by=limited_by,
        reason=f"seen to be {limited_by}",
    )


def profile(*ranks, processors=4.0, processor="Cascade Lake", used=3.8, **figures):
    """A run of these ranks, with the gauges of a machine that nobody else uses."""
    step_s = ranks[0].figures["step_s"].value if ranks else 0.1
    made = Profile(
        run="20260102-030405-a1b2",
        target=Target(command=("python", "train.py"), cwd="/home/me"),
        started="2026-01-02T03:04:05+00:00",
        ended="2026-01-02T03:05:05+00:00",
        exit_code=0,
        state="finished",
        machine={
            "processor": processor,
            "processors": int(processors),
            "processors_allowed": processors,
            "memory_gib": 32.0,
            "memory_limit_gib": 32.0,
            "gpus": [{"index": i, "name": "NVIDIA H100", "memory_total": 81559} for i in range(_gpus(ranks))],
        },
        figures={
            "duration_s": measured(STEPS * step_s, "s"),
            "memory_peak_bytes": measured(2.0**30, "B"),
            "disk_written_bytes": measured(figures.get("written", 0.0), "B"),
        },
        ranks=ranks,
    )
    for each in ranks:
        made = with_steps(made, "step_s", [step_s] * STEPS, rank=each.rank)
    return with_gauges(made, processors_used=used, pressure_cpu=0.02, pressure_memory=0.0, memory_gib=1.0)


def with_steps(profile_, name, values, rank=0):
    """The profile with a series of a rank, one value a step."""
    step_s = profile_.figures["duration_s"].value / STEPS
    at_s = tuple(step_s * i for i in range(len(values)))
    return _with(profile_, Series(name=name, unit="s", at_s=at_s, values=tuple(values), rank=rank))


def with_gauges(profile_, **values):
    """The profile with a series of the machine, level or, for a list, as given."""
    until_s = profile_.figures["duration_s"].value
    for name, value in values.items():
        readings = value if isinstance(value, list) else [value] * 40
        at_s = tuple(until_s * i / len(readings) for i in range(len(readings)))
        profile_ = _with(profile_, Series(name=name, unit="1", at_s=at_s, values=tuple(readings)))
    return profile_


def moved(split, **seconds):
    """The split with some of its parts changed."""
    return {**split, **seconds}


def _with(profile_, series):
    rest = tuple(s for s in profile_.series if (s.name, s.rank) != (series.name, series.rank))
    return replace(profile_, series=(*rest, series))


def _gpus(ranks):
    return sum(each.device.startswith("cuda") for each in ranks)
