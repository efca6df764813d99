"""CUDA Python's calls over the machine's own memory: each returns its error first; a copy beyond a place fails."""

import ctypes
from types import SimpleNamespace

cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)  # noqa: N816 - CUDA's own names
PLACES = {}
INVALID = 1


def cudaMalloc(size):  # noqa: N802
    """A place in memory."""
    place = ctypes.create_string_buffer(size)
    PLACES[ctypes.addressof(place)] = place
    return 0, ctypes.addressof(place)


def cudaFree(address):  # noqa: N802
    """It is gone."""
    return (0 if PLACES.pop(address, None) is not None else INVALID,)


def cudaMemcpy(to, begin, size, kind):  # noqa: N802
    """To a place, or from one."""
    place = PLACES.get(to if kind == cudaMemcpyKind.cudaMemcpyHostToDevice else begin)
    if place is None or size > len(place):
        return (INVALID,)
    ctypes.memmove(to, begin, size)
    return (0,)


def cudaStreamCreate():  # noqa: N802
    """A stream."""
    return 0, 7


def cudaStreamSynchronize(stream):  # noqa: N802
    """Until it has ended."""
    return (0 if stream == 7 else INVALID,)


def read(address, size):
    """What a kernel reads."""
    return PLACES[address].raw[:size]


def write(address, data):
    """What a kernel writes."""
    ctypes.memmove(address, data, len(data))
