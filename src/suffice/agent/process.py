"""The process that the agent rides in -> facts about it: Python, torch, rank, optimisers, memory at the end."""

from __future__ import annotations

import os
import platform
import sys
import time
import types
from typing import TYPE_CHECKING

from .spool import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from .roots import Roots
    from .spool import Spool


def describe(torch: Any) -> dict[str, Any]:
    """What is known once torch has been imported."""
    return {
        "protocol": VERSION,
        "pid": os.getpid(),
        "parent": os.getppid(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "torch": str(torch.__version__),
        "wall_clock": time.time(),
        "program": os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else "",
    }


def facts(torch: Any, roots: Roots) -> dict[str, Any]:
    """What is known once a step has been made."""
    number, world = rank(torch)
    modules = [m for m in (c.module() for c in roots.calls) if m is not None]
    parameters = {id(p): p for m in modules for p in m.parameters()}
    first = next(iter(parameters.values()), None)
    return {
        "rank": number,
        "world_size": world,
        "models": [type(m).__name__ for m in modules],
        "parameters": sum(p.numel() for p in parameters.values()),
        "parameter_dtype": None if first is None else str(first.dtype).replace("torch.", ""),
        "device": "unknown" if first is None else str(first.device),
        "device_name": _device_name(torch, first),
        "intra_op_threads": torch.get_num_threads(),
        "compiled": "torch._dynamo" in sys.modules and compiled_graphs() > 0,
        "matmul_precision": torch.get_float32_matmul_precision(),
        "searches_unused": any(getattr(m, "find_unused_parameters", False) for m in modules),
        "processor_times": os.times()[:2],
    }


def at_end(torch: Any, on_gpu: bool) -> dict[str, Any]:
    """What is known when the process ends."""
    told = {"compiled": compiled_graphs() > 0, "processor_times": os.times()[:2]}
    if not on_gpu:
        return told
    return {
        **told,
        "gpu_memory_peak_bytes": torch.cuda.max_memory_allocated(),
        "gpu_memory_reserved_bytes": torch.cuda.max_memory_reserved(),
    }


def name_optimiser(spool: Spool, optimiser: Any) -> None:
    """Tell which optimiser it is, and how its step is done."""
    group = optimiser.param_groups[0] if optimiser.param_groups else {}
    modes = {name: group[name] for name in ("fused", "foreach") if isinstance(group.get(name), bool)}
    tensors = sum(len(g["params"]) for g in optimiser.param_groups)
    spool.message("optimiser", name=type(optimiser).__name__, tensors=tensors, **modes)


def has_optimiser(torch: Any) -> bool:
    """Whether any optimiser has been made in this process: torch marks the class of each that is."""
    kinds = [torch.optim.Optimizer]
    while kinds:
        kind = kinds.pop()
        if getattr(getattr(kind, "step", None), "hooked", False):
            return True
        kinds.extend(kind.__subclasses__())
    return False


def rank(torch: Any) -> tuple[int, int]:
    """The number of this process among those that train together, and how many they are."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    try:
        return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    except ValueError:
        return 0, 1


def _device_name(torch: Any, parameter: Any) -> str | None:
    if parameter is not None and parameter.device.type == "cuda":
        return torch.cuda.get_device_name(parameter.device)  # type: ignore[no-any-return]
    return None


def compiled_graphs() -> int:
    """How many graphs dynamo has compiled; it is never imported for the question."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return 0 if dynamo is None else dynamo.counters["stats"]["unique_graphs"]


def keep_from_dynamo(torch: Any, package: str | None) -> None:
    """Tell `torch.compile` to run our own functions as they are, should it ever meet one."""
    skip = _skipper(getattr(getattr(torch._C, "_dynamo", None), "eval_frame", None))
    if skip is None:
        return
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == package:
            for code in _codes(vars(module).values(), module.__name__):
                skip(code)


def _skipper(eval_frame: Any) -> Callable[[types.CodeType], Any] | None:
    """How this torch is told: what a frame of the code calls is still compiled. `torch._dynamo` need not be loaded."""
    strategy = getattr(eval_frame, "_FrameExecStrategy", None)
    if strategy is None:
        return getattr(eval_frame, "skip_code", None)
    action = eval_frame._FrameAction
    passed_by = strategy(action.SKIP, action.DEFAULT)
    return lambda code: eval_frame.set_code_exec_strategy(code, passed_by)


def _codes(things: Iterable[Any], module_name: str) -> Iterator[types.CodeType]:
    for thing in list(things):
        if isinstance(thing, type) and thing.__module__ == module_name:
            for code in _codes(vars(thing).values(), module_name):
                yield code
        elif isinstance(thing, types.FunctionType):
            for code in _nested(thing.__code__):
                yield code
            if thing.__closure__:
                cells = [c.cell_contents for c in thing.__closure__]
                for code in _codes([c for c in cells if isinstance(c, types.FunctionType)], module_name):
                    yield code


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            for inner in _nested(constant):
                yield inner


def at_worker_exit(finish: Callable[[], None]) -> None:
    """A forked child of `multiprocessing` leaves without `atexit`, through its own finalizers."""
    util = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if util is not None and process is not None and process.parent_process() is not None:
        util.Finalize(None, finish, exitpriority=0)
