"""Pinned batches without a GPU: refused; on one made by hand batches are pinned, and their copies don't wait."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from suffice.agent.rig.job import Refused
from suffice.change.data import pinned_memory
from tests.change.profiles import profile
from tests.change.small_jobs import stack

PLAIN_TO = torch.Tensor.to


class Gpu:
    """Pins by marking, and notes how it is copied to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pinned: list[torch.Tensor] = []
        self.copies: list[tuple[Any, dict[str, Any]]] = []
        monkeypatch.setattr("torch.utils.data._utils.pin_memory.pin_memory", self.pin)
        monkeypatch.setattr(torch.Tensor, "is_pinned", lambda tensor: any(tensor is each for each in self.pinned))
        monkeypatch.setattr(pinned_memory, "COPIES", ("to", "copied_to_gpu"))
        monkeypatch.setattr(torch.Tensor, "copied_to_gpu", self.copied, raising=False)
        self.copied_to_gpu = vars(torch.Tensor)["copied_to_gpu"]

    def copied(self, *_: Any) -> None:
        """In the place of `cuda`, which this torch may lack."""

    def pin(self, batch: Any) -> Any:
        pinned = [tensor.clone() for tensor in batch]
        self.pinned += pinned
        return pinned


def loader() -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.arange(12.0)), batch_size=4)


def switch_of(torch_: Any = torch) -> pinned_memory.PinnedMemory:
    """The switch, as if the weights lay on a GPU."""
    weight = SimpleNamespace(device=torch.device("cuda:0"))
    root = SimpleNamespace(parameters=lambda: [weight])

    def refuse(reason: str) -> None:
        raise Refused(reason)

    job = SimpleNamespace(torch=torch_, roots=lambda: [root], switches={}, refuse=refuse)
    return pinned_memory.prepare(job, {})


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    return Gpu(monkeypatch)


def test_batches_are_pinned_while_it_is_on(gpu: Gpu) -> None:
    """The same numbers in the same order; off, what torch hands out is handed on, and torch is as it was."""
    switch = switch_of()
    seen = []
    for number, (batch,) in enumerate(loader()):
        seen.append((batch.tolist(), any(batch is each for each in gpu.pinned)))
        switch.on() if number == 0 else switch.off()
    assert seen == [([0.0, 1.0, 2.0, 3.0], False), ([4.0, 5.0, 6.0, 7.0], True), ([8.0, 9.0, 10.0, 11.0], False)]
    assert switch.facts() == {"pinned": 1, "copied": 0, "given_up": None}
    assert torch.Tensor.to is PLAIN_TO
    assert "to" not in vars(torch.Tensor)
    assert vars(torch.Tensor)["copied_to_gpu"] == gpu.copied_to_gpu


def test_only_copies_of_what_is_pinned_do_not_wait(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """And only where the script leaves it open; other uses of `to` are what they were."""
    told: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    monkeypatch.setattr(torch.Tensor, "to", lambda _, *args, **kwargs: told.append((args, kwargs)), raising=False)
    switch = switch_of()
    batch, other = torch.ones(2), torch.ones(2)
    gpu.pinned.append(batch)
    copying = switch.copies["to"]
    device = torch.device("cuda:0")
    for args, kwargs in (((device,), {}), (("cuda",), {}), ((0,), {})):
        copying(batch, *args, **kwargs)
        assert told.pop() == (args, {"non_blocking": True})
    for tensor, args, kwargs in (
        (other, (device,), {}),
        (batch, (device,), {"non_blocking": False}),
        (batch, (device, torch.float16), {}),
        (batch, (torch.float16,), {}),
        (batch, ("cpu",), {}),
        (batch, (other,), {}),
        (batch, (), {"device": device}),
    ):
        copying(tensor, *args, **kwargs)
        assert told.pop() == (args, kwargs)
    assert switch.facts()["copied"] == 3


def test_validation_is_left_alone(gpu: Gpu) -> None:
    """And a loader that pins already."""
    switch = switch_of()
    switch.on()
    with torch.no_grad():
        assert next(batch.tolist() for (batch,) in loader()) == [0.0, 1.0, 2.0, 3.0]
    iterator = iter(loader())
    iterator._pin_memory, iterator._next_data = True, lambda: "pinned by the loader"  # type: ignore[attr-defined]
    assert next(iterator) == "pinned by the loader"
    switch.off()
    assert switch.facts()["pinned"] == 0


def test_a_batch_that_can_not_be_pinned_is_handed_on(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more memory may be locked: the job goes on, and nothing more is pinned."""

    def fail(_: Any) -> None:
        raise RuntimeError("no memory to lock")

    monkeypatch.setattr("torch.utils.data._utils.pin_memory.pin_memory", fail)
    switch = switch_of()
    switch.on()
    assert [batch.tolist() for (batch,) in loader()][2] == [8.0, 9.0, 10.0, 11.0]
    switch.off()
    assert switch.facts()["given_up"] == "a batch could not be pinned: RuntimeError: no memory to lock"


def test_without_a_gpu_it_is_refused() -> None:
    """By what was measured, and in the job."""
    with pytest.raises(Refused, match="no GPU"):
        pinned_memory.prepare(stack().job, {})
    assert "no GPU" in pinned_memory.propose(profile())
    assert "no DataLoader" in pinned_memory.propose(profile(device="cuda:0"))
