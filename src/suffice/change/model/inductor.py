"""PyTorch's own compiler, ahead of time: AOTInductor makes machine code of the module for this processor.

It fuses chains of small operations better than the graph backends do: one was 2.1 times as fast as there. Where
products or convolutions take the time it ties or loses. Weights are laid out once for it (freezing) where there are
convolutions, which gains there and costs elsewhere. Choosing kernels by trial (max-autotune) is left out: it took half
as long again to build and stayed behind ONNX Runtime where products take the time.

Building takes 20 to 80 s, so it comes last. The bundle runs code, and only on processors with the same instructions.
Not for models that `torch.export` can't follow.

Practice: SUS05-BP04: optimise the model for the hardware that serves it
Source: docs.pytorch.org, AOTInductor: `torch._inductor.aoti_compile_and_package`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from suffice.form.description import Form, Port
from suffice.measure.model.subject import Subject

AFTER = None
THAN_EXACT = True
RISK = "exact"
PRACTICE = "SUS05-BP04: optimise the model for the hardware that serves it"
FILE = "model.pt2"
BUILD_S = 60.0


def propose(subject: Subject, flags: frozenset[str]) -> list[dict[str, Any]] | str:
    """Of a module, where there is a compiler."""
    if subject.form.backend != "eager":
        return "it compiles modules of PyTorch, and this is a graph already"
    if subject.by_size:
        return "to run it takes PyTorch, which is larger than any model that is to be small"
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        return f"there is no C++ compiler {compiler}: install one (apt install g++), or name yours in CXX"
    return [{}]


def gain(flags: frozenset[str]) -> float:
    """Measured up to 2.1 over the quickest exact form, in a chain of small operations."""
    return 2.5


def build(source: Form, source_folder: Path, folder: Path, settings: Mapping[str, Any], samples: Path) -> Form:
    """Export and compile the module; what the compiler writes beside its package goes with the build."""
    import tempfile
    import warnings

    import torch

    from suffice.form.bundle import flags_here, instructions
    from suffice.form.target import load_target

    loaded = load_target(source.file, **source.settings)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(dir=folder) as cache, torch.no_grad():
        warnings.simplefilter("ignore")
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        frozen = _compile(loaded, source.inputs, folder / FILE)
    told = {"freezing": frozen, "torch": torch.__version__, "instructions": instructions(flags_here())}
    return Form(backend="inductor", file=FILE, inputs=source.inputs, settings=told)


def _compile(loaded: Any, ports: Sequence[Port], path: Path) -> bool:
    """Write the package; whether weights were frozen."""
    import torch
    import torch._inductor  # it compiles and writes into its cache as soon as it is imported

    from suffice.form.export import at_least_two, free_axes
    from suffice.form.tensors import Flat

    bounds = {name: dict(zip(("min", "max"), each, strict=True)) for name, each in loaded.bounds.items()}
    free = {each for port in ports for each in port.shape if isinstance(each, str)}
    axes = {name: torch.export.Dim.DYNAMIC(**bounds.get(name, {})) for name in free}
    shapes = (tuple(free_axes(port, axes) for port in ports),)
    program = torch.export.export(
        Flat(loaded.module), at_least_two(loaded.example_inputs, ports), dynamic_shapes=shapes
    )
    frozen = any("conv" in str(node.target) for node in program.graph.nodes)
    options = {
        "freezing": frozen,
        "cpp.dynamic_threads": True,  # else the threads of the build would be those of every call
        "cpp_cache_precompile_headers": False,  # they would stay behind, for later builds to use
        "aot_inductor.precompile_headers": False,
    }
    torch._inductor.aoti_compile_and_package(  # noqa: SLF001 - where PyTorch documents it
        program, package_path=str(path), inductor_configs=options
    )
    return frozen
