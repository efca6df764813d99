"""A JPEG file that is opened, converted, cropped and resized -> the picture, decoded only as large as it is needed.

Between the opening and the resizing a picture waits: it has size, mode and information of the real one, and is decoded
in full as soon as anything else than converting, cropping, copying or resizing is done with it.
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Box = tuple[float, float, float, float]

MODES = ("L", "RGB", "CMYK")
FACTORS = (8, 4, 2)  # by which libjpeg decodes smaller
NEAREST = 0
END, NEAR_THE_END = b"\xff\xd9", 64
OURS = ("_file", "_cut", "_full")


class Picture:
    """What waiting pictures of one file share: its bytes, from which it is decoded in a size."""

    def __init__(self, opened: Any, data: bytes) -> None:
        self.kind = type(opened)
        self.data = data
        self.size, self.mode = opened.size, opened.mode
        self.info = dict(opened.info)

    def decoded(self, mode: str, factor: int = 1) -> Any:
        """The picture, each side divided by a factor."""
        opened = self.kind(io.BytesIO(self.data))
        if factor > 1:
            opened.draft(None, tuple(side // factor for side in self.size))
        opened.load()
        return opened if opened.mode == mode else opened.convert(mode)


def picture_of(image: Any) -> Picture | None:
    """The file behind an image of PIL's that is a whole JPEG and is not decoded yet, or None."""
    kind = getattr(sys.modules.get("PIL.JpegImagePlugin"), "JpegImageFile", None)
    if type(image) is not kind or len(image.tile) != 1 or image.decoderconfig or image.mode not in MODES:
        return None
    file = image.fp
    try:
        here = file.tell()
        file.seek(0)
        data = file.read()
        file.seek(here)
        if image._exclusive_fp:  # Pillow would close it once it is decoded
            image.fp = io.BytesIO(data)
            image.fp.seek(here)
            file.close()
    except (AttributeError, OSError, ValueError):  # closed, or no file that can be read again
        return None
    # A picture that is cut off fails where it is decoded, which must be where the job expects it.
    return Picture(image, data) if END in data[-NEAR_THE_END:] else None


def waiting_kind(images: Any, when_full: Callable[[], None]) -> type:
    """The class of pictures that wait, derived from `PIL.Image.Image`; `when_full` is told of each that is decoded."""
    plain = images.Image

    def become(image: Any, pixels: Any) -> None:
        for name in OURS:
            image.__dict__.pop(name, None)
        image.__class__ = plain
        image.im = pixels

    def load(image: Any) -> Any:
        full = image._file.decoded(image.mode)
        if image._cut != (0, 0, *image._file.size):
            full = full.crop(image._cut)
        become(image, full.im)
        when_full()
        return image.load()

    def pixels(image: Any) -> Any:
        load(image)
        return image.im

    def __reduce_ex__(image: Any, protocol: Any) -> Any:  # noqa: N807 - as pickling calls it
        load(image)
        return image.__reduce_ex__(protocol)

    def __eq__(image: Any, other: object) -> Any:  # noqa: N807 - as Python calls it
        load(image)
        return image == other

    members = {"load": load, "im": property(pixels, become), "__reduce_ex__": __reduce_ex__, "__eq__": __eq__}
    return type("Image", (plain,), {**members, "__hash__": None, "__module__": plain.__module__})


def wait(kind: type, file: Picture, mode: str, cut: Box) -> Any:
    """A picture of that kind: a part of a file, in a mode."""
    image: Any = object.__new__(kind)
    plain: Any = kind.__mro__[1]
    image.__dict__.update({name: value for name, value in vars(plain()).items() if name != "im"})
    size = (int(cut[2] - cut[0]), int(cut[3] - cut[1]))
    image.__dict__.update(_file=file, _cut=cut, _mode=mode, _size=size, info=dict(file.info))
    return image


def factor_for(part: Box, size: Any, gap: float | None) -> int:
    """The largest factor that leaves both sides of the part as long as those of the size, times the gap; 1 if none."""
    least = min((part[2] - part[0]) / size[0], (part[3] - part[1]) / size[1]) / (gap or 1.0)
    return next((factor for factor in FACTORS if factor <= least), 1)


def shrunk(file: Picture, mode: str, cut: Box, resizing: tuple[Any, ...]) -> Any | None:
    """A part of the file, resized from a smaller decoding; None where that would not be smaller.

    `resizing`: size, filter, box within the part, and `reducing_gap`, as `PIL.Image.Image.resize` takes them.
    """
    size, resample, box, gap = resizing
    part = cut if box is None else (cut[0] + box[0], cut[1] + box[1], cut[0] + box[2], cut[1] + box[3])
    if resample == NEAREST or min(size) < 1 or not (cut[0] <= part[0] < part[2] <= cut[2]):
        return None
    factor = factor_for(part, size, gap) if cut[1] <= part[1] < part[3] <= cut[3] else 1
    if factor == 1:
        return None
    small = file.decoded(mode, factor)
    within = tuple(min(side / factor, most) for side, most in zip(part, [*small.size, *small.size]))
    made = small.resize(tuple(size), resample, within, gap)
    made.info = dict(file.info)
    return made
