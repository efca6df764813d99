"""The store: shared by forks, kept from process to process, bounded; nothing damaged or foreign is ever read."""

from pathlib import Path
from typing import Any

import pytest
import torch

from suffice.change.data.keeping.store import MISSING, SLOT, SLOT_BYTES, TABLE_AT, Store
from suffice.change.data.keeping.values import Draft, Reader
from suffice.change.data.looking import apart

OURS = b"x" * 32
MIB = 1 << 20


def key(place: int) -> bytes:
    return place.to_bytes(4, "little") * 4


def value(place: int) -> dict[str, Any]:
    return {"picture": torch.full((40, 5), float(place)), "label": place}


def keep(store: Store, place: int) -> bool:
    return store.put(key(place), Draft(torch, value(place)))


def kept(store: Store, place: int) -> bool:
    got = store.get(key(place), Reader(torch))
    return got is not MISSING and torch.equal(got["picture"], value(place)["picture"]) and got["label"] == place


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """One in a file, and one in memory."""
    return Store(str(tmp_path / "s") if request.param == "file" else None, OURS, 1024, 4 * MIB)


def test_forks_fill_one_store(store: Store) -> None:
    """Several processes at once, some of them for the same keys; every one sees all of it, also who came before."""
    children = [
        apart.Apart(torch, lambda n=n: [keep(store, i) for i in range(n * 40, n * 40 + 80)], 60.0) for n in range(4)
    ]
    assert all(all(child.answer()) for child in children)
    assert store.entries == 200
    assert all(kept(store, i) for i in range(200))
    assert not kept(store, 200)


def test_a_later_process_finds_what_was_kept(tmp_path: Path) -> None:
    """The same file, opened again; also where a little less or much less room is wanted by now."""
    path = str(tmp_path / "s")
    first = Store(path, OURS, 1024, 4 * MIB)
    assert keep(first, 1)
    for slots, capacity in ((1024, 4 * MIB), (2048, int(4.5 * MIB)), (512, MIB)):
        again = Store(path, OURS, slots, capacity)
        assert (again.slots, again.capacity) == (1024, 4 * MIB)
        assert kept(again, 1)
    assert not kept(Store(path, OURS, 1024, 40 * MIB), 1), "too small a file would hold too little"


def damaged(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "empty":
        data.clear()
    elif how == "cut":
        del data[len(data) // 2 :]
    elif how == "text":
        data[:] = b"no cache at all" * 1000
    elif how == "head":
        data[5] ^= 1
    elif how == "level":
        data[64:72] = b"\xff" * 8
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["empty", "cut", "text", "head", "level"])
def test_a_damaged_file_is_made_anew(tmp_path: Path, how: str) -> None:
    """Whatever stands in the file, it is either read rightly or not at all."""
    path = tmp_path / "s"
    keep(Store(str(path), OURS, 1024, MIB), 1)
    damaged(path, how)
    again = Store(str(path), OURS, 1024, MIB)
    assert again.entries == 0
    assert keep(again, 2)
    assert kept(again, 2)
    assert not kept(again, 1)


def test_a_foreign_file_is_made_anew(tmp_path: Path) -> None:
    """Its keys mean something else."""
    path = str(tmp_path / "s")
    keep(Store(path, b"y" * 32, 1024, MIB), 1)
    assert Store(path, OURS, 1024, MIB).entries == 0


def test_a_flipped_bit_is_a_miss(tmp_path: Path) -> None:
    """Each entry is checked when a process first reads it."""
    path = tmp_path / "s"
    store = Store(str(path), OURS, 64, MIB)
    assert all(keep(store, i) for i in (1, 2))
    data = bytearray(path.read_bytes())
    slots = [SLOT.unpack_from(data, TABLE_AT + i * SLOT_BYTES) for i in range(64)]
    offset = next(each[1] + each[2] + each[3] for each in slots if each[0] == key(1)) - 3
    data[offset] ^= 4
    path.write_bytes(data)
    again = Store(str(path), OURS, 64, MIB)
    assert not kept(again, 1)
    assert kept(again, 2)


def test_a_table_that_points_outside_is_a_miss(tmp_path: Path) -> None:
    """No offset is followed unseen."""
    path = tmp_path / "s"
    keep(Store(str(path), OURS, 64, MIB), 1)
    data = bytearray(path.read_bytes())
    for slot in range(64):
        at = TABLE_AT + slot * SLOT_BYTES
        found, _, *rest = SLOT.unpack_from(data, at)
        if found == key(1):
            SLOT.pack_into(data, at, found, 1 << 60, *rest)
    path.write_bytes(data)
    assert not kept(Store(str(path), OURS, 64, MIB), 1)


def test_a_full_store_serves_what_it_has(store: Store) -> None:
    """Room runs out; what is in stays in, and nothing is written beyond the bound."""
    answers = [keep(store, i) for i in range(5000)]
    assert answers[0]
    assert not answers[-1]
    assert store.full
    assert store.filled_bytes <= store.capacity
    assert all(kept(store, i) == answers[i] for i in range(0, 5000, 7))


def test_no_room_is_said(tmp_path: Path) -> None:
    """Neither too small a bound nor a folder that is not there ends in half a store."""
    with pytest.raises(ValueError, match="no room"):
        Store(None, OURS, 1024, 1024)
    with pytest.raises(OSError, match="No such file"):
        Store(str(tmp_path / "none" / "s"), OURS, 1024, MIB)
    assert list(tmp_path.iterdir()) == []
