"""Functions and objects -> what their results may depend on, entry by entry, each as a digest.

For a function: its code, defaults and closure, the globals that it names, and the same of the user's functions among
these. For an object: each attribute, and the user's classes that it is made of. Equal digests in two processes mean
equal results, unless something `opaque` (an open file, say) is among them: then they only hold in this process.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import marshal
import os
import pathlib
import re
import sys
import sysconfig
import types
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

DEPTH = 8
FUNCTIONS = 300
MANY = 64  # elements from which on a list is written in one go, if it holds nothing but plain values
WHOLE_BYTES = 1 << 26  # of an array; of a larger one, and of each in a quick look, evenly spaced elements
LOOKED_AT = 256
PLAIN = (str, bytes, int, float, complex, bool, type(None), type(...))
# Known by their type alone: what they are in does not change a sample, or, of generators, is looked at elsewhere.
UNTOLD = ("logging", "threading", "_thread", "weakref", "_weakref", "multiprocessing", "random", "numpy.random")
UNTOLD_OF_TORCH = ("torch._C", "torch._ops")


class Dependencies:
    """`functions` and `objects` (by the name under which a reader knows them), and how thoroughly to look at them.

    `quick` looks at evenly spaced elements of long lists and arrays: enough to notice an epoch's change.
    """

    def __init__(self, torch: Any, functions: Iterable[Any], objects: Mapping[str, Any], *, quick: bool) -> None:
        self.torch = torch
        self.functions = list(functions)
        self.objects = dict(objects)
        self.quick = quick
        self.opaque: set[str] = set()

    def snapshot(self) -> dict[str, str]:
        """Name of the dependency -> digest of what it is now."""
        entries: dict[str, str] = {}
        waiting = list(self.functions)
        known = {id(each) for each in self.objects.values()}
        for name, thing in self.objects.items():
            for attribute, value in list(_attributes(thing).items()):
                if id(value) not in known:
                    entries[f"{name}.{attribute}"] = self._digest(value)
            waiting += _functions_of_class(type(thing))
            entries.update(self._class_values(type(thing)))
        done: set[int] = set()
        while waiting and len(done) < FUNCTIONS:
            function = original_of(waiting.pop())
            if id(function.__code__) not in done:
                done.add(id(function.__code__))
                waiting += self._function(function, entries, known)
        return entries

    def _function(self, function: Any, entries: dict[str, str], known: set[int]) -> list[Any]:
        name = f"{function.__module__}.{function.__qualname__}"
        told = _code(function.__code__), function.__defaults__, function.__kwdefaults__, _version_of(function)
        entries[name] = self._digest(told)
        more, held = [], {}
        for cell, variable in zip(function.__closure__ or (), function.__code__.co_freevars):
            try:
                held[f"{name}:{variable}"] = cell.cell_contents
            except ValueError:  # not filled yet
                pass
        for variable in sorted(_names(function.__code__)):
            if variable in function.__globals__:
                held[f"{function.__module__}.{variable}"] = function.__globals__[variable]
        for variable, value in held.items():
            if isinstance(value, types.FunctionType) and is_users(value):
                more.append(value)
            elif isinstance(value, type) and is_users(value):
                more += _functions_of_class(value)
                entries.update(self._class_values(value))
            elif id(value) not in known:
                entries[variable] = self._digest(value)
        return more

    def _class_values(self, kind: type) -> dict[str, str]:
        return {
            f"class {base.__qualname__}.{name}": self._digest(value)
            for base in kind.__mro__
            if is_users(base)
            for name, value in list(vars(base).items())
            if not name.startswith("__") and not callable(value) and not hasattr(value, "__get__")
        }

    def _digest(self, value: Any) -> str:
        walk = Walk(self.torch, self.quick)
        walk.feed(value, DEPTH)
        self.opaque |= walk.opaque
        return walk.hash.hexdigest()


class Walk:
    """One value, down to its elements."""

    def __init__(self, torch: Any, quick: bool) -> None:  # noqa: FBT001 - private
        self.torch = torch
        self.quick = quick
        self.hash = hashlib.blake2b(digest_size=16)
        self.opaque: set[str] = set()
        self.seen: set[int] = set()

    def feed(self, value: Any, depth: int) -> None:
        """Add the value to the digest."""
        kind = type(value)
        self.hash.update(f"<{kind.__module__}.{kind.__qualname__}>".encode())
        if kind in PLAIN:
            self._add(value.hex() if kind is float else repr(value))
        elif isinstance(value, (pathlib.PurePath, range, slice)):
            self._add(str(value))
        elif not depth:
            self._add("deep")
        elif kind is tuple:
            self._sequence(value, depth - 1)  # whether two names share one tuple is the compiler's affair
        elif id(value) in self.seen:
            self._add("again")
        else:
            self.seen.add(id(value))
            self._inside(value, kind, depth - 1)

    def _add(self, text: str) -> None:
        self.hash.update(text.encode(errors="surrogatepass") + b"\0")

    def _inside(self, value: Any, kind: type, depth: int) -> None:
        if kind is list:
            self._sequence(value, depth)
        elif isinstance(value, dict):
            self._mapping(value, depth)
        elif kind in (set, frozenset):
            self._add(",".join(sorted(map(repr, value))))
        elif isinstance(value, self.torch.Tensor):
            self._tensor(value)
        elif hasattr(value, "__array_interface__") and kind.__module__ == "numpy":
            self._add(f"{value.dtype} {value.shape}")
            self._bytes(value.reshape(-1))
        else:
            self._by_name(value, kind, depth)

    def _sequence(self, value: Any, depth: int) -> None:
        self._add(str(len(value)))
        if self.quick and len(value) > LOOKED_AT:
            value = [value[len(value) * i // LOOKED_AT] for i in range(LOOKED_AT)]
        elif len(value) > MANY:
            try:
                self.hash.update(marshal.dumps(value, 0))
            except ValueError:
                pass
            else:
                return
        for each in value:
            self.feed(each, depth)

    def _mapping(self, value: Any, depth: int) -> None:
        items = list(value.items())
        self._add(str(len(items)))
        if self.quick and len(items) > LOOKED_AT:
            items = [items[len(items) * i // LOOKED_AT] for i in range(LOOKED_AT)]
        for key, each in items:
            self.feed(key, depth)
            self.feed(each, depth)

    def _tensor(self, tensor: Any) -> None:
        self._add(f"{tensor.dtype} {tuple(tensor.shape)} {tensor.device}")
        if self.quick:
            self._add(f"{tensor._version} {tensor.data_ptr()}")
        if tensor.device.type == "cpu" and tensor.layout is self.torch.strided and not tensor.is_quantized:
            self._bytes(tensor.detach().reshape(-1))
        else:
            self.opaque.add(f"a tensor on {tensor.device}")

    def _bytes(self, flat: Any) -> None:
        count = flat.shape[0]
        each = flat.element_size() if hasattr(flat, "element_size") else flat.itemsize
        if count > LOOKED_AT and (self.quick or count * each > WHOLE_BYTES):
            if not self.quick:
                self.opaque.add("a large array")
            flat = flat[:: count // LOOKED_AT]
        if hasattr(flat, "tobytes"):
            self.hash.update(flat.tobytes() if flat.dtype.kind != "O" else repr(flat.tolist()).encode())
        elif flat.shape[0]:
            copied = bytearray(flat.shape[0] * each)
            self.torch.frombuffer(copied, dtype=flat.dtype).copy_(flat)
            self.hash.update(copied)

    def _by_name(self, value: Any, kind: type, depth: int) -> None:
        """Things that are what their name says, or what their attributes are."""
        if isinstance(value, types.ModuleType):
            self._add(f"{value.__name__} {getattr(value, '__version__', '')}")
        elif isinstance(value, (types.FunctionType, type)):
            self._named(value, depth)
        elif isinstance(value, (types.BuiltinFunctionType, types.MethodDescriptorType)):
            self._add(value.__qualname__)
        elif isinstance(value, types.MethodType):
            self.feed(value.__func__, depth)
            self.feed(value.__self__, depth)
        elif isinstance(value, functools.partial):
            self.feed((value.func, value.args, value.keywords), depth)
        elif isinstance(value, enum.Enum):
            self._add(value.name)
        elif isinstance(value, (re.Pattern, self.torch.dtype, self.torch.device)) or kind.__module__ == "numpy.dtypes":
            self._add(str(value))
        elif not _is_within(kind.__module__, UNTOLD + UNTOLD_OF_TORCH):
            self._attributes(value, kind, depth)

    def _named(self, value: Any, depth: int) -> None:
        self._add(f"{value.__module__}.{value.__qualname__} {_version_of(value)}")
        if isinstance(value, types.FunctionType) and is_users(value):
            value = original_of(value)
            cells = [cell.cell_contents for cell in value.__closure__ or () if _filled(cell)]
            self.feed((_code(value.__code__), value.__defaults__, value.__kwdefaults__, cells), depth)

    def _attributes(self, value: Any, kind: type, depth: int) -> None:
        attributes = _attributes(value)
        if not attributes and (not hasattr(value, "__dict__") or kind.__module__ in sys.builtin_module_names):
            self.opaque.add(f"{kind.__module__}.{kind.__name__}")
        for name, each in list(attributes.items()):
            self._add(name)
            self.feed(each, depth)


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The names of what is no longer as it was; what is new counts only if it had been looked at before."""
    return [name for name, digest in before.items() if now.get(name) != digest]


def original_of(function: Any) -> Any:
    """The function that the user wrote, where its code stands for ours at the moment."""
    for constant in function.__code__.co_consts:
        stands_for = getattr(constant, "stands_for", None)
        if isinstance(stands_for, types.FunctionType):
            return stands_for
    return function


def is_users(thing: Any) -> bool:
    """Whether a function or class was written by the user, and is of no library."""
    name = getattr(thing, "__module__", None)
    if name == "__main__":
        return True
    module = sys.modules.get(name) if isinstance(name, str) else None
    return module is not None and is_users_file(getattr(module, "__file__", None) or _path_of(thing))


def is_users_file(path: str | None) -> bool:
    """Whether a source file belongs to the user, and to no library."""
    return path is not None and not path.startswith(("<", *_libraries()))


@functools.lru_cache(maxsize=1)
def _libraries() -> tuple[str, ...]:
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {each for each in sys.path if each.endswith(("site-packages", "dist-packages"))}
    own = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    return tuple(folder.rstrip("/") + "/" for folder in {*folders, own} if folder)


def _is_within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def _version_of(thing: Any) -> str:
    """That of the package which a function or class comes from."""
    package = sys.modules.get(str(thing.__module__).split(".")[0])
    return str(getattr(package, "__version__", ""))


def _path_of(thing: Any) -> str | None:
    code = getattr(thing, "__code__", None)
    return code.co_filename if isinstance(code, types.CodeType) else None


def _attributes(thing: Any) -> dict[str, Any]:
    found = dict(getattr(thing, "__dict__", None) or {})
    for base in type(thing).__mro__:
        names = base.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if name not in ("__dict__", "__weakref__") and hasattr(thing, name):
                found[name] = getattr(thing, name)
    return found


def _functions_of_class(kind: type) -> list[Any]:
    found = []
    for base in kind.__mro__:
        for value in list(vars(base).values()) if is_users(base) else ():
            inner = getattr(value, "fget", None) or getattr(value, "__func__", None) or value
            if isinstance(inner, types.FunctionType):
                found.append(inner)
    return found


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _names(code: types.CodeType) -> set[str]:
    return set(code.co_names).union(*(_names(c) for c in code.co_consts if isinstance(c, types.CodeType)))


def _code(code: types.CodeType) -> Any:
    """What a function does, wherever it is written."""
    constants = tuple(
        _code(c) if isinstance(c, types.CodeType) else sorted(map(repr, c)) if isinstance(c, frozenset) else repr(c)
        for c in code.co_consts
    )
    return code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars
