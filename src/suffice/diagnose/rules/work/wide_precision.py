"""Arithmetic in float32 where the device has faster units for less -> a finding that says what tells."""

from __future__ import annotations

from suffice.diagnose.practices import PRECISION
from suffice.diagnose.view import View, bound_of, some
from suffice.records import Finding
from suffice.tables import recognise_gpu

MATTERS = 0.30
# Names of the tables of devices. NVIDIA: compute capability 8.0 and later has bf16 and tf32 units, 7.0 and 7.5 fp16
# alone (CUDA C++ Programming Guide, table of arithmetic types). Processors: AMX from Sapphire Rapids on, AVX-512 BF16
# from Zen 4 on, Arm's BF16 extension from Neoverse V1 and N2 on (the makers' manuals).
FP16_ALONE = ("V100", "T4", "Quadro RTX 8000", "TITAN RTX", "RTX 2080 Ti")
NEITHER = ("P100", "P40", "P4", "K80", "M60", "GTX")
NOT_TF32 = ("MI300X",)
BF16_PROCESSORS = (
    "Sapphire Rapids",
    "Emerald Rapids",
    "Granite Rapids",
    "EPYC 4th generation",
    "EPYC 5th generation",
    "Neoverse N2",
    "Neoverse V1",
    "Neoverse V2",
    "Neoverse V3",
)
# What the kernel calls such units; a hypervisor may hide them.
BF16_FLAGS = frozenset(("avx512_bf16", "amx_bf16", "amx_tile", "bf16"))


def wide_precision(view: View) -> Finding | None:
    """Most operations in float32, on a device that is known to have the units; unknown devices are passed over."""
    share = view.loop_share("forward_s", "backward_s")
    if view.rank.facts.get("precision") != "float32" or share is None or share < MATTERS:
        return None
    found = _on_gpu(view) if view.on_gpu else _on_processor(view)
    if found is None:
        return None
    tells, cures = found
    return Finding(
        id="wide-precision",
        rung=4,
        sentence=f"forward and backward, {share:.0%} of the loop, compute in float32, and {tells}",
        evidence=some(
            {
                **{name: view.split.get(name) for name in ("forward_s", "backward_s")},
                **{name: view.rank.figures.get(name) for name in ("flop_per_s", "share_of_peak")},
            }
        ),
        bound=bound_of(share),
        practice=PRECISION,
        cures=cures,
        confidence=None
        if view.on_gpu or view.profile.machine.get("processor_flags") is not None
        else "a hypervisor may hide the units: its flags are not in the profile, and emulated bf16 is slower",
    )


def _on_gpu(view: View) -> tuple[str, tuple[str, ...]] | None:
    gpu = recognise_gpu(str(view.rank.facts.get("device_name") or ""))
    if gpu is None or gpu.name.startswith(NEITHER):
        return None
    if gpu.name.startswith(FP16_ALONE):
        return f"{gpu.name} has units for fp16, none for bf16", ("mixed-precision",)
    if view.rank.facts.get("matmul_precision") == "highest" and not gpu.name.startswith(NOT_TF32):
        return f"{gpu.name} has units for bf16 and tf32, both left alone", ("mixed-precision", "matmul-precision")
    return f"{gpu.name} has units for bf16", ("mixed-precision",)


def _on_processor(view: View) -> tuple[str, tuple[str, ...]] | None:
    name, flags = (view.profile.machine.get(each) for each in ("processor", "processor_flags"))
    has_units = name in BF16_PROCESSORS if flags is None else bool(BF16_FLAGS & set(flags))
    return (
        (f"{name or 'the processor'} has units for bf16", ("mixed-precision", "matmul-precision"))
        if has_units
        else None
    )
