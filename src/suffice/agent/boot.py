"""Interpreter start -> the user's own sitecustomize, and a session as soon as torch is imported.

Staged as `sitecustomize.py`. It must cost nothing where torch is never imported, so it imports almost nothing itself.
"""

import os
import sys

TYPE_CHECKING = False  # neither `typing` nor `__future__` is imported for it: what needs a name is quoted
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any, Optional


def _begin_session(here: str) -> None:
    """Start the staged package's session.

    Where a disk was full when Python kept the package's bytecode, it kept a part of it, and can't load that.
    """
    folder = os.path.join(here, "suffice_agent")
    try:
        session = _load(folder)
    except (EOFError, ValueError):
        import shutil

        for path, _, _ in os.walk(folder):
            shutil.rmtree(os.path.join(path, "__pycache__"), ignore_errors=True)
        for name in [name for name in sys.modules if name.split(".")[0] == "suffice_agent"]:
            del sys.modules[name]
        session = _load(folder)
    session.begin(sys.modules["torch"])


def _load(folder: str) -> "Any":
    """Load the staged package from its folder, which is on `sys.path` no longer."""
    import importlib.util

    spec: Any = importlib.util.spec_from_file_location(
        "suffice_agent", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    package = importlib.util.module_from_spec(spec)
    sys.modules["suffice_agent"] = package
    spared = sys.dont_write_bytecode
    sys.dont_write_bytecode = False  # the folder is suffice's own, and compiling anew takes longer than all the rest
    try:
        spec.loader.exec_module(package)
        from suffice_agent import session  # type: ignore[import-not-found]  # its name once staged
    finally:
        sys.dont_write_bytecode = spared
    return session


class _TorchFinder:
    """Finds torch as everybody else does, and runs `then` once its import has ended."""

    def __init__(self, then: "Callable[[], None]") -> None:
        self.then = then
        self.finding = False

    def find_spec(
        self, name: str, path: "Optional[Sequence[str]]" = None, target: "Optional[ModuleType]" = None
    ) -> "Optional[ModuleSpec]":
        if name != "torch" or self.finding:
            return None
        self.finding = True
        try:
            specs = (
                f.find_spec(name, path, target) for f in sys.meta_path if f is not self and hasattr(f, "find_spec")
            )
            spec = next((s for s in specs if s is not None), None)
        finally:
            self.finding = False
        loader = getattr(spec, "loader", None)
        if loader is not None and hasattr(loader, "exec_module"):
            self._watch(loader)
        return spec

    def _watch(self, loader: "Any") -> None:
        # An attribute of this one loader object, taken away again: the module's loader stays what it was.
        original = loader.exec_module

        def exec_module(module: "ModuleType") -> None:
            try:
                del loader.exec_module
            except AttributeError:
                pass
            original(module)
            try:
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                self.then()
            except Exception:
                pass

        try:
            loader.exec_module = exec_module
        except AttributeError:
            pass


def _chain(here: str) -> None:
    """Run the sitecustomize that this file hides, or leave no trace, as if there were none."""
    from importlib.machinery import PathFinder

    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is None or spec.loader is None or os.path.dirname(os.path.realpath(spec.origin or "")) == here:
        raise ImportError("no other sitecustomize", name="sitecustomize")
    from importlib.util import module_from_spec

    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


def _boot() -> None:
    here = os.path.dirname(os.path.realpath(__file__))
    sys.path[:] = [p for p in sys.path if os.path.realpath(p) != here]
    spool = os.environ.get("SUFFICE_SPOOL")
    if spool or os.environ.get("SUFFICE_ORDER"):
        try:
            if spool:
                os.close(os.open(os.path.join(spool, "python-ran"), os.O_CREAT | os.O_WRONLY, 0o600))
        except OSError:
            pass
        sys.meta_path.insert(0, _TorchFinder(lambda: _begin_session(here)))
    _chain(here)


if os.environ.get("SUFFICE_STAGE"):
    _boot()
