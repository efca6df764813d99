"""A form's folder -> what runs it and with which settings, as `form.json` tells it; arrays are numpy's throughout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FILE = "form.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Port:
    """An input or an output: its shape has a number or the name of a free axis in each place."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Port:
        """The port that `as_json` wrote."""
        return Port(name=data["name"], dtype=data["dtype"], shape=tuple(data["shape"]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """One form of a model: the backend that runs `file`, and its settings; `changes` made it out of the original."""

    backend: str
    file: str
    inputs: tuple[Port, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    changes: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Into the folder, beside the file."""
        (folder / FILE).write_text(json.dumps(asdict(self), indent=1))

    @staticmethod
    def read(folder: Path) -> Form:
        """The form of a folder."""
        data = json.loads((folder / FILE).read_text())
        return Form(
            backend=data["backend"],
            file=data["file"],
            inputs=tuple(Port.from_json(each) for each in data["inputs"]),
            settings=data["settings"],
            changes=tuple(data["changes"]),
        )


def sized(ports: Sequence[Port], axis: str, size: int) -> tuple[Port, ...]:
    """The ports with one free axis fixed."""
    return tuple(
        Port(name=port.name, dtype=port.dtype, shape=tuple(size if each == axis else each for each in port.shape))
        for port in ports
    )


def files_of(folder: Path) -> list[Path]:
    """The files of the form in a folder, without what lies there of its building and judging."""
    return [*_model_in(folder), folder / FILE]


def copy_model(source: Path, folder: Path) -> None:
    """The model's files into another folder, which gets a description of its own."""
    for path in _model_in(source):
        shutil.copyfile(path, folder / path.name)


def _model_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("model.*") if path.is_file())
