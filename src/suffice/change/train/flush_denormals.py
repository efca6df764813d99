"""Numbers below 1.2e-38 taken for zero, which the processor computes with at full speed; with others it is slow.

`torch.set_flush_denormal`, in every thread of torch's arithmetic: the setting belongs to a thread, so those of OpenMP
that wait for work are let go, and the new ones inherit it.

Not where the loss takes a logarithm of, or divides by, what may be so small: it turns from a large number into none.
Not on a GPU. It pays where means of vanished gradients fade away (Adam's state of units that died, rows of an embedding
that are hardly used); in most jobs there are none, and then it is refused once the optimiser's state can tell.

Practice: SUS03-BP03: mend the parts of the program that take most of the time
Source: torch.set_flush_denormal; Intel 64 optimization manual, "Flush-to-Zero and Denormals-are-Zero modes".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from suffice.records import Profile

RISK = "numeric"
CLOCK = "processor"
BLOCK = 2
WARM_UP = 1
PRACTICE = "SUS03-BP03: mend the parts of the program that take most of the time"

OPENMP = ("libgomp", "libiomp", "libomp")
LET_GO = 2  # omp_pause_hard
TINY = 1e-39
ELEMENTS = 1 << 26  # are looked at, at the most


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """One setting on a processor; whether there is anything to flush, the live job tells."""
    rank = profile.ranks[0]
    if rank.device.startswith("cuda"):
        return "a GPU computes with such numbers at full speed"
    if rank.facts.get("parameter_dtype", "float32") != "float32":
        return "the parameters are {}, of which none are so small".format(rank.facts["parameter_dtype"])
    return [{}]


def prepare(job: Any, settings: dict[str, Any]) -> FlushDenormals:  # noqa: ARG001 - techniques share one signature
    """The switch; refused where the job does it, the processor can't, or there is nothing to flush."""
    torch = job.torch
    if not _kept(torch):
        job.refuse("the job has set it")
    state = [t for o in job.optimisers() for s in o.state.values() for t in s.values() if isinstance(t, torch.Tensor)]
    weights = [parameter for root in job.roots() for parameter in root.parameters()]
    if any(tensor.is_cuda for tensor in weights):
        job.refuse("a GPU computes with such numbers at full speed")
    if state and not any(_denormal(torch, tensor) for tensor in _bounded([*state, *weights])):
        job.refuse("there is no such number in the weights, nor in the optimiser's state")
    switch = FlushDenormals(torch, _openmp())
    supported = torch.set_flush_denormal(True)
    torch.set_flush_denormal(False)
    if not supported:
        job.refuse("this processor can't")
    if torch.get_num_threads() > 1 and switch.openmp is None:
        job.refuse("the threads of torch's arithmetic can't be reached here")
    return switch


class FlushDenormals:
    """Switches it in all threads."""

    def __init__(self, torch: Any, openmp: Any) -> None:
        self.torch = torch
        self.openmp = openmp
        self.switched = False

    def on(self) -> None:
        """Between two steps."""
        self._switch(wanted=True)

    def off(self) -> None:
        """Between two steps."""
        self._switch(wanted=False)

    def _switch(self, *, wanted: bool) -> None:
        if wanted == self.switched:
            return
        self.torch.set_flush_denormal(wanted)
        if self.openmp is not None:
            self.openmp.omp_pause_resource_all(LET_GO)
        self.switched = wanted


def _kept(torch: Any) -> bool:
    """Whether such a number survives in this thread."""
    return bool((torch.tensor([TINY]) * 1.0).item())


def _denormal(torch: Any, tensor: Any) -> bool:
    if tensor.dtype != torch.float32 or tensor.layout is not torch.strided:
        return False
    sizes = tensor.detach().abs()
    return bool(((sizes > 0) & (sizes < torch.finfo(torch.float32).tiny)).any())


def _bounded(tensors: list[Any]) -> list[Any]:
    """As many of them, from the first, as can be looked at in a moment."""
    chosen, left = [], ELEMENTS
    for tensor in tensors:
        left -= tensor.numel()
        if left < 0:
            break
        chosen.append(tensor)
    return chosen


def _openmp() -> Any:
    """The library of OpenMP that torch came with or has found; None where there is none, or an old one."""
    import ctypes

    try:
        with open("/proc/self/maps") as lines:
            paths = {line.split(maxsplit=5)[5].strip() for line in lines if any(name in line for name in OPENMP)}
        ours = sorted(paths, key=lambda path: "torch" not in path)
        library = ctypes.CDLL(ours[0])
        return library if hasattr(library, "omp_pause_resource_all") else None
    except (OSError, IndexError):
        return None
