"""A PIL image that is not there yet, or not needed -> one that becomes the real one as soon as anybody looks at it.

It stands between a loader and the transforms of a picture: if what the first transforms make of it is kept, the file
need not be decoded. It goes along with calls that make one picture of another (`convert`, `resize`); at any other
touch it takes on the attributes and the class of the picture that it stands for.
"""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

OPERATIONS = ("convert", "resize", "transpose", "rotate", "crop", "reduce", "copy")


class Story:
    """How a picture came to be: `steps` calls after the file was opened; `key` is what its outcome is kept under.

    `course` knows what is to come: `follows(story, name, args, kwargs)` says whether a call is the one that is expected
    next, `touched(story)` gives the real picture to whoever looks at it, and `opens_file` says that at first the
    picture is of a class of its own, with a file behind it.
    """

    def __init__(self, key: Any, make: Callable[[], Any], course: Any, steps: int = 0) -> None:
        self.key = key
        self.make = make
        self.course = course
        self.steps = steps
        self.real: Any = None
        self.begun_ns = time.perf_counter_ns()

    def picture(self) -> Any:
        """The real one, made if it was not yet."""
        if self.real is None:
            self.real = self.make()
        return self.real

    def after(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Story:
        """The story of the picture that this call makes."""
        made = Story(self.key, lambda: getattr(self.picture(), name)(*args, **kwargs), self.course, self.steps + 1)
        made.begun_ns = self.begun_ns
        if self.real is not None:  # what goes wrong does so where the user's code expects it
            made.picture()
        return made


def waiting_kind(pictures: Any) -> type:
    """The class of such pictures, derived from `PIL.Image.Image`; it is called with a story."""
    members = {
        "__init__": lambda self, story: object.__setattr__(self, "_story", story),
        "__getattribute__": _look,
        "__setattr__": lambda self, name, value: setattr(become(self), name, value),
        "__eq__": lambda self, other: become(self) == other,
        "__repr__": lambda self: repr(become(self)),
        "__exit__": _close,
        "__hash__": None,  # as PIL's
        "__module__": pictures.Image.__module__,
        "waits": True,
    }
    return type("Image", (pictures.Image,), members)


def become(waiting: Any) -> Any:
    """The picture; from here on it is the real one."""
    kind = type(waiting)
    if "waits" in vars(kind):
        story: Story = object.__getattribute__(waiting, "_story")
        real = story.course.touched(story)
        attributes = object.__getattribute__(waiting, "__dict__")
        attributes.clear()
        attributes.update(real.__dict__)
        object.__setattr__(waiting, "__class__", type(real))
    return waiting


def _look(waiting: Any, name: str) -> Any:
    if name == "_story":
        return object.__getattribute__(waiting, name)
    if name == "__class__":  # asked for by `isinstance` of anything else than an image
        story: Story = object.__getattribute__(waiting, "_story")
        return type(become(waiting)) if story.course.opens_file and not story.steps else type(waiting).__mro__[1]
    if name in OPERATIONS:
        return functools.partial(_operate, waiting, name)
    return getattr(become(waiting), name)


def _operate(waiting: Any, name: str, *args: Any, **kwargs: Any) -> Any:
    kind = type(waiting)
    if "waits" in vars(kind):
        story: Story = waiting._story
        if story.course.follows(story, name, args, kwargs):
            return kind(story.after(name, args, kwargs))
    return getattr(become(waiting), name)(*args, **kwargs)


def _close(waiting: Any, *args: object) -> None:
    """A file that was opened for it is closed; it stays what it stands for."""
    kind = type(waiting)
    real = waiting._story.real if "waits" in vars(kind) else waiting
    if real is not None:
        real.__exit__(*args)
