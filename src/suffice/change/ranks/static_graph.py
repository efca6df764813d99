"""The search for parameters without a gradient, spared by `static_graph` where the job looks and never finds one.

A job that says `find_unused_parameters` has the graph of each step walked through before the backward pass. With a
static graph that is done in the first step alone. Each `DistributedDataParallel` gets a new reducer.

Not with one rank, and not where nothing is searched for. Not where a parameter has no gradient now: a static graph
raises an error as soon as other parameters have none, so it is tried only on a job that trains and has them all. That
is no proof for a graph that changes later: so it is `semantic`, and needs consent. Not with a communication hook or the
wrapper's own mixed precision.

Practice: HPC, distributed training: tell the exchange what stays the same
Source: DistributedDataParallel, `static_graph` and `find_unused_parameters`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .exchange.wrappers import nothing_exchanged, rebuild, require_plain, wrappers_of

if TYPE_CHECKING:
    from typing import Any

    from suffice.records import Profile

RISK = "semantic"
CLOCK = "wall"
BLOCK = 8
WARM_UP = 2
PRACTICE = "HPC, distributed training: tell the exchange what stays the same"

NO_SEARCH = "the job does not search for parameters without a gradient"


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """One setting for ranks that search each step for parameters without a gradient."""
    without = nothing_exchanged(profile)
    if without:
        return without
    return [{}] if profile.ranks[0].facts.get("searches_unused") else NO_SEARCH


def prepare(job: Any, settings: dict[str, Any]) -> StaticGraph:  # noqa: ARG001 - there is nothing to set
    """The switch; refused where nothing is searched for, or the search finds something."""
    wrappers = wrappers_of(job)
    require_plain(job, wrappers)
    for wrapper in wrappers:
        if wrapper.static_graph:
            job.refuse("the job has it already")
        if not wrapper.find_unused_parameters:
            job.refuse(NO_SEARCH)
        learnt = [parameter for parameter in wrapper.parameters() if parameter.requires_grad]
        without = sum(parameter.grad is None for parameter in learnt)
        if 0 < without < len(learnt):
            job.refuse("{} of {} parameters have no gradient: the graph may change".format(without, len(learnt)))
    return StaticGraph(wrappers)


class StaticGraph:
    """Switches the kind of reducer; on every rank at the same step."""

    def __init__(self, wrappers: list[Any]) -> None:
        self.wrappers = wrappers

    def on(self) -> None:
        """Between two steps, on all ranks."""
        self._build(static=True)

    def off(self) -> None:
        """Between two steps, on all ranks."""
        self._build(static=False)

    def _build(self, *, static: bool) -> None:
        for wrapper in self.wrappers:
            if wrapper.static_graph != static:
                wrapper.static_graph = static
                wrapper.find_unused_parameters = not static
                rebuild(wrapper)
