"""A bundle of machine code is opened where it is trusted, and on processors and versions that it was compiled for."""

from pathlib import Path

import numpy as np
import pytest
import torch

import suffice
from suffice.cli.models import _trust
from suffice.errors import MissingExtraError, ModelError
from suffice.form.backends import open_form
from suffice.form.bundle import flags_here, instructions
from suffice.form.description import Form, Port
from suffice.keep.bundle import require_place, write_bundle
from suffice.measure.model.subject import Subject
from tests.form.test_bundle import searched

PORT = Port(name="x", dtype="float32", shape=("batch", 2))


def bundle_of(place: Path, *, backend: str = "inductor", file: str = "model.pt2", **settings: object) -> Path:
    """A bundle of a file that is no package at all: to be opened is the last thing that happens to it."""
    form = place / "form"
    form.mkdir()
    Form(backend=backend, file=file, inputs=(PORT,), settings=settings).write(form)
    (form / file).write_bytes(b"machine code")
    np.savez(form / "sample.npz", input0=np.zeros((1, 2), np.float32), output000=np.zeros((1, 1), np.float32))
    subject = Subject(
        target="t.py:f", parameters=1, weight_bytes=4, inputs=(PORT,), quality="agreement", samples={"search": 1}
    )
    write_bundle(searched(subject, "inductor"), form, place / "bundle")
    return place / "bundle"


def test_it_needs_trust(tmp_path: Path) -> None:
    """Without it nothing is opened, and how to give it is told; the command line tells it as well."""
    bundle = bundle_of(tmp_path, torch=torch.__version__, instructions=[])
    with pytest.raises(ModelError, match="holds machine code") as refused:
        suffice.load(bundle)
    assert "trust=True" in str(refused.value.hint)
    assert _trust(bundle) == ", trust=True"
    with pytest.raises(RuntimeError):  # trusted, it is opened, and is no package
        suffice.load(bundle, trust=True)


def test_its_hashes_come_before_trust(tmp_path: Path) -> None:
    """Trust in who wrote it is none in who changed it."""
    bundle = bundle_of(tmp_path, torch=torch.__version__, instructions=[])
    (bundle / "model.pt2").write_bytes(b"another code")
    with pytest.raises(ModelError, match="is not the file that was written"):
        suffice.load(bundle, trust=True)


def test_a_processor_without_its_instructions(tmp_path: Path) -> None:
    """It is refused with the instructions that lack, not run until it meets one."""
    bundle = bundle_of(tmp_path, torch=torch.__version__, instructions=[*instructions(flags_here()), "avx1024"])
    with pytest.raises(ModelError, match="processors with avx1024, which this one lacks") as refused:
        suffice.load(bundle, trust=True)
    assert "suffice improve" in str(refused.value.hint)


def test_another_version_of_pytorch(tmp_path: Path) -> None:
    """Both are told, and how to get the one that it was compiled for."""
    bundle = bundle_of(tmp_path, torch="1.0.0+cpu", instructions=[])
    with pytest.raises(ModelError, match=r"compiled for PyTorch 1\.0\.0, found") as refused:
        suffice.load(bundle, trust=True)
    assert "torch==1.0.0" in str(refused.value.hint)


def test_it_may_be_replaced_as_any_bundle(tmp_path: Path) -> None:
    """It is ours, trusted or not."""
    require_place(bundle_of(tmp_path, torch=torch.__version__, instructions=[]))


def test_what_a_compiler_may_use_is_told_from_what_a_kernel_does() -> None:
    """Another host of the same processor may lack the latter; of ARM's flags all are instructions."""
    flags = ["avx512_vnni", "amx_int8", "bmi1", "pni", "fma", "hypervisor", "arat", "md_clear", "tsc_adjust", "sse"]
    assert instructions(flags) == ["amx_int8", "avx512_vnni", "bmi1", "fma", "pni", "sse"]
    assert instructions(["sve", "asimd", "cpuid"]) == ["asimd", "cpuid", "sve"]


@pytest.mark.parametrize(
    ("backend", "package", "says"),
    [("tensorrt", "tensorrt", "pip install tensorrt"), ("neuron", "torch_neuronx", "AWS Neuron documentation")],
)
def test_a_backend_that_is_not_installed(tmp_path: Path, backend: str, package: str, says: str) -> None:
    """Its package and the way to get it, which is no extra of suffice."""
    try:
        __import__(package)
    except ImportError:
        bundle_of(tmp_path, backend=backend, file="model.bin", precision="f32")
        with pytest.raises(MissingExtraError, match=f"{backend} needs {package}") as refused:
            open_form(tmp_path / "form", 1)
        assert says in str(refused.value.hint)
    else:
        pytest.skip(f"{package} is installed here")
