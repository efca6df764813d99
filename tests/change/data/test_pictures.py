"""Pictures: what the transforms up to the first random one make of a file is kept, and the file is not decoded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from suffice.agent.rig.job import Refused
from suffice.change.data.keeping.waiting import Story, waiting_kind
from tests.change.data import made_pictures as made
from tests.change.data.conftest import epoch
from tests.change.data.made_pictures import Compose, ModuleCompose, RandomCrop, RandomFlip, Resize, to_tensor


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """24 files."""
    return made.write_pictures(tmp_path / "pictures", 24)


RANDOM = [Resize(72), RandomCrop(64), RandomFlip(0.5), to_tensor]

SPLIT = {
    "v2": (lambda files: made.ImageFolder(files, ModuleCompose(RANDOM)), "pil_loader, 1 of 4 transforms", 24),
    "rare": (
        lambda files: made.ImageFolder(files, Compose([Resize(90), Resize(64), RandomFlip(0.001), to_tensor])),
        "pil_loader, 2 of 4 transforms",
        24,
    ),
    "own generator": (
        lambda files: made.ImageFolder(files, Compose([Resize(64), to_tensor, made.OwnNoise()])),
        "pil_loader, 2 of 3 transforms",
        24,
    ),
    "all": (lambda files: made.ImageFolder(files, Compose([Resize(64), to_tensor])), "ImageFolder.__getitem__", 24),
    "random at once": (lambda files: made.ImageFolder(files, Compose([RandomCrop(64), to_tensor])), "pil_loader", 24),
    "inline": (lambda files: made.Inline(files, Compose(RANDOM)), "PIL.Image.open, 1 of 4 transforms", 24),
    "inline, closed": (lambda files: made.InlineWith(files, None), "PIL.Image.open", 24),
    "tolerant": (lambda files: made.Tolerant(files, Compose(RANDOM)), "PIL.Image.open, 1 of 4 transforms", 24),
}


@pytest.mark.parametrize("name", SPLIT)
def test_the_split_is_before_the_first_random_transform(
    name: str, pictures: list[str], caching: Callable[..., Any]
) -> None:
    """Samples are bitwise the same, and later epochs decode nothing."""
    make, function, entries = SPLIT[name]
    plain = DataLoader(make(pictures), 4, shuffle=True)
    epochs = [epoch(plain, seed) for seed in (1, 2, 3)]
    switch, loader = caching(make(pictures))
    assert switch.facts()["functions"].endswith(function)
    for seed in (1, 2, 3):
        switch.reads(loader)
        assert epoch(loader, seed) == epochs[seed - 1]
    facts = switch.facts()
    assert (facts["entries"], facts["given_up"], facts["bypassed"]) == (entries, None, 0)
    assert facts["hits"] + facts["checked"] >= 48


@pytest.mark.parametrize("kind", [made.LooksBetween, made.PaintsBetween])
def test_a_picture_that_is_looked_at_is_the_real_one(
    kind: Any, pictures: list[str], caching: Callable[..., Any]
) -> None:
    """What a job reads from a picture, or paints on it, before the transforms, is right in every epoch."""
    plain = DataLoader(kind(pictures, Compose(RANDOM)), 4, shuffle=True)
    epochs = [epoch(plain, seed) for seed in (1, 2, 3)]
    switch, loader = caching(kind(pictures, Compose(RANDOM)))
    assert [epoch(loader, seed) for seed in (1, 2, 3)] == epochs
    assert switch.facts()["given_up"] is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # PIL leaves a broken file open
def test_a_broken_file_fails_where_it_did(pictures: list[str], caching: Callable[..., Any]) -> None:
    """The job that expects it around `open` and `convert` meets it there."""
    Path(pictures[5]).write_bytes(Path(pictures[5]).read_bytes()[:2000])
    plain = epoch(DataLoader(made.Tolerant(pictures, Compose(RANDOM)), 4, shuffle=True))
    switch, loader = caching(made.Tolerant(pictures, Compose(RANDOM)))
    assert epoch(loader) == epoch(loader) == plain
    assert switch.facts()["entries"] == 23


def test_other_transforms_end_it(pictures: list[str], caching: Callable[..., Any]) -> None:
    """A transform with another size, or another list of them, is noticed."""
    dataset = made.ImageFolder(pictures, Compose([Resize(72), RandomCrop(64), to_tensor]))
    switch, loader = caching(dataset)
    epoch(loader)
    dataset.transform.transforms[0].size = 96
    switch.reads(loader)
    seen = epoch(loader)
    switch.off()
    assert seen == epoch(loader)
    assert "size" in switch.facts()["given_up"]
    other = made.ImageFolder(pictures, Compose([Resize(72), RandomCrop(64), to_tensor]))
    switch, loader = caching(other)
    epoch(loader)
    other.transform.transforms = [RandomCrop(64), to_tensor]
    seen = epoch(loader)
    switch.off()
    assert seen == epoch(loader)
    assert "others by now" in switch.facts()["given_up"]


def test_off_gives_the_functions_back(pictures: list[str], caching: Callable[..., Any]) -> None:
    """Also the library's."""
    functions = [Image.open, made.pil_loader, Compose.__call__]
    codes = [function.__code__ for function in functions]
    for dataset in (made.Inline(pictures, Compose(RANDOM)), made.ImageFolder(pictures, Compose(RANDOM))):
        switch, _ = caching(dataset)
        assert [function.__code__ for function in functions] != codes
        switch.off()
        assert [function.__code__ for function in functions] == codes


class Whole(made.ImageFolder):
    """What is opened is decoded in a function that is kept itself."""

    def __getitem__(self, index: int) -> tuple[Any, int]:
        x = load_small(self.samples[index][0])
        return x + torch.rand(()), self.samples[index][1]


def load_small(path: str) -> torch.Tensor:
    with Image.open(path) as page:
        return to_tensor(page.convert("RGB").resize((64, 64)))


def test_what_is_opened_within_what_is_kept_is_left_alone(pictures: list[str], caching: Callable[..., Any]) -> None:
    """One of the two, and not both."""
    switch, _ = caching(Whole(pictures, None))
    assert switch.facts()["functions"].endswith("test_pictures.load_small")


def test_two_random_readings_are_no_chain(pictures: list[str], caching: Callable[..., Any]) -> None:
    """A loader that draws is refused."""

    def drawing(path: str) -> Image.Image:
        with Path(path).open("rb") as file:
            return Image.open(file).convert("RGB").rotate(float(torch.rand(())))

    with pytest.raises(Refused, match="draws random numbers"):
        caching(made.ImageFolder(pictures[:2], Compose(RANDOM), drawing))


class Course:
    """Expects one conversion."""

    opens_file = False

    def follows(self, story: Story, name: str, args: tuple, kwargs: dict) -> bool:
        return (story.steps, name, args, kwargs) == (0, "convert", ("L",), {})

    def touched(self, story: Story) -> Any:
        return story.picture()


def waiting() -> tuple[Any, Image.Image, list[int]]:
    """A picture that waits, the real one, and how often it was made."""
    made_of: list[int] = []
    real = Image.frombytes("RGB", (4, 3), bytes(range(36)))
    real.info = {"dpi": (1, 2)}

    def make() -> Image.Image:
        made_of.append(1)
        return real.copy()

    return waiting_kind(Image)(Story(b"", make, Course())), real, made_of


LOOKS: dict[str, Callable[[Any], Any]] = {
    "size": lambda picture: (picture.size, picture.width, picture.mode, picture.info, picture.format),
    "bytes": lambda picture: picture.tobytes(),
    "array": lambda picture: np.asarray(picture).tolist(),
    "pixel": lambda picture: picture.getpixel((1, 1)),
    "bands": lambda picture: [band.tobytes() for band in picture.split()],
    "merged": lambda picture: Image.blend(picture, picture, 0.5).tobytes(),
    "pasted": lambda picture: Image.new("RGB", (9, 9)).paste(picture),
    "equal": lambda picture: picture == picture.copy(),
    "resized": lambda picture: picture.resize((2, 2)).tobytes(),
    "converted": lambda picture: picture.convert("L").tobytes(),
    "converted twice": lambda picture: picture.convert("L").convert("L").getextrema(),
    "otherwise": lambda picture: picture.convert("CMYK").tobytes(),
    "told": lambda picture: repr(picture).split(" at ")[0],
    "state": lambda picture: picture.__getstate__(),
    "kind": lambda picture: (isinstance(picture, Image.Image), isinstance(picture, torch.Tensor)),
    "with": lambda picture: picture.__enter__().__exit__(None, None, None),
    "type": lambda picture: (picture.load() and None, type(picture)),
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_waiting_picture_passes_for_the_real_one(name: str) -> None:
    """Whatever anybody asks of it."""
    picture, real, _ = waiting()
    assert LOOKS[name](picture) == LOOKS[name](real)


def test_a_waiting_picture_is_not_made_in_vain() -> None:
    """As long as only what is expected is asked of it; then once."""
    picture, real, made_of = waiting()
    small = picture.convert("L")
    assert isinstance(small, Image.Image)
    assert made_of == []
    assert small.tobytes() == real.convert("L").tobytes()
    picture.putpixel((0, 0), (9, 9, 9))
    assert picture.getpixel((0, 0)) == (9, 9, 9)
    assert len(made_of) == 1
    assert type(picture) is Image.Image


def test_a_picture_can_be_written_to() -> None:
    """Attributes that are set are set on the real one."""
    picture, real, _ = waiting()
    picture.info = {"a": 1}
    assert (picture.info, picture.size) == ({"a": 1}, real.size)
