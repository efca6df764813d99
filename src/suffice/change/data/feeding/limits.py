"""A loader and a number of workers -> why they can't work for it, before any is started; empty where they can."""

from __future__ import annotations

import ast
import errno
import io
import multiprocessing
import os
import pickle
import resource
import sys
import types
from typing import TYPE_CHECKING

from ..looking import apart
from ..looking.study import objects_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

PICKLE_S = 60.0
SPARE_FILES = 64
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - where torch puts what workers hand over
SHARE_OF_SHARED_MEMORY = 0.8
SHARED_HANDLES = ("h5py", "lmdb", "sqlite3", "_sqlite3", "socket", "zipfile", "tarfile", "netCDF4")


def obstacle(torch: Any, loader: Any, workers: int, prefetch: int) -> str:
    """The first reason against, which can be told without reading a sample."""
    return next(filter(None, _obstacles(torch, loader, workers, prefetch)), "")


def _obstacles(torch: Any, loader: Any, workers: int, prefetch: int) -> Iterator[str]:
    yield _of_process()
    yield _of_dataset(loader)
    method = start_method(loader)
    if method == "fork":
        yield _of_handles(torch, loader)
    else:
        yield _of_pickle(torch, loader, method)
        yield _of_main(method)
    yield _of_files(workers, prefetch, tensors=2)


def _of_process() -> str:
    if multiprocessing.current_process().daemon:
        return "the loader is read in a daemonic process, which may have no children"
    return ""


def _of_dataset(loader: Any) -> str:
    data = sys.modules["torch.utils.data"]
    if not isinstance(loader.dataset, data.IterableDataset):
        return "" if getattr(loader, "in_order", True) else "it takes batches in whichever order they come"
    if "get_worker_info" in _names_in(type(loader.dataset)):
        return "workers would hand out the samples of an iterable data set in another order"
    return "an iterable data set that does not ask for get_worker_info would hand out every sample once for each worker"


def _names_in(kind: type) -> set[str]:
    found: set[str] = set()
    codes = [each.__code__ for base in kind.__mro__ for each in vars(base).values() if hasattr(each, "__code__")]
    while codes:
        code = codes.pop()
        found.update(code.co_names)
        codes += [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return found


def start_method(loader: Any) -> str:
    """How the loader's workers are started."""
    context = loader.multiprocessing_context
    if context is not None:
        return str(context.get_start_method())
    return multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]


def _of_handles(torch: Any, loader: Any) -> str:
    """Forked workers share the position in an open file, and a database's connection."""
    for path, thing in objects_of(torch, loader.dataset, type(loader.dataset).__name__).items():
        for name, value in {"": thing, **vars(thing)}.items():
            kind = type(value)
            if isinstance(value, io.IOBase) or kind.__module__.split(".")[0] in SHARED_HANDLES:
                return f"{path}{'.' if name else ''}{name} is open ({kind.__name__}), and forked workers would share it"
    return ""


def _of_pickle(torch: Any, loader: Any, method: str) -> str:
    def work() -> str:
        pickle.dumps((loader.dataset, loader.collate_fn, loader.worker_init_fn))
        return ""

    try:
        return str(apart.run(torch, work, PICKLE_S))
    except apart.Failed as failed:
        return f"workers are started by {method}, and what they need can't be pickled: {failed}"


def _of_main(method: str) -> str:
    """A program whose loop is not under a guard would start again in every worker that is not forked."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    try:
        with open(path, encoding="utf-8") as file:  # type: ignore[arg-type]  # None: caught
            tree = ast.parse(file.read())
    except (OSError, TypeError, ValueError, SyntaxError):
        return ""
    loops = [node for node in tree.body if isinstance(node, (ast.For, ast.While, ast.With))]
    calls = [node for node in tree.body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
    if loops or calls:
        line = min(node.lineno for node in [*loops, *calls])
        return (
            f"workers are started by {method}, and line {line} of {os.path.basename(str(path))} would run in each: "
            "it stands under no `if __name__ == '__main__'`"
        )
    return ""


def _of_files(workers: int, prefetch: int, tensors: int) -> str:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        free = limit - len(os.listdir("/proc/self/fd"))
    except OSError as error:
        if error.errno != errno.EMFILE:
            return ""
        free = 0
    needed = SPARE_FILES + workers * prefetch * tensors
    if limit != resource.RLIM_INFINITY and free < needed:
        return f"{needed} more open files are needed, and {free} are allowed (ulimit -n)"
    return ""


def of_shared_memory(workers: int, prefetch: int, batch_bytes: float) -> str:
    """Why the batches that workers hold ready do not fit, or nothing."""
    needed = (workers * prefetch + 1) * batch_bytes
    try:
        found = os.statvfs(SHARED_MEMORY)
    except OSError:
        return ""
    free = found.f_bavail * found.f_frsize
    if needed > SHARE_OF_SHARED_MEMORY * free:
        return f"{needed / 1e6:.0f} MB of batches don't fit into the {free / 1e6:.0f} MB of {SHARED_MEMORY}"
    return ""
