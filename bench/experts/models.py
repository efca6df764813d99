"""The configurations of a model that people try by hand on a processor: the libraries' own calls, usual settings.

Each way takes a `Given` and a path to write to, and returns how OpenVINO should run it; ONNX Runtime needs no more.
"""

import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path

import nncf
import numpy as np
import openvino as ov
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

nncf.set_log_level(logging.ERROR)
VNNI = {"avx512_vnni", "avx_vnni", "amx_int8"}
BF16 = {"avx512_bf16", "amx_bf16"}
F32 = {"precision": "f32"}


@dataclass
class Given:
    """An exported model, samples to calibrate with ({input: array} of one sample each), and what is known of both."""

    source: Path
    items: list
    attention: bool
    flags: set

    @property
    def graph(self):
        """For OpenVINO."""
        return ov.Core().read_model(str(self.source))

    @property
    def prepared(self):
        """For ONNX Runtime's quantisers, which take most graphs as they are where symbolic shapes can't be prepared."""
        ready = self.source.with_name("ready.onnx")
        try:
            with contextlib.chdir(ready.parent):  # where it fails it leaves files
                quant_pre_process(str(self.source), str(ready))
        except Exception:  # noqa: BLE001 - it fails in several ways
            return str(self.source)
        return str(ready)

    @property
    def per_channel(self):
        """A scale for each channel; 7 bits where sums of 8-bit products overflow."""
        return {"per_channel": True, "weight_type": QuantType.QInt8, "reduce_range": not self.flags & VNNI}


class Reader(CalibrationDataReader):
    """One sample after the other."""

    def __init__(self, items):
        self.left = iter(items)

    def get_next(self):
        """The next one, None behind the last."""
        return next(self.left, None)


def export(module, inputs, names, axes, path):
    """With the older exporter, whose one file all tools read."""
    torch.onnx.export(module, inputs, str(path), input_names=names, dynamic_axes=axes, dynamo=False)


def save(model, path):
    """With weights in full."""
    ov.save_model(model, str(path), compress_to_fp16=False)


def ov_f32(given, path):
    """OpenVINO in float32."""
    save(given.graph, path)
    return F32


def ov_bf16(given, path):
    """OpenVINO in bfloat16."""
    save(given.graph, path)
    return {"precision": "bf16"}


def ov8(given, path):
    """OpenVINO in 8 bits, calibrated by NNCF."""
    kind = {"model_type": nncf.ModelType.TRANSFORMER} if given.attention else {}
    save(nncf.quantize(given.graph, nncf.Dataset(given.items), subset_size=len(given.items), **kind), path)
    return F32


def ov8_static(given, path):
    """The same, for one sample a call."""
    return {**ov8(given, path), "shapes": [list(each.shape) for each in given.items[0].values()]}


def ov_weights8(given, path):
    """OpenVINO with weights of 8 bits."""
    save(nncf.compress_weights(given.graph), path)
    return F32


def ort_fp32(given, path):
    """ONNX Runtime in float32."""
    path.write_bytes(given.source.read_bytes())
    return {}


def ort_dynamic8(given, path):
    """ONNX Runtime in 8 bits, activations scaled in each call."""
    quantize_dynamic(given.prepared, str(path), **given.per_channel)
    return {}


def ort_static8(given, path):
    """ONNX Runtime in 8 bits, calibrated; of a transformer its products alone."""
    only = {"op_types_to_quantize": ["MatMul", "Gemm"]} if given.attention else {}
    settings = {"activation_type": QuantType.QUInt8, **given.per_channel, **only}
    quantize_static(given.prepared, str(path), Reader(given.items), **settings)
    return {}


def ways(given):
    """Those worth a try, by name: the backend, its file, and what makes it."""
    openvino, runtime = ("openvino", "model.xml"), ("onnx_runtime", "model.onnx")
    found = {
        "ov f32": (*openvino, ov_f32),
        "ov8": (*openvino, ov8),
        "ovw8": (*openvino, ov_weights8),
        "ort fp32": (*runtime, ort_fp32),
        "ort dyn8pc": (*runtime, ort_dynamic8),
        "ort st8": (*runtime, ort_static8),
    }
    if given.flags & BF16:
        found["ov bf16"] = (*openvino, ov_bf16)
    if len({np.shape(each) for item in given.items for each in item.values()}) == 1:
        found["ov8-st"] = (*openvino, ov8_static)
    return found
