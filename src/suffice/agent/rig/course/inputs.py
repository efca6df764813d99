"""The live roots -> a fingerprint of what they receive, step by step, and the moment before the first training forward.

Roots and what lies some levels below are wrapped (`RootCall`), because a root need not be called itself (Lightning's is
not). Of calls within each other the outermost counts, and nothing stays wrapped below a module that is called: there
`torch.compile` may look.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from ...hooks import compiling_test
from ...roots import LIMIT, RootCall, find
from .fingerprints import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Guard = Callable[[Callable[..., Any]], Callable[..., Any]]

LEVELS = 3
LOOKS = 2


class Inputs:
    """What the roots received since the last `take`.

    `before_first`, which others may set, and `at_first` are called once, before the first training forward.
    """

    def __init__(self, torch: Any, guard: Guard, at_first: Callable[[], None]) -> None:
        self.torch = torch
        self.marks = guard(self._begins), guard(self._ends), compiling_test(torch)
        self.at_first = at_first
        self.before_first: Callable[[], None] = lambda: None
        self.begun = False
        self.depth = 0
        self.looks_left = LOOKS
        self.received: list[str] = []
        self.calls: list[RootCall] = []
        self.called: list[weakref.ref[Any]] = []

    def look(self) -> None:
        """Wrap the roots that there are now, and those again whose wrapper somebody has replaced."""
        if self.depth:
            return  # what is being called may change itself, but not its marks
        roots, optimisers = find(self.torch)
        if not optimisers:
            return
        known = {id(module) for module in self._called()}
        wanted = [m for root in roots for m in _with_descendants(root, 0 if id(root) in known else LEVELS)]
        ours = {id(call.module()) for call in self.calls if _in_place(call)}
        for module in wanted[:LIMIT]:
            if id(module) not in ours and hasattr(type(module), "_wrapped_call_impl"):
                ours.add(id(module))
                call = RootCall(module, *self.marks)
                module.__dict__["_compiled_call_impl"] = call
                self.calls.append(call)

    def look_after_step(self) -> None:
        """As `look`, which takes long: in the first steps, and where a wrapper was replaced."""
        self.looks_left -= 1
        if self.looks_left >= 0 or not all(_in_place(call) for call in self.calls if call.module() is not None):
            self.calls = [call for call in self.calls if _in_place(call)]
            self.look()

    def roots(self) -> list[Any]:
        """The roots, those that were called first come first: an order that is the same in every course."""
        found = find(self.torch)[0]
        place = {id(module): index for index, module in enumerate(self._called())}
        last = len(place)

        def order(root: Any) -> tuple[int, str, int]:
            first = min((place.get(id(module), last) for module in root.modules()), default=last)
            return first, type(root).__name__, sum(p.numel() for p in root.parameters())

        return sorted(found, key=order)

    def take(self) -> str:
        """A fingerprint of what was received since the last time; empty if nothing was seen."""
        received, self.received = self.received, []
        self.depth = 0
        if len(received) == 1:
            return received[0]
        return fingerprint(self.torch, received) if received else ""

    def remove(self) -> None:
        """Take every wrapper away, unless in the middle of a call."""
        if not self.depth:
            for call in self.calls:
                call.remove()
            self.calls = []

    def _called(self) -> list[Any]:
        return [module for module in (ref() for ref in self.called) if module is not None]

    def _begins(self, call: RootCall, args: Any, kwargs: Any) -> bool:
        if not self.torch.is_grad_enabled():
            return False
        self.depth += 1
        if self.depth == 1:
            module = call.module()
            if all(module is not each for each in self._called()):
                self.called.append(weakref.ref(module))
                self._unwrap_below(module)
            if not self.begun:
                self.begun = True
                self.before_first()
                self.at_first()
            self.received.append(fingerprint(self.torch, (args, kwargs)))
        return True

    def _ends(self) -> None:
        self.depth = max(0, self.depth - 1)

    def _unwrap_below(self, module: Any) -> None:
        below = {id(m) for m in module.modules() if m is not module}
        for call in [c for c in self.calls if id(c.module()) in below]:
            call.remove()
            self.calls.remove(call)


def _in_place(call: RootCall) -> bool:
    module = call.module()
    return module is not None and module.__dict__.get("_compiled_call_impl") is call


def _with_descendants(module: Any, levels: int) -> Iterator[Any]:
    yield module
    if levels:
        for child in module.children():
            if next(iter(child.parameters()), None) is not None:
                for each in _with_descendants(child, levels - 1):
                    yield each
