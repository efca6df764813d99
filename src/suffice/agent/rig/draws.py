"""The dropout of a course -> the same draws, whatever type and layout a change has given to what is dropped from.

torch draws a mask in the order in memory, and in the type, of what it is applied to: with the channels last it is
another one, and on some processors in bf16 as well. That is as good a mask, but two courses could then not be compared
step by step. Here it is always drawn as the plain job draws it, in float32 and in the order of the indices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def steady_draws(torch: Any) -> None:
    """Replace `dropout` of torch.nn.functional, which the modules call, until the process ends."""
    functional = torch.nn.functional
    original, wide = functional.dropout, (torch.float32, torch.float64)

    def dropout(input, p=0.5, training=True, inplace=False):  # type: ignore[no-untyped-def]  # noqa: A002, ANN001, ANN202 - as torch has it
        if not training or (input.dtype in wide and input.is_contiguous()):
            return original(input, p, training, inplace)
        mask = original(torch.ones(input.shape, device=input.device), p, training, inplace)
        mask = torch.empty_like(input, requires_grad=False).copy_(mask)
        return input.mul_(mask) if inplace else input * mask

    # For TorchScript, which leaves a call of this to Python.
    dropout.__annotations__ = {
        "input": torch.Tensor,
        "p": float,
        "training": bool,
        "inplace": bool,
        "return": torch.Tensor,
    }
    functional.dropout = torch.jit.ignore(dropout)
