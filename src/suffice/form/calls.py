"""What a worker does with a form: open it, time it, have it answer samples; each is called by its name."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from suffice.form.backends import Session, open_form
from suffice.form.bundle import load
from suffice.form.description import Form
from suffice.form.samples import Batch, in_batches, of_size, read_samples

Kept = dict[str, Any]
ANSWER_BATCH = 32


def open_here(kept: Kept, folder: str, samples: str, *, threads: int) -> dict[str, Any]:
    """Open the form of a folder and answer once: the seconds of both, the most memory held, what the backend tells."""
    return _opened(kept, folder, samples, lambda: open_form(Path(folder), threads))


def open_bundle(kept: Kept, folder: str, samples: str, *, threads: int, trust: bool) -> dict[str, Any]:
    """The same of a bundle, once its files are those that were written; looking at them is part of the seconds."""
    return _opened(kept, folder, samples, lambda: load(folder, threads=threads, trust=trust).session)


def _opened(kept: Kept, folder: str, samples: str, opening: Callable[[], Session]) -> dict[str, Any]:
    begun_s = time.perf_counter()
    session = opening()
    loaded_s = time.perf_counter()
    batch = Form.read(Path(folder)).inputs[0].shape[0]
    kept["session"], kept["batch"] = session, batch if isinstance(batch, int) else None
    kept["samples"] = read_samples(Path(samples), "few")
    one = of_size(kept["samples"], kept["batch"] or 1)
    first_s = time.perf_counter()
    session(one.inputs)
    end_s = time.perf_counter()
    return {
        **session.facts(),
        "load_s": loaded_s - begun_s,
        "first_s": end_s - first_s,
        "memory_bytes": peak_bytes(kept),
    }


def time_calls(kept: Kept, size: int, seconds: float, *, fewest: int) -> dict[str, Any]:
    """Seconds of `calls` with `size` samples, one after the other for about so long, and `processor_s` of all of them.

    One call before them does not count.
    """
    session: Session = kept["session"]
    batch = of_size(kept["samples"], size)
    inputs = [np.ascontiguousarray(each) for each in batch.inputs]
    session(inputs)
    gc.disable()
    times: list[float] = []
    used_s, until_s = time.process_time(), time.perf_counter() + seconds
    while len(times) < fewest or time.perf_counter() < until_s:
        begun_s = time.perf_counter()
        session(inputs)
        times.append(time.perf_counter() - begun_s)
    gc.enable()
    return {"calls": times, "processor_s": time.process_time() - used_s}


def time_tokens(kept: Kept, most: int) -> dict[str, Any]:
    """Seconds of the `first_s` token after half of a sample, of `calls` for `most` further ones, and their processor's.

    The likeliest token is appended and all of it is given again: the forms keep no state between calls.
    """
    session: Session = kept["session"]
    (sample,) = of_size(kept["samples"], 1).inputs
    length = sample.shape[1]
    tokens = sample[:, : max(1, length // 2)]
    times: list[float] = []
    used_s = 0.0
    for _ in range(1 + max(1, min(most, length - tokens.shape[1] - 1))):
        begun_s, before_s = time.perf_counter(), time.process_time()
        logits = session([np.ascontiguousarray(tokens)])[0]
        times.append(time.perf_counter() - begun_s)
        used_s += (time.process_time() - before_s) * (len(times) > 1)
        tokens = np.concatenate([tokens, logits[:, -1:].argmax(-1).astype(tokens.dtype)], axis=1)
    return {"first_s": times[0], "calls": times[1:], "processor_s": used_s}


def peak_bytes(kept: Kept) -> int:  # noqa: ARG001 - a worker's functions share their first argument
    """The most memory that this process has held."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return psutil.Process().memory_info().rss


def answer(
    kept: Kept, samples: str, split: str, out: str, *, batch: int = ANSWER_BATCH, most: int | None = None
) -> None:
    """Write the outputs for a part of the samples to `out` (.npz, an array for each group and output).

    Outputs without an entry for each sample are left out. `most`: of each group the first ones only.
    """
    arrays: dict[str, Any] = {}
    for number, group in enumerate(read_samples(Path(samples), split)):
        found = answers(kept["session"], group.part(slice(most)), batch, fixed=kept["batch"])
        arrays |= {f"{number}.{place}": output for place, output in found.items()}
    np.savez(out, **arrays)


def write_sample(kept: Kept, out: str) -> None:
    """Write one sample, or as many as the form takes, and its answer."""
    one = of_size(kept["samples"], kept["batch"] or 1)
    found = kept["session"](one.inputs)
    inputs = {f"input{number}": each for number, each in enumerate(one.inputs)}
    np.savez(out, **inputs, **{f"output{number:03}": each for number, each in enumerate(found)})


def answers(session: Session, group: Batch, batch: int, *, fixed: int | None) -> dict[int, Any]:
    """The outputs for samples of equal shape, along axis 0; a form of a `fixed` batch has its last one filled up."""
    parts: dict[int, list[Any]] = {}
    for part in in_batches([group], fixed or batch):
        full = part if fixed is None else of_size([part], fixed)
        for place, output in enumerate(session([np.ascontiguousarray(x) for x in full.inputs])):
            if output.ndim and len(output) == len(full):
                parts.setdefault(place, []).append(output[: len(part)])
    return {place: np.concatenate(each) for place, each in parts.items()}
