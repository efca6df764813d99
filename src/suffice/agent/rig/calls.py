"""Modules -> their calls with something around them, put in and taken out at a step's boundary.

Like `roots.RootCall`, what is around a call stands in the module's `_compiled_call_impl`, which torch asks first and
leaves out of copies and of saved files. Several stand there in a chain by `inner`, the agent's own marks outermost.
"""

from __future__ import annotations

import sys
import threading
import weakref
from typing import TYPE_CHECKING

from ..hooks import compiling_test
from ..roots import RootCall, _caller

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterable
    from typing import Any

    # (module, call, args, kwargs) -> what the module returns; `call` is the call without what is around it
    Manner = Callable[[Any, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


class Around:
    """Stands in one module's `_compiled_call_impl`; saved or copied it is None, torch's default."""

    __slots__ = ("__weakref__", "called", "calls", "inner", "module")

    def __init__(self, calls: Calls, module: Any) -> None:
        self.calls = calls
        self.module = weakref.ref(module)
        self.inner: Callable[..., Any] | None = None
        self.called = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        module: Any = self.module()
        calls = self.calls
        if calls.is_compiling():
            return (self.inner or module._call_impl)(*args, **kwargs)
        called = _caller()
        if called is not None and called is not module:  # a copy of its dictionary, such as `DataParallel` makes
            return called._call_impl(*args, **kwargs)
        if not calls.enters(self, module):
            return (self.inner or module._call_impl)(*args, **kwargs)
        try:
            return calls.manner(module, self.inner or module._call_impl, args, kwargs)
        finally:
            calls.thread = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()


class Calls:
    """What stands around the calls of some modules; of calls within each other only the outermost has it.

    A root need not be called itself (Lightning calls `training_step`). So what lies below the given modules is taken
    as well, and let go where something above it turns out to be called.
    """

    def __init__(self, torch: Any, modules: Iterable[Any], manner: Manner, innermost: bool) -> None:
        self.manner = manner
        self.innermost = innermost
        self.is_compiling = compiling_test(torch)
        self.thread: int | None = None
        self.begun_within = False
        below = {id(m): m for module in modules for m in module.modules()}
        self.arounds = [Around(self, m) for m in below.values() if hasattr(type(m), "_wrapped_call_impl")]

    def on(self) -> None:
        """Put it in; calling it again changes nothing."""
        self.begun_within = _within_a_call()
        for around in self.arounds:
            _take_out(around)
            _put_in(around, self.innermost)

    def off(self) -> None:
        """Take it out."""
        for around in self.arounds:
            _take_out(around)

    def called(self) -> list[Any]:
        """The modules whose calls were the outermost so far."""
        modules = (around.module() for around in self.arounds if around.called)
        return [module for module in modules if module is not None]

    def enters(self, around: Around, module: Any) -> bool:
        """Whether this call is the outermost; if so, it is until `thread` is None again."""
        thread = threading.get_ident()
        if self.thread == thread:
            return False
        if self.begun_within:  # it was put in while a root was being called: that one call passes without it
            if _within_a_call():
                return False
            self.begun_within = False
        if not around.called:
            around.called = True
            self._let_go_below(module)
        self.thread = thread
        return True

    def _let_go_below(self, module: Any) -> None:
        below = {id(m) for m in module.modules() if m is not module}
        for around in self.arounds:
            if id(around.module()) in below:
                _take_out(around)
        self.arounds = [around for around in self.arounds if id(around.module()) not in below]


def _put_in(around: Around, innermost: bool) -> None:
    """Below the agent's marks; the innermost also below what other changes have put in."""
    module = around.module()
    if module is None:
        return
    passed = (RootCall, Around) if innermost else RootCall
    above, below = None, module.__dict__.get("_compiled_call_impl")
    while isinstance(below, passed):
        above, below = below, below.inner
    around.inner = below
    if above is None:
        module.__dict__["_compiled_call_impl"] = around
    else:
        above.inner = around


def _take_out(around: Around) -> None:
    module = around.module()
    if module is None:
        return
    above, here = None, module.__dict__.get("_compiled_call_impl")
    while here is not around and isinstance(here, (RootCall, Around)):
        above, here = here, here.inner
    if here is not around:
        return  # somebody else's took the whole chain's place
    if above is not None:
        above.inner = around.inner
    elif around.inner is not None:
        module.__dict__["_compiled_call_impl"] = around.inner
    else:
        del module.__dict__["_compiled_call_impl"]
    around.inner = None


def _within_a_call() -> bool:
    """Whether some module is being called in this thread."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "_call_impl":
            return True
        frame = frame.f_back
    return False
