"""A sample <-> a description and bytes. What comes back has the same bits, types and strides, and is nobody else's.

Known are tensors on the processor, numpy arrays and scalars, PIL images, numbers, strings, bytes, paths, and nested
tuples, lists and dicts of them; anything else is refused by the name of its type. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import math
import pathlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Node = list[Any]
    Write = Callable[[Any, int], None]

ALIGNMENT = 64
VIEWS = 20_000  # tensors of the buffer that are remembered as they lie there
TEXTS = 256  # descriptions that are remembered: most samples of a job are described alike
MOST_GAPS = 1.5  # a view keeps its strides, with the gaps between its elements, up to this many times its size
NUMPY_KINDS = "?biufcSUmM"
PICTURE_MODES = ("1", "L", "LA", "La", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16")


class NotKeepable(Exception):  # noqa: N818 - it is an answer, and no error
    """The value holds something that can't be kept; the text names it."""


class Draft:
    """A value taken apart: `text` describes it, `parts` are (offset, size, write), `size` is that of all the parts."""

    def __init__(self, torch: Any, value: Any) -> None:
        self.torch = torch
        self.parts: list[tuple[int, int, Write]] = []
        self.size = 0
        self.seen: set[Any] = set()
        self.text = json.dumps(self._node(value), separators=(",", ":")).encode()

    def write(self, buffer: Any, offset: int) -> None:
        """Put the parts into a writable buffer, from `offset` on."""
        for place, _, write in self.parts:
            write(buffer, offset + place)

    def _place(self, size: int, write: Write) -> int:
        offset = -(-self.size // ALIGNMENT) * ALIGNMENT
        self.parts.append((offset, size, write))
        self.size = offset + size
        return offset

    def _raw(self, data: bytes) -> list[int]:
        def write(buffer: Any, offset: int) -> None:
            buffer[offset : offset + len(data)] = data

        return [self._place(len(data), write), len(data)]

    def _once(self, thing: Any) -> None:
        """Two names of one thing would come back as two things, and writing to one no longer change the other."""
        if thing in self.seen:
            raise NotKeepable("the same memory twice in one value")
        self.seen.add(thing)

    def _node(self, value: Any) -> Node:
        kind = type(value)
        if kind in _PLAIN:
            name, tell = _PLAIN[kind]
            return [name, tell(value)]
        if kind is bytes:
            return ["bytes", *self._raw(value)]
        if kind in (tuple, list, dict):
            return self._nest(value)
        return self._tensor(value) if kind is self.torch.Tensor else self._of_others(value, kind)

    def _of_others(self, value: Any, kind: type) -> Node:
        numpy, pictures = sys.modules.get("numpy"), sys.modules.get("PIL.Image")
        if numpy is not None and kind is numpy.ndarray:
            return self._array(numpy, value)
        if numpy is not None and isinstance(value, numpy.generic) and value.dtype.kind in NUMPY_KINDS:
            return ["scalar", value.dtype.str, *self._raw(value.tobytes())]
        if pictures is not None and kind is pictures.Image:
            return self._picture(value)
        raise NotKeepable(kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}")

    def _nest(self, value: Any) -> Node:
        if type(value) is not tuple:
            self._once(id(value))
        if type(value) is dict:
            return ["dict", [[self._node(key), self._node(each)] for key, each in value.items()]]
        return [type(value).__name__, [self._node(each) for each in value]]

    def _tensor(self, tensor: Any) -> Node:
        why = _unusual(self.torch, tensor)
        if why:
            raise NotKeepable(f"a tensor that {why}")
        shape, strides, count = list(tensor.shape), list(tensor.stride()), tensor.numel()
        extent = 1 + sum((n - 1) * step for n, step in zip(shape, strides)) if count else 0
        if extent > MOST_GAPS * count:
            raise NotKeepable("a tensor that is a view of something much larger")
        if count:
            self._once(memory_of(tensor))
        size, torch = extent * tensor.element_size(), self.torch

        def write(buffer: Any, offset: int) -> None:
            if extent:
                flat = tensor.as_strided((extent,), (1,), tensor.storage_offset())
                torch.frombuffer(buffer, dtype=tensor.dtype, count=extent, offset=offset).copy_(flat)

        return ["tensor", str(tensor.dtype).split(".")[-1], shape, strides, extent, self._place(size, write)]

    def _array(self, numpy: Any, array: Any) -> Node:
        shape, strides, count = list(array.shape), list(array.strides), array.size
        if array.dtype.kind not in NUMPY_KINDS or array.dtype.names or not array.dtype.itemsize:
            raise NotKeepable(f"a numpy array of {array.dtype}")
        if not count:
            return ["array", array.dtype.str, shape, strides, 0, bool(array.flags.writeable), 0]
        each = array.dtype.itemsize
        extent = 1 + sum((n - 1) * step for n, step in zip(shape, strides)) // each
        if any(step < 0 or step % each for n, step in zip(shape, strides) if n > 1) or extent > MOST_GAPS * count:
            raise NotKeepable("a numpy array that is a view with gaps or backwards")
        self._once(memory_of(array))

        def write(buffer: Any, offset: int) -> None:
            flat = numpy.lib.stride_tricks.as_strided(array, (extent,), (each,))
            numpy.frombuffer(buffer, array.dtype, extent, offset)[:] = flat

        place = self._place(extent * each, write)
        return ["array", array.dtype.str, shape, strides, extent, bool(array.flags.writeable), place]

    def _picture(self, picture: Any) -> Node:
        if picture.mode not in PICTURE_MODES or getattr(picture, "palette", None) is not None:
            raise NotKeepable(f"a PIL image of mode {picture.mode}")
        if getattr(picture, "_exif", None) is not None:
            raise NotKeepable("a PIL image whose Exif data was read")
        self._once(id(picture))
        return ["picture", picture.mode, list(picture.size), self._node(picture.info), *self._raw(picture.tobytes())]


def memory_of(value: Any) -> int | None:
    """Where the memory begins that a tensor or an array is, or is a view of; None for what has none."""
    storage = getattr(value, "untyped_storage", None) or getattr(value, "storage", None)
    if storage is not None:
        return int(storage().data_ptr())
    while hasattr(getattr(value, "base", None), "__array_interface__"):
        value = value.base
    interface = getattr(value, "__array_interface__", None) if type(value).__module__ == "numpy" else None
    return None if interface is None else int(interface["data"][0])


def _unusual(torch: Any, tensor: Any) -> str:
    """Why a tensor can't be kept, or nothing."""
    if tensor.device.type != "cpu":
        return f"lies on {tensor.device}"
    if tensor.layout is not torch.strided or tensor.is_quantized:
        return "is sparse or quantised"
    if tensor.requires_grad or tensor.is_conj() or tensor.is_neg():
        return "is a part of a calculation"
    return "has attributes of its own" if tensor.__dict__ else ""


class Reader:
    """Descriptions and a buffer, always the same one -> values."""

    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self.nodes: dict[bytes, Node] = {}
        self.views: dict[int, Any] = {}

    def read(self, text: bytes, buffer: Any, offset: int) -> Any:
        """The value that `text` describes and whose parts begin at `offset`, in memory of its own."""
        view = self.views.get(offset)
        if view is not None:
            return view.clone()
        node = self.nodes.get(text)
        if node is None:
            node = json.loads(text)
            if len(self.nodes) < TEXTS:
                self.nodes[text] = node
        if node[0] == "tensor" and node[4] == math.prod(node[2]) > 0 and len(self.views) < VIEWS:
            view = self._view(node, buffer, offset)
            copy = view.clone()
            if copy.stride() == view.stride():
                self.views[offset] = view
                return copy
        return self._value(node, buffer, offset)

    def _value(self, node: Node, buffer: Any, base: int) -> Any:
        kind = node[0]
        if kind in _MADE:
            return _MADE[kind](node[1])
        return getattr(self, "_" + kind)(node, buffer, base)

    def _list(self, node: Node, buffer: Any, base: int) -> list[Any]:
        return [self._value(each, buffer, base) for each in node[1]]

    def _tuple(self, node: Node, buffer: Any, base: int) -> tuple[Any, ...]:
        return tuple(self._list(node, buffer, base))

    def _dict(self, node: Node, buffer: Any, base: int) -> dict[Any, Any]:
        return {self._value(key, buffer, base): self._value(each, buffer, base) for key, each in node[1]}

    def _bytes(self, node: Node, buffer: Any, base: int) -> bytes:
        return bytes(buffer[base + node[1] : base + node[1] + node[2]])

    def _scalar(self, node: Node, buffer: Any, base: int) -> Any:
        return sys.modules["numpy"].frombuffer(self._bytes(node[1:], buffer, base), node[1])[0]

    def _tensor(self, node: Node, buffer: Any, base: int) -> Any:
        _, dtype, shape, strides, extent, _ = node
        if not extent:
            return self.torch.empty_strided(shape, strides, dtype=getattr(self.torch, dtype))
        return self._flat(node, buffer, base).clone().as_strided(shape, strides)

    def _view(self, node: Node, buffer: Any, base: int) -> Any:
        return self._flat(node, buffer, base).as_strided(node[2], node[3])

    def _flat(self, node: Node, buffer: Any, base: int) -> Any:
        _, dtype, _, _, extent, offset = node
        return self.torch.frombuffer(buffer, dtype=getattr(self.torch, dtype), count=extent, offset=base + offset)

    def _array(self, node: Node, buffer: Any, base: int) -> Any:
        _, dtype, shape, strides, extent, writeable, offset = node
        numpy: Any = sys.modules["numpy"]
        flat = numpy.frombuffer(buffer, dtype, extent, base + offset).copy() if extent else None
        array = numpy.ndarray(shape, dtype, buffer=flat, strides=strides)
        array.flags.writeable = writeable
        return array

    def _picture(self, node: Node, buffer: Any, base: int) -> Any:
        _, mode, size, info, offset, count = node
        pictures: Any = sys.modules["PIL.Image"]
        start = base + offset
        picture = pictures.frombytes(mode, tuple(size), bytes(buffer[start : start + count]))
        picture.info = self._value(info, buffer, base)
        return picture


_PLAIN: dict[type, tuple[str, Callable[[Any], Any]]] = {
    int: ("int", str),
    bool: ("bool", bool),
    float: ("float", float.hex),
    complex: ("complex", lambda z: [z.real.hex(), z.imag.hex()]),
    str: ("str", str),
    type(None): ("none", lambda _: 0),
    pathlib.PosixPath: ("path", str),
}
_MADE: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "bool": bool,
    "float": float.fromhex,
    "complex": lambda z: complex(float.fromhex(z[0]), float.fromhex(z[1])),
    "str": str,
    "none": lambda _: None,
    "path": pathlib.Path,
}


def bits(torch: Any, value: Any) -> str:
    """A fingerprint of a value that can be kept: equal bits, types, shapes and strides, equal fingerprint.

    Raises:
        NotKeepable: where it can't be kept.
    """
    draft = Draft(torch, value)
    digest = hashlib.blake2b(draft.text, digest_size=16)
    for _, size, write in draft.parts:
        part = bytearray(size)
        if size:
            write(part, 0)
        digest.update(part)
    return digest.hexdigest()
