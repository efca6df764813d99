"""An engine of TensorRT on the first NVIDIA GPU; arrays are copied there and back in each call.

Not run on a GPU yet: the calls are those of the documentation, tried against a recording.

Source: docs.nvidia.com, TensorRT: Python API, `execute_async_v3`; CUDA Python, `cuda.bindings.runtime`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt
from cuda.bindings import runtime as cuda

from suffice.errors import ModelError
from suffice.form.description import Form


class Session:
    """An engine with its context, a stream, and a place in the GPU's memory for each input and output."""

    def __init__(self, folder: Path, form: Form, threads: int) -> None:  # noqa: ARG002 - backends share one signature
        self.logger = tensorrt.Logger(tensorrt.Logger.ERROR)
        self.runtime = tensorrt.Runtime(self.logger)
        self.engine = self.runtime.deserialize_cuda_engine((folder / form.file).read_bytes())
        if self.engine is None:
            raise ModelError(
                f"{form.file} is no engine for this GPU and TensorRT {tensorrt.__version__}",
                hint="`suffice improve` on this machine makes one for it",
            )
        self.context = self.engine.create_execution_context()
        self.inputs = [port.name for port in form.inputs]
        names = [self.engine.get_tensor_name(place) for place in range(self.engine.num_io_tensors)]
        self.outputs = [name for name in names if name not in self.inputs]
        self.precision = form.settings["precision"]
        self.stream = _done(cuda.cudaStreamCreate())
        self.places: dict[str, tuple[int, int]] = {}

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """The outputs.

        Raises:
            ModelError: if a size is out of the bounds that it was compiled for, or CUDA fails.
        """
        to_device, to_host = cuda.cudaMemcpyKind.cudaMemcpyHostToDevice, cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        for name, array in zip(self.inputs, inputs, strict=True):
            if not self.context.set_input_shape(name, array.shape):
                raise ModelError(f"{name}: the engine was not compiled for the shape {array.shape}")
            _done(cuda.cudaMemcpy(self._place(name, array.nbytes), array.ctypes.data, array.nbytes, to_device))
        found = [self._empty(name) for name in self.outputs]
        for name, array in zip(self.outputs, found, strict=True):
            self._place(name, array.nbytes)
        if not self.context.execute_async_v3(self.stream):
            raise ModelError("the engine could not be run: TensorRT's own message is in its output")
        _done(cuda.cudaStreamSynchronize(self.stream))
        for name, array in zip(self.outputs, found, strict=True):
            _done(cuda.cudaMemcpy(array.ctypes.data, self._place(name, array.nbytes), array.nbytes, to_host))
        return [array.astype(np.float32) if array.dtype.kind == "f" else array for array in found]

    def facts(self) -> dict[str, Any]:
        """The version, and the precision that was asked for: it can't be read back."""
        return {"precision": self.precision, "versions": {"tensorrt": tensorrt.__version__}}

    def _empty(self, name: str) -> Any:
        shape = tuple(self.context.get_tensor_shape(name))
        return np.empty(shape, tensorrt.nptype(self.engine.get_tensor_dtype(name)))

    def _place(self, name: str, size: int) -> int:
        """Where a tensor of so many bytes is in the GPU's memory; it grows with the largest."""
        address, held = self.places.get(name, (0, 0))
        if size > held:
            if held:
                _done(cuda.cudaFree(address))
            address, held = _done(cuda.cudaMalloc(size)), size
            self.places[name] = address, held
            self.context.set_tensor_address(name, address)
        return address


def _done(answer: tuple[Any, ...]) -> Any:
    """What a call of CUDA returned beside its error, if it made none."""
    error, *rest = answer
    if int(error):
        raise ModelError(f"CUDA: {error!r}")
    return rest[0] if rest else None
