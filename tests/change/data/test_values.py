"""Values come back with the same bits, types and strides, and in memory of their own."""

import random
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from suffice.change.data.keeping.values import Draft, NotKeepable, Reader, bits

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]
DTYPES += [torch.complex64, torch.int16]


def returned(value: Any) -> Any:
    """The value, after it was taken apart and put together again from other memory."""
    draft = Draft(torch, value)
    buffer = bytearray(256 + draft.size)
    draft.write(buffer, 64)
    return Reader(torch).read(draft.text, buffer, 64)


PLAIN = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.none(), st.text(), st.binary(max_size=200), st.complex_numbers()
)
NESTED = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.one_of(st.text(), st.integers()), inner, max_size=4),
    ),
    max_leaves=10,
)


@given(NESTED)
def test_nested_plain_values_come_back(value: Any) -> None:
    """Whatever is nested in whatever: the same, down to the sign of zero and the bits of NaN's kin."""
    back = returned(value)
    assert repr(back) == repr(value)
    assert type(back) is type(value)


@given(
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 4), max_size=4),
    st.randoms(use_true_random=False),
)
def test_tensors_come_back_with_bits_and_strides(dtype: torch.dtype, shape: list[int], chance: random.Random) -> None:
    """Of any type and shape, permuted or not; and no later writing reaches the kept one."""
    order = list(range(len(shape)))
    chance.shuffle(order)
    count = int(np.prod(shape))
    data = torch.tensor([chance.randrange(256) for _ in range(count * 16)], dtype=torch.uint8)
    tensor = (data[: count * dtype.itemsize] % 2 if dtype is torch.bool else data[: count * dtype.itemsize]).view(dtype)
    tensor = tensor.reshape(shape).permute(order)
    back = returned(tensor)
    assert (back.dtype, back.shape, back.stride()) == (tensor.dtype, tensor.shape, tensor.stride())
    assert bits(torch, back) == bits(torch, tensor)


@given(st.sampled_from(["f4", "<i8", ">u2", "?", "c16", "S5", "<U3", "M8[s]"]), st.lists(st.integers(0, 3), max_size=3))
def test_arrays_come_back(dtype: str, shape: list[int]) -> None:
    """Of any type of number or text, in C's order and Fortran's, writable or not."""
    array = np.arange(int(np.prod(shape))).astype(dtype).reshape(shape)
    for each in (array, np.asfortranarray(array)):
        each.flags.writeable = False
        back = returned(each)
        assert (back.dtype, back.shape, back.flags.writeable) == (each.dtype, each.shape, False)
        assert back.tobytes() == each.tobytes()
        assert back.flags.f_contiguous == each.flags.f_contiguous
    assert type(returned(np.float32(3))) is np.float32


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "CMYK", "I", "F", "I;16", "LA"])
def test_pictures_come_back(mode: str) -> None:
    """Pixels, mode and what the file said beside them."""
    picture = (
        Image.frombytes("L", (5, 3), bytes(range(15))).convert(mode) if mode != "I;16" else Image.new(mode, (5, 3), 9)
    )
    picture.info = {"dpi": (72, 72), "exif": b"x" * 70}
    back = returned(picture)
    assert (back.mode, back.size, back.info) == (picture.mode, picture.size, picture.info)
    assert back.tobytes() == picture.tobytes()


def test_a_view_with_small_gaps_keeps_its_strides() -> None:
    """A crop goes on lying as it lay, for other strides may be added up in another order."""
    crop = torch.arange(100.0).reshape(10, 10)[:, 1:8]
    back = returned((crop, 1))[0]
    assert torch.equal(back, crop)
    assert back.stride() == crop.stride()


Named = namedtuple("Named", "a")  # noqa: PYI024 - as users write it
SHARED = torch.ones(3)
REFUSED = {
    "object": object(),
    "named tuple": Named(1),
    "set": {1},
    "graph": torch.ones(2, requires_grad=True),
    "sparse": torch.eye(2).to_sparse(),
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "twice": (SHARED, SHARED[1:]),
    "twice in numpy": [SHARED, SHARED.numpy()],
    "list twice": ([SHARED.tolist()] * 2),
    "large": torch.ones(1000)[::100],
    "objects": np.array([object()]),
    "record": np.zeros(2, dtype=[("a", "i4")]),
    "backwards": np.arange(4)[::-1],
    "palette": Image.new("P", (2, 2)),
    "path": Path,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_come_back_otherwise_is_refused(name: str) -> None:
    """Unknown types, parts of graphs, and two names of one memory."""
    with pytest.raises(NotKeepable):
        Draft(torch, REFUSED[name])


def test_bits_tell_values_apart() -> None:
    """Type, shape, strides and each bit count."""
    values = [
        1,
        1.0,
        True,
        "1",
        (1,),
        [1],
        torch.ones(1),
        torch.ones(1, 1),
        np.ones(1),
        torch.tensor([-0.0]),
        0.0,
        -0.0,
    ]
    assert len({bits(torch, value) for value in values}) == len(values)
