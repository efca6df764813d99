"""JPEG files decoded at reduced size: near the full one, in training alone, and nowhere else than where it shrinks."""

import pickle
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset

from suffice.agent.rig.job import Job, Refused
from suffice.change.data import batch_gather, reduced_decode, sample_cache
from suffice.change.data.looking.shrinking import factor_for, picture_of
from tests.change.data import made_pictures as made
from tests.change.data.conftest import Only
from tests.change.data.made_pictures import Compose, RandomCrop, RandomFlip, Resize, to_tensor

NEAR = 0.02  # of the range of a pixel, on average


class Training(Only):
    """The job has a model in training."""

    def roots(self) -> list[Any]:
        return [torch.nn.Linear(1, 1)]


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """16 files of 320x288 pixels."""
    return made.write_pictures(tmp_path / "pictures", 16)


@pytest.fixture
def reducing(job: Job) -> Iterator[Callable[..., Any]]:
    """`reducing(loader)`: its switch, on; functions get their code back at the end."""
    switches = []

    def reduce(loader: DataLoader) -> Any:
        switch = reduced_decode.prepare(Training(job, loader), {})
        switches.append(switch)
        switch.on()
        return switch

    yield reduce
    for switch in switches:
        switch.take_out()


def folder(pictures: list[str], *transforms: Any, kind: Any = made.ImageFolder, **options: Any) -> DataLoader:
    return DataLoader(kind(pictures, Compose([*transforms, to_tensor])), 4, **options)


def stacked(loader: DataLoader) -> torch.Tensor:
    torch.manual_seed(1)
    random.seed(1)
    return torch.cat([batch for batch, _ in loader])


SHRINKING = {
    "resize": (made.ImageFolder, [Resize(72)]),
    "then random": (made.ImageFolder, [Resize(72), RandomCrop(64), RandomFlip(0.5)]),
    "cropped before": (made.ImageFolder, [RandomCrop(280), Resize(64)]),
    "inline": (made.Inline, [Resize(72)]),
    "closed": (made.InlineWith, []),
    "looked at": (made.LooksBetween, [Resize(72)]),
}


@pytest.mark.parametrize("name", SHRINKING)
def test_a_smaller_decoding_gives_nearly_the_same(name: str, pictures: list[str], reducing: Callable[..., Any]) -> None:
    """Same shapes and random draws; off, the pixels are bitwise those of before."""
    kind, transforms = SHRINKING[name]
    loader = folder(pictures, *transforms, kind=kind)
    plain = stacked(loader)
    switch = reducing(loader)
    switch.reads(loader)
    small = stacked(loader)
    assert switch.facts() == {"pictures": 16, "reduced": 16, "full": 0}
    assert 0 < (small - plain).abs().mean() < NEAR
    switch.off()
    assert torch.equal(stacked(loader), plain)


def test_as_little_is_decoded_as_is_needed(pictures: list[str]) -> None:
    """Of the 320x288 pixels of a file 80x72 are decoded for 72x72, and the gap that is asked for is left."""
    file = picture_of(Image.open(pictures[0]))
    assert file is not None
    whole = (0, 0, *file.size)
    sizes = {(72, None): 4, (73, None): 2, (36, None): 8, (36, 2.0): 4, (36, 3.0): 2, (145, None): 1, (5, None): 8}
    assert {each: factor_for(whole, (each[0], each[0]), each[1]) for each in sizes} == sizes
    assert {factor: file.decoded("RGB", factor).size for factor in (1, 2, 4, 8)} == {
        1: (320, 288),
        2: (160, 144),
        4: (80, 72),
        8: (40, 36),
    }


def test_evaluation_sees_the_whole_pictures(pictures: list[str], reducing: Callable[..., Any]) -> None:
    """What is read without gradients is bitwise as before, between batches of training as well."""
    training, evaluation = folder(pictures, Resize(72)), folder(pictures, Resize(72))
    plain = stacked(evaluation)
    switch = reducing(training)
    switch.reads(training)
    batches = iter(training)
    next(batches)
    with torch.no_grad():
        switch.reads(evaluation)
    assert torch.equal(stacked(evaluation), plain)
    next(batches)
    assert switch.facts()["reduced"] == 8


def test_forked_workers_hear_the_switch(pictures: list[str], reducing: Callable[..., Any]) -> None:
    """Workers that run already follow it, from the batches on that were not fetched ahead."""
    loader = folder(pictures, Resize(72), num_workers=1, prefetch_factor=1)
    plain = stacked(folder(pictures, Resize(72)))
    switch = reducing(loader)
    switch.reads(loader)
    batches = iter(loader)
    first = next(batches)[0]
    switch.off()
    rest = torch.cat([batch for batch, _ in batches])
    assert not torch.equal(first, plain[:4])
    assert torch.equal(rest[-4:], plain[-4:])
    assert switch.block > switch.warm_up > 1


OTHERWISE = {
    "read": np.asarray,
    "bytes": lambda image: np.frombuffer(image.tobytes(), np.uint8),
    "pickled": lambda image: np.asarray(pickle.loads(pickle.dumps(image))),  # noqa: S301 - our own
    "turned": lambda image: np.asarray(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    "cropped": lambda image: np.asarray(image.crop((3, 5, 90, 80))),
    "cropped beyond": lambda image: np.asarray(image.crop((-3, 5, 90, 80)).resize((20, 20))),
    "hardly smaller": lambda image: np.asarray(image.resize((200, 180))),
    "nearest": lambda image: np.asarray(image.resize((30, 30), Image.Resampling.NEAREST)),
    "grey for a while": lambda image: np.asarray(image.convert("L").convert("RGB").resize((200, 200))),
    "split": lambda image: np.asarray(image.split()[1]),
    "painted": lambda image: (image.paste((9, 8, 7), (0, 0, 50, 50)), np.asarray(image))[1],
    "point": lambda image: np.asarray(image.getpixel((7, 9))),
    "copied": lambda image: np.asarray(image.copy()),
    "told": lambda image: np.asarray([*image.size, image.width, image.mode == "RGB", len(image.getbands())]),
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_a_picture_that_is_not_shrunk_is_the_real_one(
    name: str, pictures: list[str], reducing: Callable[..., Any]
) -> None:
    """Whatever else is done with it gives the bits of before, on a plain image of Pillow's."""
    plain = OTHERWISE[name](made.pil_loader(pictures[0]))
    switch = reducing(folder(pictures, Resize(72)))
    switch.local.active = True
    image = made.pil_loader(pictures[0])
    assert isinstance(image, Image.Image)
    assert switch.facts()["pictures"] == 1
    assert np.array_equal(OTHERWISE[name](image), plain)
    assert switch.facts()["reduced"] == 0
    assert (image == made.pil_loader(pictures[0])) is (name != "painted")
    assert type(image) is Image.Image


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # PIL leaves a broken file open
def test_a_broken_file_fails_where_it_did(pictures: list[str], reducing: Callable[..., Any]) -> None:
    """The job that expects it around `open` and `convert` meets it there."""
    Path(pictures[5]).write_bytes(Path(pictures[5]).read_bytes()[:2000])
    loader = folder(pictures, Resize(72), kind=made.Tolerant)
    plain = stacked(loader)
    switch = reducing(loader)
    switch.reads(loader)
    assert (stacked(loader) - plain).abs().mean() < NEAR
    assert switch.facts()["reduced"] == 16


def test_off_gives_the_functions_back(pictures: list[str], reducing: Callable[..., Any]) -> None:
    """Pillow's and torch's."""
    functions = [Image.Image.convert, Image.Image.copy, Image.Image.crop, Image.Image.resize]
    codes = [function.__code__ for function in functions]
    switch = reducing(folder(pictures, Resize(72)))
    assert all(function.__code__ is not code for function, code in zip(functions, codes, strict=True))
    switch.off()
    assert [function.__code__ for function in functions] == codes


class Stream(IterableDataset):
    """Has no samples by number."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(4))


def as_png(pictures: list[str]) -> list[str]:
    names = [name.replace(".jpg", ".png") for name in pictures]
    for old, new in zip(pictures, names, strict=True):
        Image.open(old).save(new)
    return names


REFUSED = [
    (lambda files: folder(as_png(files), Resize(72)), "none is a JPEG file"),
    (lambda files: folder(files, Resize(200)), "shrinks none of its pictures to half"),
    (lambda files: folder(files, RandomCrop(64)), "shrinks none of its pictures to half"),
    (lambda _: DataLoader(Stream()), "iterable data set"),
    (lambda files: folder(files, num_workers=1, multiprocessing_context="spawn"), "started by spawn"),
    (lambda files: folder([*files[:3], "gone.jpg"], Resize(72)), "FileNotFoundError"),
]


@pytest.mark.parametrize(("make", "reason"), REFUSED, ids=[str(place) for place in range(len(REFUSED))])
def test_it_is_refused_with_the_reason(make: Any, reason: str, pictures: list[str], job: Job) -> None:
    """Where nothing could be decoded smaller, and nothing is left changed."""
    code = Image.Image.convert.__code__
    with pytest.raises(Refused, match=reason):
        reduced_decode.prepare(Training(job, make(pictures)), {})
    assert Image.Image.convert.__code__ is code


def test_kept_samples_and_smaller_ones_do_not_meet(pictures: list[str], job: Job) -> None:
    """What was kept would be served as smaller, or compared with it: whichever comes second is refused."""
    loader = folder(pictures, Resize(72))
    only = Training(job, loader)
    only.switches["sample-cache"] = object()
    with pytest.raises(Refused, match="keeps the samples already"):
        reduced_decode.prepare(only, {})
    only.switches = {"reduced-decode": object()}
    for other in (sample_cache, batch_gather):
        with pytest.raises(Refused, match="would be kept"):
            other.prepare(only, {})
