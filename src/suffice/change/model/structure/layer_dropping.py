"""Every other block of a deep model left out, and the rest trained on to do without them.

Of a stack of equal blocks (a `Sequential` or a `ModuleList`) every second one stays, with its weights; then the user's
`fine_tune` trains what is left, with the original as its `teacher` where it takes one. DistilBERT came about this way:
40 % fewer parameters, 60 % faster, 97 % of the quality.

Another model: it needs consent, a `fine_tune`, and its floor. Not for stacks of fewer than four blocks.

Practice: ODL, model building: the smallest model that meets the criteria
Source: DistilBERT, arXiv 1910.01108.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suffice.form.description import Form
from suffice.measure.model.subject import Subject

AFTER = None
RISK = "semantic"
PRACTICE = "ODL, model building: the smallest model that meets the criteria"
FEWEST_BLOCKS = 4


def propose(subject: Subject, flags: frozenset[str]) -> list[dict[str, Any]] | str:
    """Half of the longest stack."""
    if not subject.fine_tune:
        return "there is no fine_tune to train what is left"
    path, blocks = max((subject.stacks or {}).items(), key=lambda each: each[1], default=("", 0))
    if blocks < FEWEST_BLOCKS:
        return f"it has no stack of {FEWEST_BLOCKS} equal blocks"
    return [{"stack": path, "keep": (blocks + 1) // 2, "steps": subject.fine_tune_steps}]


def gain(flags: frozenset[str]) -> float:
    """Half of the blocks."""
    return 2.0


def build(source: Form, source_folder: Path, folder: Path, settings: Mapping[str, Any], samples: Path) -> Form:
    """Leave them out, train, and export."""
    import copy

    from suffice.change.model.structure.student import train, written
    from suffice.form.target import load_target

    loaded = load_target(source.file, **source.settings)
    student = copy.deepcopy(loaded.module)
    stack = student.get_submodule(settings["stack"])
    every = len(stack) / settings["keep"]
    kept = [stack[int(every * number)] for number in range(settings["keep"])]
    owner, _, name = settings["stack"].rpartition(".")
    setattr(student.get_submodule(owner), name, type(stack)(*([kept] if _is_list(stack) else kept)))
    train(student, loaded, settings["steps"])
    return written(student, loaded, source, folder)


def _is_list(stack: Any) -> bool:
    return type(stack).__name__ == "ModuleList"
