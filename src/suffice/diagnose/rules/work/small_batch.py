"""A batch too small to fill the device -> a finding."""

from __future__ import annotations

from suffice.diagnose.practices import ACCELERATORS
from suffice.diagnose.view import View, bound_of, some, value_of
from suffice.records import Figure, Finding

FEW_UNITS = 50.0  # % of the multiprocessors busy
FULL = 0.70  # of the GPU's memory
SMALL, SHORT_S, FAR_BELOW = 8, 0.05, 0.10


def small_batch(view: View) -> Finding | None:
    """On a GPU its own multiprocessors tell; else few samples, a short step and a peak that is far away together."""
    filled = view.gpu_gauge("sm_active") if view.on_gpu else None
    if view.on_gpu and filled is not None:
        full = _memory_used(view)
        if filled.value >= FEW_UNITS or filled.value <= 0 or (full or 0.0) > FULL:
            return None
        memory = "its memory is not read" if full is None else f"{full:.0%} of its memory is taken"
        sentence = f"the GPU has work, but for {filled.value:.0f} % of its multiprocessors; {memory}"
        sentence += "; a larger batch would fill more"
        return _finding(view, sentence, filled.value / 100, {"sm_active": filled})
    batch = view.loader.batch_size if view.loader else None
    reached, step_s = value_of(view.rank.figures, "share_of_peak"), value_of(view.rank.figures, "step_s")
    if batch is None or reached is None or step_s is None:
        return None
    if batch > SMALL or step_s > SHORT_S or not 0 < reached < FAR_BELOW:
        return None
    sentence = f"batches of {batch} samples reach {reached:.1%} of this machine's peak: a step is mostly overhead"
    sentence += ", which a larger batch would spread"
    evidence = {name: view.rank.figures.get(name) for name in ("share_of_peak", "step_s", "samples_per_s")}
    return _finding(view, sentence, reached, evidence)


def _finding(view: View, sentence: str, reached: float, evidence: dict[str, Figure | None]) -> Finding:
    """Amdahl's bound: whatever is missing to a full device is what a larger batch could fill."""
    return Finding(
        id="small-batch",
        rung=4,
        sentence=sentence,
        evidence=some(evidence),
        bound=bound_of((1 - reached) * view.training_share),
        practice=ACCELERATORS,
        cures=("larger-batch",),
        confidence="a larger batch is another training: it needs your consent, and its own proof",
    )


def _memory_used(view: View) -> float | None:
    used = view.gpu_gauge("memory_used")
    sizes = [gpu.get("memory_total") for gpu in view.profile.machine.get("gpus", ())]
    known = [size for size in sizes if isinstance(size, int | float) and size > 0]
    return used.value / min(known) if used is not None and known else None
