"""The live modules and optimisers -> the modules whose calls are the forward pass, wrapped one by one.

A root is a module with parameters that an optimiser holds, and nobody's child. Where a root is never called itself
(Lightning calls `training_step`), its children take its place, level by level. A call is timed through the module's
`_compiled_call_impl`, which torch asks first in `__call__` and leaves out of copies and of saved files: a hook in the
module's own dictionaries would be pickled with it. Nothing of a wrapped module is kept alive.
"""

from __future__ import annotations

import gc
import sys
import weakref
from typing import TYPE_CHECKING

from .hooks import compiling_test

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Optional

    Begin = Callable[["RootCall", tuple[Any, ...], dict[str, Any]], Optional[bool]]
    End = Callable[[], None]

LIMIT = 64
LEVELS = 6


def find(torch: Any) -> tuple[list[Any], list[Any]]:
    """The root modules, and the optimisers found on the way."""
    module_type, optimiser_type = torch.nn.Module, torch.optim.Optimizer
    modules: list[Any]
    optimisers: list[Any]
    kinds: dict[type, int]
    modules, optimisers, kinds = [], [], {}
    for thing in gc.get_objects():
        kind = type(thing)
        known = kinds.get(kind)
        if known is None:
            bases = kind.__mro__
            known = kinds[kind] = 1 if module_type in bases else 2 if optimiser_type in bases else 0
        if known == 1:
            modules.append(thing)
        elif known == 2:
            optimisers.append(thing)
    held = {id(p) for o in optimisers for group in getattr(o, "param_groups", ()) for p in group["params"]}
    children = {id(c) for m in modules for c in m.__dict__.get("_modules", {}).values() if c is not None}
    roots = [m for m in modules if id(m) not in children and _owns(m, held)]
    # A wrapper such as Lightning's holds the very groups of the optimiser that it wraps, and derives from its class.
    once = {id(getattr(o, "param_groups", o)): o for o in sorted(optimisers, key=_derivation, reverse=True)}
    return roots[:LIMIT], [o for o in optimisers if once.get(id(getattr(o, "param_groups", o))) is o]


def _derivation(optimiser: Any) -> tuple[bool, int]:
    """Least for an optimiser that holds its groups itself and whose class is derived through the fewest others."""
    return "param_groups" not in vars(optimiser), len(type(optimiser).__mro__)


def _owns(module: Any, held: set[int]) -> bool:
    if "_modules" not in module.__dict__ or "_parameters" not in module.__dict__:
        return False  # made without Module.__init__
    parameters = module.parameters()
    return any(id(p) in held for p in parameters) if held else any(p.requires_grad for p in parameters)


def _caller() -> Any:
    """The module that is being called, or None if that can't be told.

    It is not always the one that was wrapped: a copy of its dictionary, such as a replica of `DataParallel`, holds
    the same `RootCall`.
    """
    frame = sys._getframe(2)
    return frame.f_locals.get("self") if frame.f_code.co_name == "_wrapped_call_impl" else None


class RootCall:
    """Stands in a module's `_compiled_call_impl` and marks each call; saved or copied it is None, torch's default."""

    __slots__ = ("__weakref__", "begin", "called", "end", "inner", "is_compiling", "module")

    def __init__(self, module: Any, begin: Begin, end: End, is_compiling: Callable[[], bool]) -> None:
        self.module = weakref.ref(module)
        self.inner: Callable[..., Any] | None = module.__dict__.get("_compiled_call_impl")
        self.begin = begin
        self.end = end
        self.is_compiling = is_compiling
        self.called = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        module = self.module()
        if self.is_compiling():
            return (self.inner or module._call_impl)(*args, **kwargs)  # type: ignore[union-attr]  # it is being called
        caller = _caller()
        if caller is not None and caller is not module:
            return caller._call_impl(*args, **kwargs)
        self.called = True
        begun = self.begin(self, args, kwargs)
        call = self.inner or module._call_impl  # type: ignore[union-attr]  # the same; `begin` may have put one in
        if not begun:
            return call(*args, **kwargs)
        try:
            return call(*args, **kwargs)
        finally:
            self.end()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()

    def took_part(self) -> bool:
        """Whether the latest backward pass reached the module."""
        module = self.module()
        return module is not None and any(p.grad is not None for p in module.parameters())

    def remove(self) -> None:
        module = self.module()
        if module is not None and module.__dict__.get("_compiled_call_impl") is self:
            if self.inner is None:
                del module.__dict__["_compiled_call_impl"]
            else:
                module.__dict__["_compiled_call_impl"] = self.inner


class Roots:
    """Finds and wraps the roots, and goes down a level where one is not called."""

    def __init__(self, torch: Any, begin: Begin, end: End) -> None:
        self.torch = torch
        self.marks = begin, end, compiling_test(torch)
        self.calls: list[RootCall] = []
        self.levels_left = LEVELS
        self.found = self.called_before = False
        self.optimisers_seen = False
        self.counting: weakref.ref[Any] | None = None

    def search(self, insist: bool) -> list[Any]:
        """Look for the roots, if `insist` even where there is no optimiser yet; returns the optimisers."""
        roots, optimisers = find(self.torch)
        self.optimisers_seen |= bool(optimisers)
        if optimisers or insist:
            self.found = True
            self.levels_left = LEVELS
            self.called_before = insist
            self._wrap(roots)
        return optimisers

    def settled(self) -> bool:
        """After a step: roots that took part uncalled give way to their children. True when nothing moves."""
        if not self.levels_left:
            return True
        if self.called_before:
            self.called_before = False  # they were found after the forward pass of this step
            return False
        idle = [c for c in self.calls if not c.called and c.took_part()]
        self.levels_left -= 1
        below = [child for call in idle for child in _children_with_parameters(call.module())]
        if not below or len(self.calls) + len(below) > LIMIT:
            self.levels_left = 0
            return True
        for call in idle:
            call.remove()
        self.calls = [c for c in self.calls if c not in idle]
        self._wrap(below)
        return False

    def _wrap(self, modules: Iterable[Any]) -> None:
        for module in modules:
            if hasattr(type(module), "_wrapped_call_impl"):
                call = RootCall(module, *self.marks)
                module.__dict__["_compiled_call_impl"] = call
                self.calls.append(call)

    def any_called(self) -> bool:
        return any(c.called for c in self.calls)

    def training(self) -> bool | None:
        """Whether any of them is in training mode; None where there is none."""
        modules = [m for m in (c.module() for c in self.calls) if m is not None]
        return any(m.training for m in modules) if modules else None

    def device_type(self) -> str | None:
        """The kind of device that the first parameter of the first root lies on, or None."""
        for call in self.calls:
            parameter = next(iter(call.module().parameters()), None) if call.module() is not None else None  # type: ignore[union-attr]
            if parameter is not None:
                return parameter.device.type  # type: ignore[no-any-return]
        return None

    def counts_samples(self, module: Any) -> bool:
        """Whether this is the module whose input tells a step's samples: the first that was ever asked about."""
        if self.counting is None or self.counting() is None:
            self.counting = weakref.ref(module)
        return self.counting() is module

    def remove(self) -> None:
        for call in self.calls:
            call.remove()
        self.calls = []
        self.found = False


def _children_with_parameters(module: Any) -> list[Any]:
    return [c for c in module.children() if next(iter(c.parameters()), None) is not None]
