"""What some rank can't change no rank changes: the ranks agree through the store where they met."""

import pytest
import torch
from torch.distributed import HashStore, distributed_c10d

from suffice.agent.rig import agreement
from suffice.agent.rig.agreement import KEY, refused_by_any

IDS = ["bucket-size", "static-graph"]

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no ranks")


@pytest.fixture
def store(monkeypatch):
    """Two ranks have met here; this is the first of them."""
    found = HashStore()
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(distributed_c10d, "_get_default_store", lambda: found)
    monkeypatch.setattr(agreement, "PATIENCE_S", 0.2)
    return found


def test_the_refusals_of_all_ranks_are_put_together(store):
    """With the number of the rank; where several refuse the same, the first one's reason is told."""
    store.set(KEY.format(1), '{"bucket-size": "too small", "static-graph": "a branch"}')
    assert refused_by_any(torch, IDS, {"static-graph": "another"}) == {
        "bucket-size": "on rank 1: too small",
        "static-graph": "on rank 0: another",
    }


def test_without_an_answer_nobody_changes(store):
    """And a rank that comes later obeys that, though it has seen the answers of all by then."""
    refused = refused_by_any(torch, IDS, {})
    assert set(refused) == set(IDS)
    assert "not every rank" in refused["bucket-size"]
    store.set(KEY.format(1), "{}")
    assert refused_by_any(torch, IDS, {}) == refused


def test_ranks_that_have_not_met_change_nothing(store, monkeypatch):
    """There is no store to agree by."""

    def not_met():
        raise ValueError("Default process group has not been initialized")

    monkeypatch.setattr(distributed_c10d, "_get_default_store", not_met)
    assert "have not met" in refused_by_any(torch, IDS, {})["static-graph"]


def test_one_rank_asks_nobody(store, monkeypatch):
    """Its own refusals are all."""
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert refused_by_any(torch, IDS, {"static-graph": "a branch"}) == {"static-graph": "a branch"}
