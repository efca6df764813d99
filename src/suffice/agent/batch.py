"""A batch as the loader or the model's caller made it -> how many samples and tokens it holds, by shape alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Optional

    Size = tuple[int, int, Optional[str]]

LOOK_AT = 24


def _tensors(torch: Any, batch: Any) -> Iterator[Any]:
    """The tensors of a nested batch, breadth first, among its first `LOOK_AT` parts."""
    queue = [batch]
    looked_at = 0
    while queue and looked_at < LOOK_AT:
        looked_at += 1
        part = queue.pop(0)
        if isinstance(part, torch.Tensor):
            yield part
        elif isinstance(part, Mapping):
            queue.extend(part.values())
        elif isinstance(part, (list, tuple)):
            queue.extend(part[:LOOK_AT])


def size(torch: Any, batch: Any) -> Size:
    """(samples, tokens, device): the first tensor's first axis, its elements if they are tokens, its kind of device.

    Tokens are an integer tensor of two axes that comes first in its batch: (sequences, length). All is 0, or None,
    where the batch holds no tensor.
    """
    if type(batch) in (list, tuple) and batch and type(batch[0]) is torch.Tensor:
        batch = batch[0]  # as most are
    for tensor in (batch,) if type(batch) is torch.Tensor else _tensors(torch, batch):
        shape = tensor.shape
        if len(shape):
            are_tokens = len(shape) == 2 and shape[1] > 1 and tensor.dtype in (torch.int64, torch.int32)
            return int(shape[0]), int(shape[0]) * int(shape[1]) if are_tokens else 0, tensor.device.type
    return 0, 0, None
