"""Data sets made by hand: what is the same every time, what is not, and what only looks the same for a while."""

from __future__ import annotations

import random
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import Dataset

SIDE = 24
FACTOR = 1.0
FACTORS = {"mean": 0.5}


def work(pixels: torch.Tensor) -> torch.Tensor:
    """A millisecond or two of arithmetic, always the same."""
    x = pixels.float() / 255
    for _ in range(360):
        x = torch.sin(x) + 0.1
    return x


def load(path: str | Path) -> torch.Tensor:
    """One file as a picture."""
    data = bytearray(Path(path).read_bytes())
    return work(torch.frombuffer(data, dtype=torch.uint8).reshape(1, SIDE, SIDE)) - FACTORS["mean"]


def noisy_load(path: str) -> torch.Tensor:
    """The same, but for a draw that changes the result once in a thousand times."""
    picture = work(torch.frombuffer(bytearray(Path(path).read_bytes()), dtype=torch.uint8).reshape(1, SIDE, SIDE))
    return picture.flip(1) if torch.rand(()) < 0.001 else picture


def load_inside(path: str) -> torch.Tensor:
    """As `load`, for other callers."""
    return work(torch.frombuffer(bytearray(Path(path).read_bytes()), dtype=torch.uint8).reshape(1, SIDE, SIDE))


def augment(picture: torch.Tensor) -> torch.Tensor:
    """A flip and a little noise."""
    return (picture.flip(2) if random.random() < 0.5 else picture) + 0.01 * torch.randn(picture.shape)


@dataclass
class Sample:
    """No type that a cache knows."""

    picture: torch.Tensor
    label: int


def write_files(folder: Path, count: int) -> list[str]:
    """Files with other bytes each."""
    folder.mkdir(exist_ok=True)
    names = []
    for place in range(count):
        path = folder / f"{place:03d}.raw"
        if not path.exists():
            path.write_bytes(bytes((place * 37 + i * i) % 251 for i in range(SIDE * SIDE)))
        names.append(str(path))
    return names


class Files(Dataset):
    """The commonest: a function that reads a file, then chance."""

    def __init__(self, files: list[str]) -> None:
        self.files = files
        self.labels = [place % 3 for place in range(len(files))]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int):
        return augment(load(self.files[index])), self.labels[index]


class ByName(Files):
    """The file is given by name."""

    def __getitem__(self, index: int):
        return augment(load(path=self.files[index])), self.labels[index]


class InFolder(Files):
    """A folder and names in it."""

    def __init__(self, files: list[str]) -> None:
        super().__init__(files)
        self.root = Path(files[0]).parent
        self.names = [Path(name).name for name in files]
        del self.files

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int):
        return augment(load_from(self.root, self.names[index])), self.labels[index]


def load_from(folder: Path, name: str) -> torch.Tensor:
    """A picture by folder and name."""
    return work(torch.frombuffer(bytearray((folder / name).read_bytes()), dtype=torch.uint8).reshape(1, SIDE, SIDE))


class Masked(Files):
    """What a call names is not all that it reads."""

    def __getitem__(self, index: int):
        return augment(load_masked(self.files[index])), self.labels[index]


def load_masked(path: str) -> torch.Tensor:
    """A picture under the mask that belongs to it."""
    return load(path) * len(Path(path + ".mask").read_bytes())


class NoChance(Files):
    """Every item is the same each time."""

    def __getitem__(self, index: int):
        return load(self.files[index]), self.labels[index]


class Method(Files):
    """What repeats is a method, known by the index; the data set says how it is read."""

    def __init__(self, files: list[str], power: int = 2) -> None:
        super().__init__(files)
        self.power = power

    def picture(self, index: int) -> torch.Tensor:
        """Reads the file by itself."""
        data = bytearray(Path(self.files[index]).read_bytes())
        return work(torch.frombuffer(data, dtype=torch.uint8).reshape(1, SIDE, SIDE)) ** self.power

    def __getitem__(self, index: int):
        return augment(self.picture(index)), self.labels[index]


def pixels(index: int) -> torch.Tensor:
    """Cheap to make, and no two alike."""
    return torch.arange(SIDE * SIDE).reshape(1, SIDE, SIDE) * (index + 1) % 251


class ByIndex(Method):
    """Whole items repeat, and no file is named in a call."""

    def __getitem__(self, index: int):
        return self.picture(index), self.labels[index]


class Held(Files):
    """The function is held in an attribute, as an `ImageFolder` holds its loader."""

    def __init__(self, files: list[str]) -> None:
        super().__init__(files)
        self.loader = load

    def __getitem__(self, index: int):
        return augment(self.loader(self.files[index])), self.labels[index]


class RareFlip(Files):
    """A draw inside what would be cached; its result hardly ever changes."""

    def __getitem__(self, index: int):
        return noisy_load(self.files[index]), self.labels[index]


class AroundLoad(Files):
    """The same draw around a function that does not draw."""

    def __getitem__(self, index: int):
        return flipped_now_and_then(self.files[index]), self.labels[index]


def flipped_now_and_then(path: str) -> torch.Tensor:
    """Once in a thousand times."""
    picture = load(path)
    return picture.flip(1) if torch.rand(()) < 0.001 else picture


class Inline(Files):
    """All in one piece: chance is not to be parted from what repeats."""

    def __getitem__(self, index: int):
        data = bytearray(Path(self.files[index]).read_bytes())
        x = work(torch.frombuffer(data, dtype=torch.uint8).reshape(1, SIDE, SIDE) + random.random())
        return x, self.labels[index]


class OwnGenerator(Method):
    """Draws from a generator of its own in the midst of its work."""

    def __init__(self, files: list[str]) -> None:
        super().__init__(files)
        self.generator = torch.Generator().manual_seed(1)

    def picture(self, index: int) -> torch.Tensor:
        """Flipped for every fifth draw or so."""
        picture = work(pixels(index))
        return picture.flip(1) if torch.rand((), generator=self.generator) < 0.2 else picture


class Secret(Method):
    """Draws what no seed tells."""

    def picture(self, index: int) -> torch.Tensor:
        """Flipped half the time."""
        picture = work(pixels(index))
        return picture.flip(1) if secrets.randbelow(2) else picture


class SecretAround(Method):
    """Draws what no seed tells, after what repeats."""

    def __getitem__(self, index: int):
        picture = self.picture(index)
        return (picture.flip(1) if secrets.randbelow(2) else picture), self.labels[index]


class Clock(Method):
    """Depends on the time."""

    def picture(self, index: int) -> torch.Tensor:
        """Brighter from millisecond to millisecond."""
        return work(pixels(index)) + int(time.time() * 1e3) % 7


class Counter(Method):
    """Depends on how many were read before."""

    count = 0

    def picture(self, index: int) -> torch.Tensor:
        """Brighter for every third."""
        self.count += 1
        return work(pixels(index)) + self.count % 3


class Epoch(Method):
    """Depends on what the training loop sets between epochs."""

    epoch = 0

    def __init__(self, files: list[str]) -> None:
        super().__init__(files)
        self.epoch = 0

    def picture(self, index: int) -> torch.Tensor:
        """Brighter in later epochs."""
        return work(pixels(index)) + self.epoch


class Global(Files):
    """Depends on a global that the training loop may set."""

    def __getitem__(self, index: int):
        return augment(scaled(self.files[index])), self.labels[index]


def scaled(path: str) -> torch.Tensor:
    """A picture times what a global says."""
    return load_inside(path) * FACTOR


class Odd(Files):
    """Its items, and what it calls, are of a type that can't be kept."""

    def __getitem__(self, index: int):
        return as_sample(self.files[index], self.labels[index])


def as_sample(path: str, label: int) -> Sample:
    """A picture and its label in a type of the user's."""
    data = bytearray(Path(path).read_bytes())
    return Sample(work(torch.frombuffer(data, dtype=torch.uint8)), label)


class KeepsAll(Files):
    """Has a cache already."""

    def __init__(self, files: list[str]) -> None:
        super().__init__(files)
        self.kept: dict[int, torch.Tensor] = {}

    def __getitem__(self, index: int):
        if index not in self.kept:
            self.kept[index] = load(self.files[index])
        return augment(self.kept[index]), self.labels[index]


class Cheap(Files):
    """Nothing that would be worth the copy."""

    def __getitem__(self, index: int):
        return self.small(index) + torch.rand(4), self.labels[index]

    def small(self, index: int) -> torch.Tensor:
        """Four numbers."""
        return torch.full((4,), float(index))
