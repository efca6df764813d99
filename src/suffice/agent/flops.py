"""One step's forward and backward passes -> the operations of their matrix products and convolutions, by precision.

The formulas are torch's own (`torch.utils.flop_counter`). Its `FlopCounterMode` is not used as it is: its hooks on all
modules would be seen by `torch.compile`, and a formula that fails would fail the job. The mode below runs each
operation first and counts it afterwards. It is entered around the model's call and around `backward`, so it nests
within whatever the job does. A compiled job is not counted: under any such mode torch would run it uncompiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType
    from typing import Any

    Count = Callable[[Any, tuple[Any, ...], dict[str, Any], Any], None]
    Formulas = dict[Any, Callable[..., Any]]

SAMPLED_STEPS = (3, 30)


class FlopSampler:
    """Counts in the first steps at or after those of `SAMPLED_STEPS`; `refused` says why it does not, if so."""

    def __init__(self, torch: Any, modules: Mapping[str, ModuleType]) -> None:
        self.torch = torch
        self.modules = modules
        self.mode: Any = None
        self.window: int | None = None
        self.next_at: int | None = SAMPLED_STEPS[0]
        self.registry: Formulas | None = None
        self.refused: str | None = None
        self.by_dtype: dict[str, int] = {}

    def enter(self, step: int) -> bool:
        """Begin to count if this step is one of the sampled; True if so."""
        begun = self.window is not None
        if self.mode is not None or self.next_at is None or (step != self.window if begun else step < self.next_at):
            return False
        self.refused = self._refusal()
        if self.refused:
            self.next_at = None
            return False
        self.window = step
        if self.registry is None:
            self.registry = _registry(self.torch)
        mode = _counting_mode(self._count)
        mode.__enter__()
        self.mode = mode
        return True

    def leave(self) -> None:
        mode, self.mode = self.mode, None
        if mode is not None:
            mode.__exit__(None, None, None)

    def take(self) -> dict[str, int]:
        """The operations since the last call, by precision; empty where none were counted or a formula failed."""
        taken, self.by_dtype = self.by_dtype, {}
        self.next_at = next((s for s in SAMPLED_STEPS if self.window is not None and s > self.window), None)
        self.window = None
        return {} if self.refused else taken

    def _refusal(self) -> str | None:
        if self.torch._C._len_torch_dispatch_stack() > 0:
            return "the job uses a dispatch mode of its own"
        dynamo = self.modules.get("torch._dynamo.utils")
        if dynamo is not None and dynamo.counters["stats"]["unique_graphs"]:
            return "the job is compiled; counting would run it uncompiled"
        return None

    def _count(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        formula = self.registry.get(getattr(func, "_overloadpacket", func))  # type: ignore[union-attr]  # `enter` made it
        if formula is None:
            return
        try:
            operations = int(formula(*args, **kwargs, out_val=result))
        except Exception as error:
            self.refused = "torch's formula for {} failed: {}".format(func, error)
            return
        results = result if isinstance(result, (list, tuple)) else (result,)
        dtype = next((r.dtype for r in results if r is not None and hasattr(r, "dtype")), "unknown")
        precision = str(dtype).replace("torch.", "")
        self.by_dtype[precision] = self.by_dtype.get(precision, 0) + operations


def _registry(torch: Any) -> Formulas:
    from torch.utils.flop_counter import flop_registry

    aten = torch.ops.aten
    # torch 2.13 has no formula for the processor's own attention kernels; the shapes are those of the GPU's.
    twins = (
        ("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention"),
        ("_scaled_dot_product_flash_attention_for_cpu_backward", "_scaled_dot_product_flash_attention_backward"),
    )
    registry = dict(flop_registry)
    for ours, twin in twins:
        if hasattr(aten, ours) and getattr(aten, twin, None) in registry:
            registry.setdefault(getattr(aten, ours), registry[getattr(aten, twin)])
    return registry


def _counting_mode(count: Count) -> Any:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counting(TorchDispatchMode):  # type: ignore[misc]  # torch is Any
        supports_higher_order_operators = True

        def __torch_dispatch__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            kwargs = kwargs or {}
            result = func(*args, **kwargs)
            count(func, args, kwargs, result)
            return result

    return Counting()
