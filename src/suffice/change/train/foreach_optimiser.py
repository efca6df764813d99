"""The optimiser's update by lists of tensors at once, in place of Python's walk from tensor to tensor.

`foreach` is set in the groups of each optimiser of which that gives the same bits, for the length of the step alone:
what the job reads, saves or loads stays as it made it.

Not on a GPU, where torch does so by itself; not for optimisers whose rounding it changes (ASGD, Adafactor, NAdam and
RAdam, found by trying); not where gradients are sparse, or where the lists would not fit into memory. It pays where
there are many small tensors; where the fused step does, that one gains more.

Practice: SUS03-BP03: mend the parts of the program that take most of the time
Source: torch.optim, `foreach`. Bitwise equal over 80 steps on a processor (torch 2.13); measured from 0.99 to 1.09.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from suffice.records import Profile

RISK = "exact"
CLOCK = "processor"
BLOCK = 1
WARM_UP = 0
PRACTICE = "SUS03-BP03: mend the parts of the program that take most of the time"

KINDS = ("Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "RMSprop", "Rprop", "SGD")
MATTERS = 0.01
COPIES = 3  # of the parameters, that an update keeps at once


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """One setting, if an optimiser takes it on a processor and has a share of the step that matters."""
    rank = profile.ranks[0]
    if rank.device.startswith("cuda"):
        return "on a GPU torch updates by lists of tensors by itself"
    names = [str(name) for name in rank.facts.get("optimisers") or ()]
    if names and not any(name in KINDS for name in names):
        return "updating by lists rounds otherwise, or can't be done, in " + " and ".join(names)
    total_s = sum(part.value for part in rank.split.values())
    if "optimiser_s" in rank.split and rank.split["optimiser_s"].value < MATTERS * total_s:
        return "the optimiser is less than 1 % of a step"
    return [{}]


def prepare(job: Any, settings: dict[str, Any]) -> ForeachOptimiser:  # noqa: ARG001 - techniques share one signature
    """The switch for all optimisers that can; refused with the reasons where none can."""
    optimisers = job.optimisers()
    reasons = {id(each): _unable(job, each) for each in optimisers}
    able = [each for each in optimisers if reasons[id(each)] is None]
    if not able:
        told = [reason for reason in reasons.values() if reason]
        job.refuse("; ".join(dict.fromkeys(told)) or "there is no optimiser")
    return ForeachOptimiser(job, able)


class ForeachOptimiser:
    """Switches the steps by lists."""

    def __init__(self, job: Any, optimisers: list[Any]) -> None:
        self.optimisers = optimisers
        self.stepping = job.stepping(optimisers, {"foreach": True}, lambda _: True)

    def on(self) -> None:
        """Between two steps."""
        self.stepping.on()

    def off(self) -> None:
        """Between two steps."""
        self.stepping.off()

    def facts(self) -> dict[str, Any]:
        """Which optimisers, and how many steps were made by lists."""
        names = ", ".join(type(each).__name__ for each in self.optimisers)
        return {"optimisers": names, "steps": self.stepping.steps}


def _unable(job: Any, optimiser: Any) -> str | None:
    torch, name, groups = job.torch, type(optimiser).__name__, optimiser.param_groups
    if name not in KINDS or not getattr(type(optimiser).step, "__module__", "").startswith("torch.optim."):
        return "updating by lists rounds otherwise, or can't be done, in {}".format(name)
    parameters = [parameter for group in groups for parameter in group["params"]]
    needed = COPIES * sum(parameter.numel() * parameter.element_size() for parameter in parameters)
    full = (torch.float32, torch.float64)
    against = {
        "updates by lists or fused already": any(g.get("foreach") or g.get("fused") for g in groups),
        "is updated by a fused kernel by now": job.steps_with(optimiser, "fused"),
        "is capturable or differentiable": any(g.get("capturable") or g.get("differentiable") for g in groups),
        "has a tensor for its learning rate": any(isinstance(group.get("lr"), torch.Tensor) for group in groups),
        "is on a GPU, where torch updates by lists by itself": any(p.device.type != "cpu" for p in parameters),
        "holds parameters that are neither float32 nor float64": any(p.dtype not in full for p in parameters),
        "gets sparse gradients": _sparse(job, parameters),
        "needs {:.1f} GB for its lists, more than is free".format(needed / 1e9): needed > job.memory_bytes,
    }
    reason = next((reason for reason, holds in against.items() if holds), None)
    return None if reason is None else "{} {}".format(name, reason)


def _sparse(job: Any, parameters: list[Any]) -> bool:
    if any(p.grad is not None and p.grad.layout is not job.torch.strided for p in parameters):
        return True
    return any(getattr(module, "sparse", False) is True for root in job.roots() for module in root.modules())
