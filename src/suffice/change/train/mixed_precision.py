"""The forward pass of the roots in bf16 where that is safe, as `torch.autocast` knows; weights stay float32.

What a root returns comes back in the type that it had, whatever tuples, dictionaries or dataclasses it comes in: the
loss, which most jobs compute outside of the model, is computed in float32 as before.

Not without units for bf16, where it is emulated and 2 to 3 times slower (processors without avx512_bf16 or AMX, GPUs
before compute capability 8.0; those have fp16, which needs a GradScaler in the job's own loop). Not where the job has
autocast or other types already. Not for losses within the model that need float32, which its numbers will show.
Dropout may draw other masks in bf16, but for courses that are compared.

Practice: HPC, distributed training: use a lower precision where the result allows it
Source: torch.autocast; Micikevicius et al., "Mixed Precision Training"; the slow-down by emulation was measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from suffice.records import Profile

RISK = "numeric"
CLOCK = "processor"
BLOCK = 1
WARM_UP = 1
PRACTICE = "HPC, distributed training: use a lower precision where the result allows it"

UNITS = frozenset(("avx512_bf16", "amx_bf16", "amx_tile", "bf16"))
CAPABILITY = (8, 0)


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """One setting, if the job computes in float32 and nothing says that there are no units for bf16."""
    rank = profile.ranks[0]
    if rank.facts.get("autocast"):
        return "the job has autocast already"
    if rank.facts.get("parameter_dtype", "float32") != "float32":
        return "the parameters are {}".format(rank.facts["parameter_dtype"])
    if rank.facts.get("precision", "float32") != "float32":
        return "most operations are in {} already".format(rank.facts["precision"])
    flags = profile.machine.get("processor_flags")
    if not rank.device.startswith("cuda") and flags is not None and not UNITS & set(flags):
        return "this processor has no units for bf16, which it would have to emulate"
    return [{}]


def prepare(job: Any, settings: dict[str, Any]) -> MixedPrecision:  # noqa: ARG001 - techniques share one signature
    """The switch; refused where the units are missing, or the job chooses its types itself."""
    torch, roots = job.torch, job.roots()
    parameters = [parameter for root in roots for parameter in root.parameters()]
    if not parameters:
        job.refuse("there is no model")
    if any(parameter.is_floating_point() and parameter.dtype != torch.float32 for parameter in parameters):
        job.refuse("there are parameters of another type than float32")
    if job.scalers():
        job.refuse("the job scales its losses for float16")
    device = parameters[0].device.type
    if device not in ("cpu", "cuda"):
        job.refuse("it is not known which units there are on {}".format(device))
    if _autocast_is_on(torch, device):
        job.refuse("the job has autocast already")
    if device == "cpu" and not UNITS & job.processor_flags:
        job.refuse("this processor has no units for bf16, which it would have to emulate")
    if device == "cuda" and torch.version.cuda is not None and torch.cuda.get_device_capability() < CAPABILITY:
        job.refuse("this GPU has units for fp16 alone, which needs a GradScaler in the training loop")
    return MixedPrecision(job, device)


class MixedPrecision:
    """Switches autocast around the outermost calls."""

    def __init__(self, job: Any, device: str) -> None:
        self.job = job
        self.torch = job.torch
        self.device = device
        self.switch = job.calls(job.roots(), self._call)
        self.calls = self.calls_of_job = 0

    def on(self) -> None:
        """Between two steps."""
        self.switch.on()

    def off(self) -> None:
        """Between two steps."""
        self.switch.off()

    def facts(self) -> dict[str, Any]:
        """How many calls were made in bf16, and how many passed because the job had autocast there itself."""
        return {"calls": self.calls, "calls_in_autocast_of_job": self.calls_of_job}

    def _call(self, module: Any, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:  # noqa: ARG002 - as all
        if _autocast_is_on(self.torch, self.device):
            self.calls_of_job += 1
            return call(*args, **kwargs)
        self.calls += 1
        with self.torch.autocast(self.device, dtype=self.torch.bfloat16):
            result = call(*args, **kwargs)
        return self._in_float32(result, (args, kwargs))

    def _in_float32(self, result: Any, received: Any) -> Any:
        """Without autocast all that is computed is float32; what was handed through stays as it was."""
        half = self.torch.bfloat16
        given: set[int] = set()

        def seen(tensor: Any) -> Any:
            if tensor.dtype == half:
                given.add(id(tensor))
            return tensor

        def widened(tensor: Any) -> Any:
            return tensor if tensor.dtype != half or id(tensor) in given else tensor.float()

        self.job.each_tensor(seen, received)
        return self.job.each_tensor(widened, result)


def _autocast_is_on(torch: Any, device: str) -> bool:
    try:
        return bool(torch.is_autocast_enabled(device))
    except TypeError:  # torch before 2.4
        return bool(torch.is_autocast_cpu_enabled() if device == "cpu" else torch.is_autocast_enabled())
