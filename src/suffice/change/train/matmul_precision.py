"""Products of float32 matrices by the faster units for fewer digits: tf32 on a GPU, bf16 on a processor that has it.

`torch.set_float32_matmul_precision`: "high" on a GPU, where 10 bits of each factor's mantissa count and sums stay in
float32; "medium" on a processor, where 7 do. Weights, gradients and everything else stay float32.

Not without such units (GPUs before compute capability 8.0, processors without avx512_bf16 or AMX): there it does
nothing. Not where the job sets it itself, or computes in half precision already. Losses that cancel digits (differences
of near values, ill-conditioned solvers) can suffer.

Practice: HPC, distributed training: use a lower precision where the result allows it
Source: torch.set_float32_matmul_precision; NVIDIA Ampere whitepaper for tf32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from suffice.records import Profile

RISK = "numeric"
CLOCK = "processor"
BLOCK = 1
WARM_UP = 1
PRACTICE = "HPC, distributed training: use a lower precision where the result allows it"

UNITS = frozenset(("avx512_bf16", "amx_bf16", "amx_tile", "bf16"))
TF32_CAPABILITY = (8, 0)
# What the call sets below the surface, and would leave as "ieee" where nothing had been set.
SETTINGS = (("cuda", "matmul"), ("mkldnn", "matmul"))


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """The setting for the device, if the job computes in float32 and left it alone."""
    rank = profile.ranks[0]
    if rank.facts.get("parameter_dtype", "float32") != "float32":
        return "the parameters are {}".format(rank.facts["parameter_dtype"])
    if rank.facts.get("precision", "float32") != "float32":
        return "most operations are in {} already".format(rank.facts["precision"])
    if rank.facts.get("matmul_precision", "highest") != "highest":
        return "the job has set it to {}".format(rank.facts["matmul_precision"])
    if rank.device.startswith("cuda"):
        return [{"precision": "high"}]
    flags = profile.machine.get("processor_flags")
    if flags is not None and not UNITS & set(flags):
        return "this processor has no units for bf16"
    return [{"precision": "medium"}]


def prepare(job: Any, settings: dict[str, Any]) -> MatmulPrecision:
    """The switch; refused where the units are missing, or the job has set it."""
    torch = job.torch
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError:
        job.refuse("the job sets the precision of its products by backend")
    if before != "highest":
        job.refuse("the job has set it to {}".format(before))
    if any(parameter.is_cuda for root in job.roots() for parameter in root.parameters()):
        if torch.version.cuda is None or torch.cuda.get_device_capability() < TF32_CAPABILITY:
            job.refuse("this GPU has no units for tf32")
    elif not UNITS & job.processor_flags:
        job.refuse("this processor has no units for bf16: it would change nothing")
    return MatmulPrecision(torch, settings["precision"])


class MatmulPrecision:
    """Switches the precision of the whole process."""

    def __init__(self, torch: Any, precision: str) -> None:
        self.torch = torch
        self.precision = precision
        self.below: dict[tuple[str, str], str] | None = None

    def on(self) -> None:
        """Between two steps."""
        if self.below is None:
            tell = getattr(self.torch._C, "_get_fp32_precision_getter", None)
            self.below = {} if tell is None else {setting: tell(*setting) for setting in SETTINGS}
        self.torch.set_float32_matmul_precision(self.precision)

    def off(self) -> None:
        """Between two steps."""
        if self.below is None:
            return
        self.torch.set_float32_matmul_precision("highest")
        for setting, value in self.below.items():
            self.torch._C._set_fp32_precision_setter(*setting, value)
        self.below = None
