"""The training calls of the roots through `torch.compile`, in place of one operation after the other.

What is compiled is the module's own call, found as late as its first call; evaluation runs uncompiled, which spares a
compilation. The compiler's cache lies in the job's scratch folder unless the job has chosen one: with it a second run
compiles ten times as fast.

Not where a run is too short to earn back some 10 to 60 s of compiling, where the job compiles already, without a
compiler for C++ (or Triton on a GPU), with several ranks, or where the model is nothing but an LSTM, of which torch
makes no graph. Dropout draws other numbers in compiled code, but for courses that are compared. torch 2.13 was seen to
compile zero gradients for plain convolutions on a processor: nothing but a comparison of gradients finds it.

Practice: SUS03-BP03: mend the parts of the program that take most of the time
Source: torch.compile; measured on a processor: 1.07 to 1.10 as fast a step, 33 to 40 s of processor time to compile.
"""

from __future__ import annotations

import os
import shutil
import sys
import types
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from suffice.records import Profile

RISK = "numeric"
CLOCK = "processor"
BLOCK = 1
WARM_UP = 3
PRACTICE = "SUS03-BP03: mend the parts of the program that take most of the time"

CACHE = "TORCHINDUCTOR_CACHE_DIR"
NAME = "compiled_call_of_"
COMPILERS = ("g++", "clang++")


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """One setting; whether a run is long enough to earn it back is weighed by who knows its length."""
    facts = profile.ranks[0].facts
    if facts.get("compiled"):
        return "the job compiles already"
    if (facts.get("world_size") or 1) > 1:
        return "compiling with several ranks has not been tried"
    return [{}]


def prepare(job: Any, settings: dict[str, Any]) -> Compile:  # noqa: ARG001 - techniques share one signature
    """The switch; refused where torch can't compile here, or the job does."""
    torch, roots = job.torch, job.roots()
    if not hasattr(torch, "compile") or not hasattr(torch.nn.Module, "_wrapped_call_impl"):
        job.refuse("torch {} can't compile a module in place".format(torch.__version__))
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        job.refuse("compiling with several ranks has not been tried")
    if any(hasattr(m, "_orig_mod") or _compiled_in_place(m) for root in roots for m in root.modules()):
        job.refuse("the job compiles already")
    if any(isinstance(root, torch.jit.ScriptModule) for root in roots):
        job.refuse("the model is compiled by TorchScript")
    if not roots:
        job.refuse("there is no model")
    if any(parameter.is_cuda for root in roots for parameter in root.parameters()):
        if not _importable("triton"):
            job.refuse("there is no Triton, which compiles for a GPU")
    elif shutil.which(os.environ.get("CXX", "")) is None and not any(shutil.which(name) for name in COMPILERS):
        job.refuse("there is no compiler for C++ (g++)")
    dynamo = _compiler(job)
    if dynamo.counters["stats"]["unique_graphs"] and not _metrics(dynamo):
        job.refuse("the job compiles already")
    return Compile(job, dynamo)


class Compile:
    """Switches compiled calls; a module that can't be compiled is called as before."""

    def __init__(self, job: Any, dynamo: Any) -> None:
        self.torch = job.torch
        self.dynamo = dynamo
        self.cache = os.path.join(job.scratch, "inductor")
        self.early = getattr(_module("torch._functorch.config"), "force_non_lazy_backward_lowering", None)
        self.options = {"fallback_random": True} if job.same_draws else None
        self.calls = job.calls(job.roots(), self._call, innermost=True)
        self.compiled: dict[int, Callable[..., Any] | None] = {}
        self.faults: list[str] = []
        self.before = self._counts()

    def on(self) -> None:
        """Between two steps."""
        os.environ.setdefault(CACHE, self.cache)
        self._compile_backward_early(wanted=True)
        self.calls.on()

    def off(self) -> None:
        """Between two steps."""
        self.calls.off()
        self._compile_backward_early(wanted=self.early)
        if os.environ.get(CACHE) == self.cache:
            del os.environ[CACHE]

    def facts(self) -> dict[str, Any]:
        """Graphs, their breaks, compilations anew, seconds of compiling, and what could not be compiled."""
        now = self._counts()
        told: dict[str, Any] = {name: round(now[name] - self.before[name], 3) for name in now}
        told["recompiles"] = sum(1 for each in _metrics(self.dynamo) if getattr(each, "recompile_reason", None))
        if self.compiled and not told["graphs"]:
            told["fault"] = "nothing was compiled: torch found no graph in the model"
        if self.faults:
            told["fault"] = self.faults[0]
        return told

    def _compile_backward_early(self, *, wanted: bool | None) -> None:
        """Together with the forward pass: what fails there can be caught, but not in the job's own backward pass."""
        if self.early is not None:
            _module("torch._functorch.config").force_non_lazy_backward_lowering = wanted

    def _call(self, module: Any, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if not self.torch.is_grad_enabled():
            return call(*args, **kwargs)
        key = id(module)
        if key not in self.compiled:
            self.compiled[key] = self._compile(module)
        compiled = self.compiled[key]
        if compiled is None:
            return call(*args, **kwargs)
        try:
            return compiled(*args, **kwargs)
        # Where the job has made errors of warnings, the compiler's are not the job's.
        except (sys.modules["torch._dynamo.exc"].TorchDynamoException, Warning) as error:
            self.compiled[key] = None
            self.faults.append("{}: {}".format(type(error).__name__, str(error).strip().splitlines()[0]))
        return call(*args, **kwargs)

    def _compile(self, module: Any) -> Callable[..., Any]:
        def call_of_module(*args: Any, **kwargs: Any) -> Any:
            return module._call_impl(*args, **kwargs)

        # A code object of its own: torch counts and limits compilations by it, and has been told to leave ours alone.
        code = call_of_module.__code__.replace(co_name=NAME + type(module).__name__)
        function = types.FunctionType(code, globals(), code.co_name, None, call_of_module.__closure__)
        return self.torch.compile(function, options=self.options)  # type: ignore[no-any-return]  # a callable

    def _counts(self) -> dict[str, float]:
        spent: dict[str, float] = getattr(self.dynamo, "calculate_time_spent", dict)()
        return {
            "graphs": self.dynamo.counters["stats"]["unique_graphs"],
            "breaks": sum(self.dynamo.counters["graph_break"].values()),
            "compile_s": spent.get("total_wall_time", 0.0),
        }


def _metrics(dynamo: Any) -> list[Any]:
    """What torch tells of each compilation of ours, of the latest ones."""
    tell = getattr(dynamo, "get_compilation_metrics", list)
    return [each for each in tell() if str(getattr(each, "co_name", "")).startswith(NAME)]


def _compiled_in_place(module: Any) -> bool:
    """Whether something stands in for its call that is not of ours."""
    here = module.__dict__.get("_compiled_call_impl")
    while hasattr(here, "inner"):
        here = here.inner
    return here is not None


def _importable(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def _compiler(job: Any) -> Any:
    """`torch._dynamo.utils`, once all that compiling needs has been imported, with the warnings that this gives."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            job.torch.compile(lambda: None)
            return _module("torch._dynamo.utils")
    except Exception as error:  # a Python that is too new, a broken installation
        return job.refuse("torch can't compile here: {}".format(error))


def _module(name: str) -> Any:
    from importlib import import_module

    return import_module(name)
