"""Profiles made by hand for the tests of the page: on two GPUs, long, empty, and with names that would be markup."""

import math
from dataclasses import replace

from suffice.records import (
    Figure,
    Loader,
    Note,
    Profile,
    Rank,
    Series,
    Target,
    estimated,
    looked_up,
    measured,
)

STEP = {"wait_for_data": 0.004, "copy": 0.003, "forward": 0.031, "backward": 0.058, "optimiser": 0.009, "other": 0.002}
GPU = "NVIDIA H100 80GB HBM3"


def empty():
    """A run of which nothing is known but its name."""
    return Profile(
        run="20260102-030405-0000",
        target=Target(command=("true",), cwd="/home/me"),
        started="2026-01-02T03:04:05+00:00",
        ended="2026-01-02T03:04:05+00:00",
        exit_code=0,
        state="finished",
    )


def on_gpus(ranks=2, steps=400, *, run="20260102-030405-a1b2", slower=1.0):
    """A run of `ranks` processes with a GPU each, whose energy counters were read."""
    duration_s = steps * slower * sum(STEP.values()) + 40
    parts = {"start_up_s": 30.0, **{f"{name}_s": slower * steps * s for name, s in STEP.items()}}
    parts |= {"evaluation_s": 6.0, "ending_s": 4.0}
    return replace(
        empty(),
        run=run,
        target=Target(command=("torchrun", f"--nproc-per-node={ranks}", "train.py", "--name", "a b"), cwd="/home/me"),
        machine={
            "hostname": "node",
            "kernel": "6.8.0",
            "processor": "Sapphire Rapids",
            "processors": 192,
            "processors_allowed": 48.0,
            "memory_limit_gib": 512.0,
            "gpus": [{"index": i, "name": GPU, "memory_total": 81559, "power_limit": 700} for i in range(ranks)],
            "region": "us-east-1",
            "instance": "p5.48xlarge",
        },
        figures=_totals(duration_s, ranks),
        parts={name: measured(value, "s") for name, value in parts.items()},
        ranks=tuple(_rank(i, steps, slower) for i in range(ranks)),
        series=(
            *(series for i in range(ranks) for series in (*_steps(i, steps, slower), *_gauges(i, duration_s))),
            _series("power_w", "W", duration_s, 1400),
            _series("memory_gib", "GiB", duration_s, 61),
        ),
        notes=(Note(text="GPU 0 was throttled in 3 of 400 readings: SwPowerCap", level="warning"),),
    )


def hostile(text):
    """A run in which each text that comes from outside is `text`."""
    run = on_gpus(ranks=1, steps=20)
    loader = Loader(name=text, role=text, dataset=text, batch_size=None, workers=1, limited_by=text, reason=text)
    figure = {text: measured(1.0, text, method=text, source=text, date=text)}
    rank = replace(
        run.ranks[0], device=text, loaders=(loader,), facts={"models": [text], "torch": text}, figures=figure
    )
    return replace(
        run,
        run=text,
        target=Target(command=("python", text), cwd=text),
        started=text,
        state=text,
        machine={"processor": text, "region": text, "instance": text, "gpus": [{"name": text}]},
        figures={**run.figures, **figure},
        parts={**run.parts, **figure},
        ranks=(rank,),
        series=(*run.series, Series(name=text, unit=text, at_s=(1.0, 2.0), values=(1.0, 2.0))),
        notes=(Note(text=text), Note(text=text, level="warning"), Note(text=f"money: {text}")),
    )


def all_figures(profile):
    """Every figure of a profile, wherever it lies in it."""
    found: list[Figure] = [*profile.figures.values(), *profile.parts.values()]
    for rank in profile.ranks:
        found += [*rank.figures.values(), *rank.split.values(), *rank.device_split.values()]
        found += [figure for loader in rank.loaders for figure in loader.figures.values()]
    return found


def _totals(duration_s, gpus):
    energy_j = 600.0 * gpus * duration_s
    figures = {
        "duration_s": measured(duration_s, "s"),
        "processor_s": measured(3.5 * duration_s, "s", method="user and system time of all processes of the job"),
        "memory_peak_bytes": measured(61 * 2.0**30, "B"),
        "energy_j": estimated(energy_j, "J", low=0.8 * energy_j, high=1.4 * energy_j, method="the sum of its parts"),
        "carbon_gco2e": estimated(
            energy_j / 9000, "gCO2e", low=energy_j / 20000, high=energy_j / 6000, method="energy x PUE x intensity"
        ),
        "cost_usd": looked_up(duration_s * 0.0273, "USD", source="the table of prices", date="2026-01-01"),
        "power_w": estimated(600.0 * gpus, "W", low=480.0 * gpus, high=840.0 * gpus, method="the sum of its parts"),
    }
    for i in range(gpus):
        figures[f"gpu{i}_energy_j"] = measured(450 * duration_s, "J", low=428 * duration_s, high=473 * duration_s)
        figures[f"gpu{i}_utilization_gpu"] = measured(91.0, "%", low=0.0, high=100.0, method="mean of NVML readings")
    return figures


def _rank(number, steps, slower):
    split = {f"{name}_s": measured(slower * s, "s/step", method="mean of 399 steps") for name, s in STEP.items()}
    step_s = slower * sum(STEP.values())
    figures = {
        "steps": measured(steps, "steps"),
        "step_s": measured(step_s, "s", low=0.9 * step_s, high=1.2 * step_s, method="median of 399"),
        "training_s": measured(slower * steps * sum(STEP.values()), "s"),
        "samples_per_s": measured(2400 / slower, "samples/s"),
        "flop_per_s": measured(3.1e14 / slower, "FLOP/s"),
        "share_of_peak": measured(0.47 / slower, "share"),
        "first_loss": measured(10.8, "loss"),
        "last_loss": measured(3.2, "loss"),
        "gpu_memory_peak_bytes": measured(58.3 * 2**30, "B"),
    }
    waits = {"wait_s": measured(0.004, "s/batch"), "batches": measured(steps, "batches")}
    return Rank(
        rank=number,
        pid=4000 + number,
        device=f"cuda:{number}",
        figures=figures,
        split=split,
        device_split={name: figure.scaled(0.93, "s/step") for name, figure in split.items()},
        loaders=(
            Loader(
                name="DataLoader 0",
                role="training",
                dataset="Photos",
                batch_size=256,
                workers=12,
                figures=waits,
                limited_by="not limiting",
                reason="the loop waits for it 3.7% of the time",
            ),
        ),
        facts={"models": ["GPT"], "parameters": 124_439_808, "compiled": True, "torch": "2.13.0", "python": "3.12.3"},
    )


def _steps(rank, steps, slower):
    lengths = [slower * (30 if i == 0 else 1 + 0.1 * math.sin(i / 7)) for i in range(steps)]
    at_s, now = [], 30.0
    for length in lengths:
        now += length * sum(STEP.values())
        at_s.append(now)
    columns = {"step_s": sum(STEP.values()), **{f"{name}_s": s for name, s in STEP.items()}}
    series = [
        Series(name=name, unit="s", at_s=tuple(at_s), values=tuple(s * each for each in lengths), rank=rank)
        for name, s in columns.items()
    ]
    losses = tuple(3 + 7.8 / (1 + i / 60) + 0.1 * math.sin(3 * i) for i in range(steps))
    return (*series, Series(name="loss", unit="loss", at_s=tuple(at_s), values=losses, rank=rank))


def _gauges(gpu, duration_s):
    means = {"utilization_gpu": ("%", 91), "sm_active": ("%", 78), "tensor_active": ("%", 41), "power_draw": ("W", 610)}
    return [_series(f"gpu{gpu}_{name}", unit, duration_s, mean) for name, (unit, mean) in means.items()]


def _series(name, unit, duration_s, mean):
    at_s = [float(s) for s in range(1, int(duration_s))]
    values = [mean * (0.05 if s < 30 else 1 + 0.04 * math.sin(s / 3)) for s in at_s]
    return Series(name=name, unit=unit, at_s=tuple(at_s), values=tuple(values))
