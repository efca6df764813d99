"""Data sets of pictures in the manner of torchvision, which is not installed here: folders, loaders, transforms."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset


class Compose:
    """As torchvision's."""

    def __init__(self, transforms: list[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, img: Any) -> Any:
        for t in self.transforms:
            img = t(img)
        return img


class ModuleCompose(torch.nn.Module):
    """As that of its second version, which is a module."""

    def __init__(self, transforms: list[Callable[[Any], Any]]) -> None:
        super().__init__()
        self.transforms = transforms

    def forward(self, *inputs: Any) -> Any:
        for transform in self.transforms:
            outputs = transform(*inputs)
            inputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return inputs[0]


class Resize:
    """To so many pixels on each side."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, img: Image.Image) -> Image.Image:
        if not isinstance(img, Image.Image):
            raise TypeError(type(img))
        return img.resize((self.size, self.size), Image.Resampling.BILINEAR)


class RandomCrop(torch.nn.Module):
    """Draws from torch, as all of torchvision."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, img: Image.Image) -> Image.Image:
        left, top = (int(torch.randint(0, side - self.size + 1, ())) for side in img.size)
        return img.crop((left, top, left + self.size, top + self.size))


class RandomFlip:
    """Draws, and hardly ever does anything."""

    def __init__(self, p: float) -> None:
        self.p = p

    def __call__(self, img: Image.Image) -> Image.Image:
        return img.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if torch.rand(()) < self.p else img


class OwnNoise:
    """Draws from a generator of its own."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x + float(self.rng.random())


def to_tensor(img: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(img, dtype=np.float32)).permute(2, 0, 1) / 255


def pil_loader(path: str) -> Image.Image:
    """As torchvision's."""
    with open(path, "rb") as f:  # noqa: PTH123 - as written there
        img = Image.open(f)
        return img.convert("RGB")


def write_pictures(folder: Path, count: int) -> list[str]:
    """JPEG files of some 300 pixels, smooth, no two alike."""
    folder.mkdir(exist_ok=True)
    names = []
    for place in range(count):
        path = folder / f"{place:03d}.jpg"
        if not path.exists():
            rng = np.random.default_rng(place)
            small = Image.fromarray(rng.integers(0, 255, (9, 8, 3), dtype=np.uint8))
            small.resize((320, 288), Image.Resampling.BICUBIC).save(path, quality=90)
        names.append(str(path))
    return names


class ImageFolder(Dataset):
    """As torchvision's: a loader, then transforms."""

    def __init__(self, files: list[str], transform: Any, loader: Callable[[str], Image.Image] = pil_loader) -> None:
        self.samples = [(path, place % 3) for place, path in enumerate(files)]
        self.loader = loader
        self.transform = transform

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        path, target = self.samples[index]
        sample = self.loader(path)
        if self.transform is not None:
            sample = self.transform(sample)
        return sample, target


class Inline(ImageFolder):
    """As people write it who need no `ImageFolder`."""

    def __getitem__(self, index: int) -> tuple[Any, int]:
        path, target = self.samples[index]
        img = Image.open(path).convert("RGB")
        return self.transform(img), target


class InlineWith(ImageFolder):
    """The file is closed, and no object holds the transforms."""

    def __getitem__(self, index: int) -> tuple[Any, int]:
        path, target = self.samples[index]
        with Image.open(path) as img:
            small = img.convert("RGB").resize((40, 40))
        x = to_tensor(small)
        return (x.flip(2) if random.random() < 0.5 else x), target


class LooksBetween(ImageFolder):
    """The size of the picture matters, also where the picture itself is not needed."""

    def __getitem__(self, index: int) -> tuple[Any, int]:
        path, target = self.samples[index]
        img = self.loader(path)
        width = img.size[0]
        return self.transform(img), target + width


class PaintsBetween(ImageFolder):
    """Paints on the picture, now and then, before it is transformed."""

    def __getitem__(self, index: int) -> tuple[Any, int]:
        path, target = self.samples[index]
        img = self.loader(path)
        if random.random() < 0.4:
            img.paste((255, 0, 0), (0, 0, 200, 200))
        return self.transform(img), target


class Tolerant(ImageFolder):
    """Takes the next picture where one can't be read."""

    def __getitem__(self, index: int) -> tuple[Any, int]:
        for step in range(len(self)):
            path, target = self.samples[(index + step) % len(self)]
            try:
                img = Image.open(path).convert("RGB")
            except OSError:
                continue
            return self.transform(img), target
        raise RuntimeError("no picture")
