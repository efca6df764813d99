"""Functions -> stand-ins for their code, which every reference to them reaches; and what a call is known by.

A stand-in replaces `__code__`, so imports by name, attributes, partials, methods and pickled references all meet it,
the function stays the same object, and putting the code back undoes it.
"""

from __future__ import annotations

import enum
import inspect
import os
import pathlib
import sys
import types
from typing import TYPE_CHECKING

from .dependencies import original_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

MARK = "__stands_for__"
PLACEHOLDER = "the stand-in"
PLAIN = (int, bool, float, complex, bytes, type(None))
UNFIT = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


class StandIn:
    """Puts `call(original, args, kwargs)` in the place of a function's code, and takes it out again."""

    def __init__(self, function: Any, call: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]) -> None:
        self.function = function
        written = original_of(function)
        self.code = written.__code__
        self.stands_for = types.FunctionType(
            self.code, function.__globals__, function.__name__, function.__defaults__, function.__closure__
        )
        self.stands_for.__kwdefaults__ = function.__kwdefaults__
        setattr(self.stands_for, MARK, True)
        self.stands_for.__module__, self.stands_for.__qualname__ = function.__module__, function.__qualname__
        self.call = call
        self.replacement = _code_that_calls(self, self.code)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function's code calls while the stand-in is in."""
        return self.call(self.stands_for, args, kwargs)

    def put_in(self) -> None:
        """From now on the function calls us."""
        self.function.__code__ = self.replacement

    def take_out(self) -> None:
        """The function is as it was written, unless somebody has changed it since."""
        if self.function.__code__ is self.replacement:
            self.function.__code__ = self.code


class StandIns:
    """What has `stand_ins`, which are put in and taken out together."""

    stand_ins: list[StandIn]

    def put_in(self) -> None:
        """From now on calls of the functions are ours."""
        for stand_in in self.stand_ins:
            stand_in.put_in()

    def take_out(self) -> None:
        """The functions are as they were written."""
        for stand_in in self.stand_ins:
            stand_in.take_out()


def _code_that_calls(stand_in: StandIn, code: types.CodeType) -> types.CodeType:
    """The code of a function with as many free variables, for a function's code must fit its closure."""
    names = [f"v{i}" for i in range(len(code.co_freevars))]
    lines = ["def outer():", *(f"  {name} = None" for name in names), "  def f(*args, **kwargs):"]
    lines += [f"    return {PLACEHOLDER!r}.__call__(*args, **kwargs)", *(f"    {name}" for name in names), "  return f"]
    space: dict[str, Any] = {}
    exec("\n".join(lines), space)  # noqa: S102 - our own text
    made = space["outer"]().__code__
    constants = tuple(stand_in if constant == PLACEHOLDER else constant for constant in made.co_consts)
    return made.replace(  # type: ignore[no-any-return]
        co_consts=constants, co_name=code.co_name, co_filename=code.co_filename, co_firstlineno=code.co_firstlineno
    )


def can_stand_in(function: Any) -> bool:
    """Whether it is a plain function of Python: no generator, no coroutine, and not what one of us stands for."""
    if type(function) is not types.FunctionType or MARK in vars(function):
        return False
    return not function.__code__.co_flags & UNFIT


def fetch_of(job: Any) -> Any:
    """The function by which torch's loaders fetch a batch; what others have wrapped around it stays around it."""
    fetching = sys.modules.get("torch.utils.data._utils.fetch")
    function = unwrapped(getattr(getattr(fetching, "_MapDatasetFetcher", None), "fetch", None))
    return function if can_stand_in(function) else job.refuse("this torch fetches batches in another way")


def iterating(job: Any, name: str) -> Any:
    """The method of that name of the iterations over torch's loaders; what others have wrapped around it stays."""
    kind = getattr(sys.modules.get("torch.utils.data.dataloader"), "_BaseDataLoaderIter", None)
    function = unwrapped(getattr(kind, name, None))
    if not can_stand_in(function):
        job.refuse("this torch's loaders ask for their samples in another way")
    return function


def unwrapped(function: Any) -> Any:
    """The function within what others have wrapped around it."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


def key_of(arguments: tuple[Any, ...], named: Mapping[str, Any], known: Mapping[int, str]) -> str | None:
    """What tells this call from others; None where an argument is neither plain nor `known` (id -> its name)."""
    words = [_word(each, known) for each in arguments]
    if named:
        words += [_word((name, each), known) for name, each in sorted(named.items())]
    return None if None in words else "\0".join(map(str, words))


def _word(value: Any, known: Mapping[int, str]) -> str | None:
    kind = type(value)
    if kind is str:
        return "s{}".format(value.replace("\0", "\0\0"))
    if kind in PLAIN:
        return f"{kind.__name__} {value!r}"
    if isinstance(value, pathlib.PurePath):
        return f"p{value}"
    return "k" + known[id(value)] if id(value) in known else _rarer_word(value, kind, known)


def _rarer_word(value: Any, kind: type, known: Mapping[int, str]) -> str | None:
    if kind is tuple:
        words = [_word(each, known) for each in value]
        return None if None in words else f"({len(words)}:" + "\0".join(map(str, words)) + ")"
    if isinstance(value, enum.Enum):
        return f"e{kind.__module__}.{kind.__qualname__}.{value.name}"
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.integer):
        return f"n{value.dtype} {value!r}"
    return None


def is_file(path: Any) -> bool:
    """Whether it names a file that there is."""
    try:
        return isinstance(path, (str, bytes, os.PathLike)) and os.path.isfile(path)
    except ValueError:  # a zero byte
        return False


def stamp_of(path: Any) -> str:
    """Size and time of change of the file of that name, by which it is known to be what it was; empty where none is.

    Names that are not whole are told apart by the folder that they are looked up in.
    """
    try:
        found = os.stat(path)
        text = os.fspath(path)
    except (OSError, TypeError, ValueError):
        return ""
    where = "" if text[:1] in ("/", b"/") else os.getcwd()
    return f"{found.st_mtime_ns} {found.st_size} {where}"
