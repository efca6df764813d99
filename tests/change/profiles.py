"""Profiles of made-up jobs, as techniques are asked about them."""

from typing import Any

from suffice.records import Profile, Rank, Series, Target, measured

FACTS = {
    "world_size": 1,
    "models": ["Net"],
    "parameter_dtype": "float32",
    "intra_op_threads": 2,
    "matmul_precision": "highest",
    "optimisers": ["AdamW"],
    "compiled": False,
    "precision": "float32",
}
MACHINE = {"processors": 4, "processors_allowed": 4.0, "memory_gib": 16.0, "memory_limit_gib": 16.0}
SPLIT = {"wait_for_data": 0.01, "forward": 0.04, "backward": 0.05, "optimiser": 0.02}


def profile(
    *,
    device: str = "cpu",
    ranks: int = 1,
    split: dict[str, float] | None = None,
    peak_gib: float | None = None,
    kernel_share: float | None = None,
    pressures: dict[str, float] | None = None,
    machine: dict[str, Any] | None = None,
    **facts: Any,
) -> Profile:
    """A job on a processor that trains a network with AdamW, with what is planted in it."""
    told = {name: fact for name, fact in {**FACTS, "world_size": ranks, **facts}.items() if fact is not None}
    times = {f"{name}_s": measured(value, "s/step") for name, value in (split or SPLIT).items()}
    figures = {} if kernel_share is None else {"kernel_share": measured(kernel_share, "share")}
    series = [
        Series(name=f"pressure_{name}", unit="share", at_s=(1.0, 2.0, 3.0), values=(value,) * 3)
        for name, value in (pressures or {}).items()
    ]
    return Profile(
        run="made",
        target=Target(command=("python", "train.py"), cwd="/home/user"),
        started="2026-01-01T00:00:00+00:00",
        ended="2026-01-01T00:01:00+00:00",
        exit_code=0,
        state="finished",
        machine={**MACHINE, **(machine or {})},
        figures={} if peak_gib is None else {"memory_peak_bytes": measured(peak_gib * 2**30, "B")},
        ranks=tuple(
            Rank(rank=n, pid=100 + n, device=device, split=times, facts=told, figures=figures) for n in range(ranks)
        ),
        series=tuple(series),
    )


EVERY_KIND = {
    "processor": profile(),
    "gpu": profile(device="cuda:0", device_name="NVIDIA H100 80GB HBM3"),
    "ranks": profile(ranks=2, models=["DistributedDataParallel"]),
    "half": profile(parameter_dtype="bfloat16", precision="bfloat16"),
    "autocast": profile(autocast="bfloat16"),
    "compiled": profile(compiled=True, matmul_precision="high"),
    "crowded": profile(intra_op_threads=16, pressures={"cpu": 0.6}),
    "full": profile(peak_gib=15.5, pressures={"memory": 0.3}),
    "without a part": profile(split={"other": 0.1}),
    "hardly known": profile(
        machine={"processors_allowed": None, "memory_limit_gib": None},
        **dict.fromkeys(FACTS),
    ),
}
