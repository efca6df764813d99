"""A device, a precision and a number of threads in; the fastest matrix product of this machine out, in FLOP/s.

A program of its own, run by suffice with the job's Python while the job does not run:
`python peak.py DEVICE PRECISION THREADS MATMUL_PRECISION`, e.g. `cpu float32 2 highest`. It prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

SECONDS = 1.0
SIZES = {"cpu": (256, 512, 1024, 2048), "cuda": (1024, 4096, 8192)}


def best_rate(torch: Any, device: str, dtype: Any) -> float:
    """FLOP/s of the best of a few square sizes, tried for `SECONDS` in all; the fastest repetition counts.

    The fastest, because whatever else runs on the machine can only slow a product down. A size that would take longer
    than the time that is left is passed over: a precision that a processor emulates is a hundred times slower.
    """
    best = 0.0
    sizes = SIZES["cuda" if device.startswith("cuda") else "cpu"]
    until = time.perf_counter() + SECONDS
    for at, n in enumerate(sizes):
        left = until - time.perf_counter()
        if best and 2 * n**3 / best > left / 2:
            break
        a, b = (torch.randn(n, n, device=device, dtype=torch.float32).to(dtype) for _ in range(2))
        share_ends = time.perf_counter() + left / (len(sizes) - at)
        best = max(best, 2 * n**3 / _seconds(torch, device, a, b))
        while time.perf_counter() < share_ends:
            best = max(best, 2 * n**3 / _seconds(torch, device, a, b))
    return best


def _seconds(torch: Any, device: str, a: Any, b: Any) -> float:
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(10 if on_gpu else 1):
        torch.mm(a, b)
    if on_gpu:
        torch.cuda.synchronize()
    return (time.perf_counter() - begun) / (10 if on_gpu else 1)


def main(device: str, precision: str, threads: str, matmul_precision: str) -> None:
    import torch

    torch.set_num_threads(int(threads))
    torch.set_float32_matmul_precision(matmul_precision)
    rate = best_rate(torch, device, getattr(torch, precision))
    sys.stdout.write(json.dumps({"flop_per_s": rate, "torch": str(torch.__version__)}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:5])
