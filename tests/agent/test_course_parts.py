"""Fingerprints tell bits apart and nothing else; errors of tensors are relative; a root's first call can be changed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from suffice.agent.rig.course import reference
from suffice.agent.rig.course.fingerprints import fingerprint, row_fingerprints
from suffice.agent.rig.course.inputs import Inputs


def made(*shape: int) -> torch.Tensor:
    """Numbers that are the same each time."""
    return torch.arange(math.prod(shape), dtype=torch.float32).reshape(shape)


IMAGES = made(2, 3, 4, 4)


class Own:
    """What some libraries hand to a model: an object that holds tensors."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.nodes = tensor
        self._cached = object()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (IMAGES, IMAGES.clone(memory_format=torch.channels_last)),
        (IMAGES, IMAGES.repeat_interleave(2, dim=3)[..., ::2]),
        ({"a": IMAGES, "b": [1, "x", None]}, {"a": IMAGES.clone(), "b": (1, "x", None)}),
        (Own(IMAGES), Own(IMAGES.clone())),
        (IMAGES.clone().requires_grad_(), (2 * IMAGES).requires_grad_()),
        (torch.tensor(math.nan), torch.tensor(math.nan)),
        (torch.eye(3).to_sparse(), torch.eye(3).to_sparse()),
        (torch.tensor(1 + 2j).conj(), torch.tensor(1 - 2j)),
        (torch.empty(0, 3), torch.empty(0, 3)),
    ],
)
def test_equal_values_have_equal_fingerprints(one: Any, other: Any) -> None:
    """In whatever order they lie in memory; what the model computed counts by its shape alone."""
    assert fingerprint(torch, one) == fingerprint(torch, other)


@pytest.mark.parametrize(
    "other",
    [IMAGES.double(), IMAGES.flatten(), -IMAGES, IMAGES[:1], [IMAGES], None, Own(IMAGES), IMAGES.bfloat16(), 3.0, "x"],
)
def test_unlike_things_have_unlike_fingerprints(other: Any) -> None:
    """Another type, shape, sign or container tells."""
    assert fingerprint(torch, IMAGES) != fingerprint(torch, other)


@given(st.integers(0, IMAGES.numel() - 1))
def test_one_changed_number_is_told(place: int) -> None:
    """Wherever it is, in a tensor and in an object."""
    changed = IMAGES.clone()
    changed.view(-1)[place] += 1e-3 * (1 + place)
    assert fingerprint(torch, changed) != fingerprint(torch, IMAGES)
    assert fingerprint(torch, Own(changed)) != fingerprint(torch, Own(IMAGES))


def test_a_batch_is_taken_apart_by_samples() -> None:
    """Each row of tensors and lists is one; a sample has the same fingerprint at another place in another batch."""
    first = row_fingerprints(torch, [IMAGES, torch.tensor([5, 6]), ["a", "b"]], 2, 64)
    second = row_fingerprints(torch, [IMAGES.flip(0), torch.tensor([6, 5]), ["b", "a"]], 2, 64)
    assert first is not None
    assert second == first[::-1]
    assert row_fingerprints(torch, {"x": IMAGES}, 2, 1) == row_fingerprints(torch, {"x": IMAGES[:1]}, 1, 9)
    assert row_fingerprints(torch, IMAGES, 7, 64) is None
    assert row_fingerprints(torch, "text", 4, 64) is None


TENSOR = torch.tensor([3.0, 4.0])


@pytest.mark.parametrize(
    ("mine", "theirs", "error"),
    [
        (TENSOR, TENSOR, 0.0),
        (torch.zeros(2), TENSOR, 1.0),
        (None, TENSOR, 1.0),
        (TENSOR * 1.5, TENSOR, 0.5),
        (TENSOR, torch.zeros(2), math.inf),
        (TENSOR, None, math.inf),
        (TENSOR.double(), TENSOR, math.inf),
        (made(3), TENSOR, math.inf),
        (torch.tensor([3.0, math.nan]), TENSOR, math.inf),
        (torch.tensor([3.0, math.nan]), torch.tensor([3.0, math.nan]), 0.0),
        (torch.tensor([3.0, math.inf]), torch.tensor([3.0, math.inf]), 0.0),
        (torch.tensor(1001), torch.tensor(1000), 1.0),
        (torch.tensor([True, False]), torch.tensor([True, False]), 0.0),
        (torch.tensor([True, True]), torch.tensor([True, False]), 1.0),
    ],
)
def test_errors_are_relative(mine: Any, theirs: Any, error: float) -> None:
    """To the baseline's; what counts is wrong altogether where it is wrong, and what can't be compared is infinite."""
    assert reference.error(torch, mine, theirs) == pytest.approx(error)


@settings(deadline=None)
@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1.0))
def test_the_unit_of_a_tensor_does_not_matter(unit: float, error: float) -> None:
    """Numbers in another unit have the same error."""
    theirs = TENSOR.double()
    assert reference.error(torch, theirs * (1 + error) * unit, theirs * unit) == pytest.approx(error, rel=1e-6)


def test_a_gradient_that_is_all_rounding_is_held_against_the_others() -> None:
    """A bias before a batch norm has a gradient of about 0: its relative error says nothing."""
    pairs = {"weight": (TENSOR, TENSOR), "bias": (torch.tensor([3e-9]), torch.tensor([-1e-9]))}
    assert reference.errors(torch, pairs, {"weight", "bias"})["bias"] < 1e-6
    assert reference.errors(torch, pairs, set())["bias"] == pytest.approx(4.0)


def test_what_vanished_is_named() -> None:
    """Zero or missing where the baseline's is not, unless that one is a trifle."""
    tiny = torch.tensor([1e-9])
    pairs = {
        "zero": (torch.zeros(2), TENSOR),
        "missing": (None, TENSOR),
        "there": (TENSOR, TENSOR),
        "trifle": (torch.zeros(1), tiny),
        "never": (None, None),
    }
    assert reference.vanished(torch, pairs) == ["zero", "missing"]


def test_tensors_meet_by_name_or_by_place() -> None:
    """Wrappers' prefixes are no part of a name; where names differ but their number does not, places count."""
    assert reference.plain_name("_orig_mod.module.a.weight") == "a.weight"
    assert reference.plain_name("module._orig_mod.a.weight") == "a.weight"
    assert reference.paired({"a": 1, "b": 2}, {"b": 4, "a": 3}) == {"a": (1, 3), "b": (2, 4)}
    assert reference.paired({"x": 1, "y": 2}, {"a": 3, "b": 4}) == {"a": (1, 3), "b": (2, 4)}
    assert reference.paired({"a": 1}, {"a": 3, "b": 4}) == {"a": (1, 3), "b": (None, 4)}


def test_a_reference_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Also a gradient that is missing; a change of type is told."""
    path = str(tmp_path / "reference.pt")
    reference.write(torch, path, {"gradients": {"a": TENSOR, "b": None}, "state": {"a": TENSOR}})
    found = reference.read(torch, path)
    assert torch.equal(found["gradients"]["a"], TENSOR)
    assert found["gradients"]["b"] is None
    (told,) = reference.type_changes(reference.paired({"a": TENSOR.bfloat16()}, found["state"]))
    assert told == "in the state there is bfloat16 in place of float32: a"


@pytest.fixture
def trained() -> Iterator[SimpleNamespace]:
    """A model that an optimiser holds, and the inputs that are watched of it."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    heard: list[str] = []
    inputs = Inputs(torch, lambda method: method, lambda: heard.append("first"))
    inputs.look()
    yield SimpleNamespace(model=model, optimiser=optimiser, inputs=inputs, heard=heard)
    inputs.remove()


def test_what_is_put_in_before_the_first_call_is_called_then(trained: SimpleNamespace) -> None:
    """A job without a loader begins within its first forward pass, and that one must already be changed."""
    model, calls = trained.model, []

    def put_in() -> None:
        model._compiled_call_impl.inner = lambda *args: calls.append(args) or model._call_impl(*args)

    trained.inputs.before_first = put_in
    model(torch.ones(1, 2))
    assert len(calls) == 1
    assert trained.heard == ["first"]


def test_the_outermost_call_counts_and_nothing_stays_below_it(trained: SimpleNamespace) -> None:
    """What `torch.compile` looks at is as it was; a call without gradients is no training."""
    with torch.no_grad():
        trained.model(torch.ones(1, 2))
    assert trained.inputs.take() == ""
    trained.model(torch.ones(1, 2))
    once = trained.inputs.take()
    assert once
    assert all(child._compiled_call_impl is None for child in trained.model)
    trained.model(torch.ones(1, 2))
    trained.model(torch.ones(1, 2))
    assert trained.inputs.take() not in {once, ""}


def test_a_wrapper_that_was_replaced_is_put_on_again(trained: SimpleNamespace) -> None:
    """A technique that takes the place is wrapped in its turn."""
    trained.model(torch.ones(1, 2))
    trained.inputs.take()
    trained.model._compiled_call_impl = trained.model._call_impl
    trained.inputs.looks_left = 0
    trained.inputs.look_after_step()
    trained.model(torch.ones(1, 2))
    assert trained.inputs.take()
