"""What a module received, or a batch -> fingerprints of its bits, which are equal where the bits are.

The order in memory does not count: a batch in channels-last has the fingerprint that it had before.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Optional

    Digest = Any

DEPTH = 12
PLAIN = (str, bytes, bool, int, float, complex, type(None))


def fingerprint(torch: Any, thing: Any) -> str:
    """Of all that is in it: tensors, arrays, numbers, text, containers of them, and objects that hold them.

    A tensor that requires a gradient was computed by the model: of it only type and shape count.
    """
    digest = hashlib.blake2b(digest_size=16)
    _feed(torch, digest, thing, 0)
    return digest.hexdigest()


def row_fingerprints(torch: Any, batch: Any, rows: int, most: int) -> Optional[list[str]]:
    """Of each of the first `most` samples of a batch of so many rows, or None where it has no such rows."""
    parts = [part for part in _parts(torch, batch, 0) if len(part) == rows]
    if not any(isinstance(part, torch.Tensor) for part in parts):
        return None
    return [fingerprint(torch, [part[row] for part in parts]) for row in range(min(rows, most))]


def _feed(torch: Any, digest: Digest, thing: Any, depth: int) -> None:
    kind = type(thing).__name__
    if isinstance(thing, torch.Tensor):
        digest.update("{} {};".format(thing.dtype, tuple(thing.shape)).encode())
        if not thing.requires_grad:
            _feed_bits(digest, thing)
    elif isinstance(thing, PLAIN):
        digest.update("{} {!r};".format(kind, thing).encode())
    elif depth >= DEPTH:
        digest.update(kind.encode())
    elif isinstance(thing, Mapping):
        _feed(torch, digest, list(thing.items()), depth + 1)
    elif isinstance(thing, (list, tuple)):
        digest.update("list {};".format(len(thing)).encode())
        for value in thing:
            _feed(torch, digest, value, depth + 1)
    elif hasattr(thing, "tobytes") and hasattr(thing, "dtype"):
        digest.update("{} {};".format(thing.dtype, getattr(thing, "shape", ())).encode() + thing.tobytes())
    else:
        digest.update(kind.encode())
        _feed(torch, digest, _told(thing), depth + 1)


def _told(thing: Any) -> list[tuple[str, Any]]:
    """What an object says of itself; a module is what is trained, no input."""
    if hasattr(thing, "_modules") or callable(thing):
        return []
    return sorted((name, value) for name, value in getattr(thing, "__dict__", {}).items() if name[:1] != "_")


def _feed_bits(digest: Digest, tensor: Any) -> None:
    """The values in the order of their indices, whatever device and layout they lie in."""
    try:
        plain = tensor.detach()
        plain = plain if str(plain.layout) == "torch.strided" else plain.to_dense()
        plain = plain.cpu().contiguous().resolve_conj().resolve_neg()
        length = plain.numel() * plain.element_size()
        if length:
            digest.update((ctypes.c_char * length).from_address(plain.data_ptr()))
    except Exception:  # a kind of tensor without bits of its own
        digest.update(b"unreadable;")


def _parts(torch: Any, thing: Any, depth: int) -> Iterator[Any]:
    """Tensors with a first axis, and lists of texts and numbers: what may have a row a sample."""
    if isinstance(thing, torch.Tensor):
        if thing.dim():
            yield thing
    elif isinstance(thing, (list, tuple)) and thing and all(isinstance(each, PLAIN) for each in thing):
        yield thing
    elif depth < DEPTH:
        within = thing.values() if isinstance(thing, Mapping) else thing if isinstance(thing, (list, tuple)) else ()
        for value in within or [value for _, value in _told(thing) if not isinstance(value, PLAIN)]:
            for part in _parts(torch, value, depth + 1):
                yield part
