"""A job of several ranks -> its `DistributedDataParallel` wrappers, and a new reducer for one of them.

A reducer holds the buckets in which gradients are exchanged, and can't be changed: it is built anew, as it is where a
wrapper is loaded from a file. That must happen on all ranks between the same two steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from suffice.records import Profile

WRAPPER = "DistributedDataParallel"
NEEDED = ("_build_params_for_reducer", "_build_debug_param_to_name_mapping", "_ddp_init_helper")


def nothing_exchanged(profile: Profile) -> str:
    """Why a profile shows no gradients that are exchanged by the wrapper; empty if it does."""
    facts = profile.ranks[0].facts
    if (facts.get("world_size") or 1) < 2:
        return "there is one rank"
    if WRAPPER not in (facts.get("models") or ()):
        return "no model is wrapped in DistributedDataParallel"
    return ""


def wrappers_of(job: Any) -> list[Any]:
    """The wrappers; refused where there are none, or ranks that train already could not change at the same step."""
    wrappers = [root for root in job.roots() if type(root).__name__ == WRAPPER]
    if not wrappers:
        job.refuse("no model is wrapped in DistributedDataParallel")
    begun = any(parameter.grad is not None for wrapper in wrappers for parameter in wrapper.parameters())
    begun |= any(optimiser.state for optimiser in job.optimisers())
    if begun and not job.together:
        job.refuse("the ranks train already, and could not change at the same step: put it into the plan of a run")
    return wrappers


def require_plain(job: Any, wrappers: list[Any]) -> None:
    """Refuse where the exchange is of a kind that a new reducer would lose."""
    for wrapper in wrappers:
        if not all(hasattr(wrapper, name) for name in NEEDED):
            job.refuse("torch {} can't build a reducer anew".format(job.torch.__version__))
        if getattr(wrapper, "_comm_hooks", None) or getattr(wrapper, "mixed_precision", None):
            job.refuse("a communication hook or mixed precision would be lost with the old reducer")
        if getattr(wrapper, "_delay_all_reduce_params", None) or getattr(wrapper, "_use_python_reducer", False):
            job.refuse("the wrapper exchanges gradients in a way of its own")


def rebuild(wrapper: Any) -> None:
    """A new reducer by what the wrapper's attributes say now; a static graph is told to it."""
    for parameter in wrapper.parameters():
        if parameter.grad is not None:  # it may be a view into the buffer that goes
            parameter.grad = parameter.grad.clone()
    static = wrapper.static_graph
    parameters, sparse = wrapper._build_params_for_reducer()
    names = wrapper._build_debug_param_to_name_mapping(parameters)
    wrapper._ddp_init_helper(parameters, sparse, names, static)
    if static:
        wrapper.static_graph = False  # `_set_static_graph` does nothing where it is set
        wrapper._set_static_graph()
