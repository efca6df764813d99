"""The optimiser's update in one fused kernel, in place of one kernel for each operation on each tensor.

`fused` is set in the groups of each optimiser that has such a step, for the length of the step alone: what the job
reads, saves or loads stays as it made it. Sums are rounded in another order.

Not where the update is a trifle of a step, where a GradScaler stands between gradients and update, where gradients are
sparse, or where a group is `capturable` or `differentiable`. On a processor torch's fused kernels walk through memory
and take it for granted that weights, gradients and state lie in one order: where they do not, the result is wrong
without a word (torch 2.13), so such a step is made as before.

Practice: SUS03-BP03: mend the parts of the program that take most of the time
Source: torch.optim, `fused`. Measured on a processor: AdamW 1.17, an LSTM's AdamW 1.11, SGD 1.06 times as fast a step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from suffice.records import Profile

RISK = "numeric"
CLOCK = "processor"
BLOCK = 1
WARM_UP = 0
PRACTICE = "SUS03-BP03: mend the parts of the program that take most of the time"

KINDS = ("Adagrad", "Adam", "AdamW", "SGD")
MATTERS = 0.01


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """One setting, if an optimiser has a fused step and a step's share that could be told from noise."""
    rank = profile.ranks[0]
    names = [str(name) for name in rank.facts.get("optimisers") or ()]
    if names and not any(name in KINDS for name in names):
        return "torch has no fused step for " + " and ".join(names)
    split = rank.device_split or rank.split
    total_s = sum(part.value for part in split.values())
    if "optimiser_s" in split and split["optimiser_s"].value < MATTERS * total_s:
        return "the optimiser is less than 1 % of a step"
    return [{}]


def prepare(job: Any, settings: dict[str, Any]) -> FusedOptimiser:  # noqa: ARG001 - techniques share one signature
    """The switch for all optimisers that can; refused with the reasons where none can."""
    if job.scalers():
        job.refuse("a GradScaler is at work, which has its own way into a fused step")
    if job.torch.get_default_dtype() == job.torch.float64:
        job.refuse("the default type is float64, in which the state counts its steps; a fused step counts in float32")
    optimisers = job.optimisers()
    reasons = {id(each): _unable(job, each) for each in optimisers}
    able = [each for each in optimisers if reasons[id(each)] is None]
    if not able:
        told = [reason for reason in reasons.values() if reason]
        job.refuse("; ".join(dict.fromkeys(told)) or "there is no optimiser")
    return FusedOptimiser(job, able)


class FusedOptimiser:
    """Switches the fused steps."""

    def __init__(self, job: Any, optimisers: list[Any]) -> None:
        self.torch = job.torch
        self.optimisers = optimisers
        self.stepping = job.stepping(optimisers, {"fused": True, "foreach": False}, self._alike)

    def on(self) -> None:
        """Between two steps."""
        for optimiser in self.optimisers:
            _move_counts(optimiser, on_gpu=True)
        self.stepping.on()

    def off(self) -> None:
        """Between two steps."""
        self.stepping.off()
        for optimiser in self.optimisers:
            _move_counts(optimiser, on_gpu=False)

    def facts(self) -> dict[str, Any]:
        """Which optimisers, and how many steps were fused or, for their layout, were not."""
        names = ", ".join(type(each).__name__ for each in self.optimisers)
        return {"optimisers": names, "steps": self.stepping.steps, "steps_unlike": self.stepping.passed}

    def _alike(self, optimiser: Any) -> bool:
        """Whether all that a fused kernel walks through lies in one order."""
        strided = self.torch.strided
        for group in optimiser.param_groups:
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is None or parameter.is_cuda:
                    continue
                if gradient.layout is not strided:
                    return False
                if gradient.is_contiguous() and parameter.is_contiguous():
                    continue
                if not _one_order(self.torch, optimiser, parameter):
                    return False
        return True


def _one_order(torch: Any, optimiser: Any, parameter: Any) -> bool:
    """Whether weight, gradient and state lie in one order and without gaps."""
    strides = _strides(parameter)
    if sum((size - 1) * stride for size, stride in strides) + 1 != parameter.numel():
        return False
    held = [parameter.grad, *optimiser.state.get(parameter, {}).values()]
    return all(
        each.layout is torch.strided and _strides(each) == strides
        for each in held
        if isinstance(each, torch.Tensor) and each.shape == parameter.shape
    )


def _strides(tensor: Any) -> list[tuple[int, int]]:
    """Of an axis of length 1 the stride says nothing."""
    return [(size, stride) for size, stride in zip(tensor.shape, tensor.stride()) if size > 1]


def _move_counts(optimiser: Any, *, on_gpu: bool) -> None:
    """On a GPU a fused step wants its count of steps there, any other wants it on the host."""
    for parameter, state in optimiser.state.items():
        count = state.get("step")
        if getattr(parameter, "is_cuda", False) and hasattr(count, "is_cuda") and count.is_cuda != on_gpu:
            state["step"] = count.to(parameter.device) if on_gpu else count.cpu()


def _unable(job: Any, optimiser: Any) -> str | None:
    torch, name, groups = job.torch, type(optimiser).__name__, optimiser.param_groups
    if not getattr(type(optimiser).step, "__module__", "").startswith("torch.optim.") or "fused" not in groups[0]:
        return "{} has no fused step".format(name)
    parameters = [parameter for group in groups for parameter in group["params"]]
    on_host = [parameter for parameter in parameters if parameter.device.type == "cpu"]
    elsewhere = sorted({parameter.device.type for parameter in parameters} - set(_devices()))
    full = (torch.float32, torch.float64)
    against = {
        "is fused already": any(group.get("fused") for group in groups),
        "is capturable or differentiable": any(g.get("capturable") or g.get("differentiable") for g in groups),
        "has a tensor for its learning rate": any(isinstance(group.get("lr"), torch.Tensor) for group in groups),
        "has parameters on {}, where this torch has no fused step".format(" and ".join(elsewhere)): elsewhere,
        "holds parameters of a type that no fused step takes": any(p.dtype not in full for p in on_host)
        or not all(parameter.is_floating_point() for parameter in parameters),
        "gets sparse gradients": _sparse(job, parameters),
    }
    reason = next((reason for reason, holds in against.items() if holds), None)
    if reason is None and not all(_one_order(torch, optimiser, parameter) for parameter in on_host):
        reason = "keeps its state in another order in memory than the weights, or these have gaps"
    return None if reason is None else "{} {}".format(name, reason)


def _devices() -> list[str]:
    """Where this torch has fused steps; processors came with 2.4."""
    from importlib import import_module

    tell = getattr(import_module("torch.utils._foreach_utils"), "_get_fused_kernels_supported_devices", None)
    return ["cuda"] if tell is None else list(tell())


def _sparse(job: Any, parameters: list[Any]) -> bool:
    if any(p.grad is not None and p.grad.layout is not job.torch.strided for p in parameters):
        return True
    return any(getattr(module, "sparse", False) is True for root in job.roots() for module in root.modules())
