"""A module that was called -> its attentions and feed-forward parts, as the linear layers that were called show them.

Attention is three layers of one owner and one width, of which the last two read the same (or one layer as wide as the
three), and then one that reads that width. A feed-forward part is one layer, or two that read the same (a gate), and
then one that gives the width back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

SIZES = ("size", "dim")


class Attention(nn.Module):  # type: ignore[misc]
    """What PyTorch's `MultiheadAttention` computes, with linear layers of its own; as many heads as they are wide.

    The second that it returns, the weights of the heads, is None.
    """

    def __init__(self, whole: nn.MultiheadAttention) -> None:
        super().__init__()
        self.batch_first, self.dropout, self.head_size = whole.batch_first, whole.dropout, whole.head_dim
        weights = (
            whole.in_proj_weight.chunk(3)
            if whole.in_proj_weight is not None
            else (whole.q_proj_weight, whole.k_proj_weight, whole.v_proj_weight)
        )
        biases = [None] * 3 if whole.in_proj_bias is None else whole.in_proj_bias.chunk(3)
        self.query, self.key, self.value = (_linear(*each) for each in zip(weights, biases, strict=True))
        self.out = _linear(whole.out_proj.weight, whole.out_proj.bias)

    def forward(  # noqa: PLR0917 - the signature is PyTorch's
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None,
        need_weights: bool = True,  # noqa: ARG002, FBT001, FBT002
        attn_mask: torch.Tensor | None = None,
        average_attn_weights: bool = True,  # noqa: ARG002, FBT001, FBT002
        is_causal: bool = False,  # noqa: FBT001, FBT002
    ) -> tuple[torch.Tensor, None]:
        """(batch, length, width) where the batch is first, else (length, batch, width)."""
        if not self.batch_first:
            query, key, value = (each.transpose(0, 1) for each in (query, key, value))
        q, k, v = (
            layer(given).unflatten(-1, (-1, self.head_size)).transpose(1, 2)
            for layer, given in ((self.query, query), (self.key, key), (self.value, value))
        )
        mask = _added(attn_mask, q)
        if key_padding_mask is not None:
            padding = _added(key_padding_mask, q)[:, None, None]
            mask = padding if mask is None else mask + padding
        dropped = self.dropout if self.training else 0.0
        found = nn.functional.scaled_dot_product_attention(q, k, v, mask, dropped, is_causal and mask is None)
        told = self.out(found.transpose(1, 2).flatten(2))
        return told if self.batch_first else told.transpose(0, 1), None


def _linear(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, dtype=weight.dtype)
    with torch.no_grad():
        made.weight.copy_(weight)
        if bias is not None:
            made.bias.copy_(bias)
    return made


def _added(mask: torch.Tensor | None, like: torch.Tensor) -> Any:
    """A mask as numbers that are added: where it was true, nothing is seen."""
    if mask is None or mask.is_floating_point():
        return mask
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -torch.inf)


def with_own_layers(module: nn.Module) -> None:
    """Put `Attention` in the place of PyTorch's own, where it has no extra keys."""
    for path, each in list(module.named_modules()):
        if path and type(each) is nn.MultiheadAttention and each.bias_k is None and not each.add_zero_attn:
            owner, _, name = path.rpartition(".")
            setattr(module.get_submodule(owner), name, Attention(each).train(each.training))


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Linear layers by their paths: those that write a width, the one that reads it; `heads` may count its heads."""

    writers: tuple[str, ...]
    reader: str
    width: int
    heads: tuple[int, ...] = ()


def parts_of(module: nn.Module, inputs: Sequence[torch.Tensor]) -> Iterator[Part]:
    """Its attentions, which have `heads`, and its feed-forward parts, in their order."""
    calls = _calls(module, inputs)
    for number, (path, layer, _) in enumerate(calls):
        before = [each for each in calls[max(0, number - 3) : number] if each[0] != path]
        width = layer.in_features
        if (writers := _attention(before, width)) and (heads := tuple(_heads(module, writers, path, width))):
            yield Part(writers=writers, reader=path, width=width, heads=heads)
        elif writers := _feed_forward(before, width, layer.out_features):
            yield Part(writers=writers, reader=path, width=width)


Call = tuple[str, nn.Linear, torch.Tensor]


def _calls(module: nn.Module, inputs: Sequence[torch.Tensor]) -> list[Call]:
    """The linear layers in the order of their calls, with what each has read."""
    calls: list[Call] = []
    named = [(path, each) for path, each in module.named_modules() if type(each) is nn.Linear]
    hooks = [
        each.register_forward_pre_hook(lambda layer, given, path=path: calls.append((path, layer, given[0])))
        for path, each in named
    ]
    try:
        with torch.no_grad():
            module(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _attention(before: Sequence[Call], width: int) -> tuple[str, ...]:
    if before and before[-1][1].out_features == 3 * width:
        return (before[-1][0],)
    if len(before) < 3 or any(layer.out_features != width for _, layer, _ in before):
        return ()
    same = len({path.rpartition(".")[0] for path, _, _ in before}) == 1 and _same(before[1][2], before[2][2])
    return tuple(path for path, _, _ in before) if same else ()


def _feed_forward(before: Sequence[Call], inner: int, outer: int) -> tuple[str, ...]:
    fitting = [each for each in before[-2:] if (each[1].in_features, each[1].out_features) == (outer, inner)]
    if not fitting or fitting[-1] is not before[-1] or inner == outer:
        return ()
    gated = len(fitting) == 2 and _same(fitting[0][2], fitting[1][2])
    return tuple(path for path, _, _ in (fitting if gated else fitting[-1:]))


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether both are the same numbers; what was read is held, so no place has been used again."""
    return bool(one.data_ptr() == other.data_ptr() and one.shape == other.shape)


def owners_of(writers: Sequence[str], reader: str) -> list[str]:
    """The paths of the modules that hold them, from the layers' owner up to the one that holds the reader too."""
    owner = writers[0].rpartition(".")[0]
    found = [owner]
    while owner and not reader.startswith(f"{owner}."):
        owner = owner.rpartition(".")[0]
        found.append(owner)
    return found


def _heads(module: nn.Module, writers: Sequence[str], reader: str, width: int) -> Iterator[int]:
    """How many heads there may be, by what the owners name so, or the size of each."""
    seen = set()
    for path in owners_of(writers, reader):
        for name, value in vars(module.get_submodule(path)).items():
            if "head" not in name or not isinstance(value, int) or not 1 <= value <= width or width % value:
                continue
            heads = width // value if any(word in name for word in SIZES) else value
            if 1 < heads < width and heads not in seen:
                seen.add(heads)
                yield heads
