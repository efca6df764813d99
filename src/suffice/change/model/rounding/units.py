"""A processor's flags and a model -> what few bits can gain there, and why they are not tried."""

from __future__ import annotations

from suffice.measure.model.subject import Subject

FAST_UNITS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
FEWEST_SAMPLES = 20
LEAST_BYTES = 4 << 20


def gain_of_8_bits(flags: frozenset[str]) -> float:
    """Measured up to 4.7 with units for it; two multiplications in one without."""
    return 5.0 if flags & FAST_UNITS else 2.5


def too_few_to_calibrate(subject: Subject) -> str:
    """Why the samples are too few; empty if they are not."""
    count = subject.samples.get("calibrate", 0)
    return "" if count >= FEWEST_SAMPLES else f"calibration needs {FEWEST_SAMPLES} samples, and there are {count}"


def nothing_to_read(subject: Subject) -> str:
    """Why there is nothing to gain by weights of few bytes; empty if there is."""
    layers = {kind: count for kind, count in (subject.layers or {}).items() if "Norm" not in kind}
    convolutions = sum(count for kind, count in layers.items() if "Conv" in kind)
    if 2 * convolutions > sum(layers.values()) and not subject.by_size:
        return "most of its layers are convolutions, whose weights are unpacked when it is opened"
    if subject.by_size or subject.weight_bytes >= LEAST_BYTES:
        return ""
    return f"its weights of {subject.weight_bytes / 2**20:.1f} MiB stay in the processor's caches"
