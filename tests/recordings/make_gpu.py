"""Round numbers -> the folder of a run on a GPU, as `suffice measure --record` writes it: made by hand, not recorded.

`python tests/recordings/make_gpu.py` writes `gpu_made_by_hand`; the tests write variants, in which `change` alters the
readings of GPU 0 of a sample, given its second.
"""

import json
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent / "gpu_made_by_hand"
PID, BEGUN_S, LENGTH_S, LOOP_S = 4000, 1000, 20, 5
STEPS, STEP_MS = 140, 100
# Milliseconds of a step by phase, in the order of `agent.phases.NAMES`: of the host, and on the GPU's stream.
HOST_MS = (10, 5, 30, 45, 8, 2, 0, 0, 0)
STREAM_MS = (2, 6, 32, 50, 9, 1, 0, 0, 0)
WATTS_BEFORE, WATTS = 100, 300
ENERGY_J = WATTS_BEFORE * LOOP_S + WATTS * (LENGTH_S - LOOP_S)
THROTTLED_AT = (9, 10, 11)
COUNTER_BEGAN_J = 123_456.0
NAME = "NVIDIA H100 80GB HBM3"
GIB = 1 << 30


def write(folder: Path, change: Callable[[int, dict], dict] = lambda _, reading: reading) -> Path:
    """Write the run's folder; `change` may return another reading for GPU 0."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "run.json", _beginning())
    _write_json(folder / "ended.json", _end())
    _write_lines(folder / f"{PID}-1.jsonl", _agent())
    _write_lines(folder / "samples.jsonl", _samples(change))
    return folder


def _beginning() -> dict:
    machine = {
        "hostname": "made-by-hand",
        "kernel": "6.8.0",
        "processors": 16,
        "processors_allowed": 16.0,
        "memory_gib": 128.0,
        "memory_limit_gib": 128.0,
        "cpuinfo": "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 143\nmodel name\t: Intel(R) Xeon(R) 8488C",
    }
    return {
        "run": "20260102-030405-a1b2",
        "target": {"command": ["python", "train.py"], "cwd": "/home/me"},
        "goal": {"use_instance_metadata": False, "region": "eu-north-1"},
        "machine": machine,
        "place": {"region": "eu-north-1", "reason": "the goal names eu-north-1", "instance": None, "life_cycle": None},
        "wall_clock": 1_767_323_045.0,
        "monotonic_s": float(BEGUN_S),
    }


def _end() -> dict:
    return {
        "exit_code": 0,
        "begun_s": float(BEGUN_S),
        "ended_s": float(BEGUN_S + LENGTH_S),
        "processor_s": 30.0,
        "peak_memory_bytes": 4 * GIB,
        "read_bytes": 1_000_000,
        "written_bytes": 2_000_000,
        "interrupted": False,
        "wall_clock": 1_767_323_065.0,
    }


def _agent() -> list[dict]:
    loop_ns = (BEGUN_S + LOOP_S) * 10**9
    step_ns = STEP_MS * 10**6
    host, stream = ([ms * 10**6 for ms in column] for column in (HOST_MS, STREAM_MS))
    rows = [[i, 1, loop_ns + (i + 1) * step_ns, 90 * 10**6, 32, 0, 0, *host] for i in range(STEPS)]
    facts = {"rank": 0, "world_size": 1, "models": ["Net"], "device": "cuda:0", "device_name": NAME}
    facts |= {"parameters": 1000, "intra_op_threads": 8, "matmul_precision": "highest", "compiled": False}
    loader = {"number": 0, "role": "training", "loader": "DataLoader", "dataset": "Photos", "batch_size": 32}
    loader |= {"workers": 4, "fetches": STEPS, "wait_ns": STEPS * host[0], "first_wait_ns": host[0]}
    return [
        {"kind": "process", "at": loop_ns - 10**9, "protocol": 1, "pid": PID, "python": "3.12.3", "torch": "2.9.0"},
        {"kind": "loop", "begun_ns": loop_ns},
        {"kind": "optimiser", "name": "AdamW"},
        {"kind": "facts", **facts},
        {"kind": "step", "rows": rows},
        {"kind": "device", "rows": [[i, *stream] for i in range(STEPS)]},
        {"kind": "loss", "rows": [[i, 4.0 / (1 + i), 1] for i in range(STEPS)]},
        {"kind": "loader", **loader},
        {"kind": "tail", "end_ns": loop_ns + STEPS * step_ns, "totals": [0] * len(HOST_MS)},
        {"kind": "end", "gpu_memory_peak_bytes": 3 * GIB, "own_ns_per_step": 200_000},
    ]


def _samples(change: Callable[[int, dict], dict]) -> list[dict]:
    """A reading a second; the last one when the job has ended, so that no process is left and the GPU idles."""
    lines = [{"format": 1, "begun_s": float(BEGUN_S), "unavailable": {"rapl": "made by hand: there is none"}}]
    for second in range(LENGTH_S + 1):
        ended = second == LENGTH_S
        job = {"processor_s": 1.5 * second, "read_bytes": 50_000.0 * second, "written_bytes": 100_000.0 * second}
        job |= {"memory_bytes": 0.0 if ended else 2.0 * GIB, "pids": [] if ended else [PID]}
        job |= {"processes": 0 if ended else 1, "machine_busy_s": 5000 + 2.0 * second}
        gpus = [change(second, _reading(second)), _idle_reading()]
        lines.append({"at_s": float(BEGUN_S + second), "job": job, "gpus": gpus})
    return [*lines, {"failures": {}}]


def _reading(second: int) -> dict:
    busy = LOOP_S <= second < LENGTH_S
    joules = WATTS_BEFORE * min(second, LOOP_S) + WATTS * max(0, second - LOOP_S)
    reasons = ["SwPowerCap"] if second in THROTTLED_AT else [] if busy else ["GpuIdle"]
    return {
        "index": 0,
        "name": NAME,
        "uuid": "GPU-made-by-hand-0",
        "utilization_gpu": 90.0 if busy else 0.0,
        "utilization_memory": 40.0 if busy else 0.0,
        "memory_total": 81559.0,
        "memory_used": 5000.0 if busy else 1000.0,
        "memory_free": 76559.0 if busy else 80559.0,
        "power_draw": float(WATTS if busy else WATTS_BEFORE),
        "power_limit": 700.0,
        "energy_j": COUNTER_BEGAN_J + joules,
        "temperature_gpu": 60.0 if busy else 30.0,
        "clocks_current_graphics": 1500.0 if second in THROTTLED_AT else 1980.0,
        "clocks_current_sm": 1500.0 if second in THROTTLED_AT else 1980.0,
        "clocks_current_memory": 2619.0,
        "throttle_reasons": reasons,
        "pids": [PID] if busy else [],
    }


def _idle_reading() -> dict:
    idle = {"index": 1, "uuid": "GPU-made-by-hand-1", "pids": [], "energy_j": 999.0, "throttle_reasons": ["GpuIdle"]}
    return {**_reading(0), **idle}


def _write_json(path: Path, data: dict) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n")


def _write_lines(path: Path, messages: list[dict]) -> None:
    path.write_text("".join(json.dumps(message, separators=(",", ":")) + "\n" for message in messages))


if __name__ == "__main__":
    write(HERE)
