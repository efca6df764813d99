"""The agent's files are data from outside: whatever stands in them, reading never raises, and damage is counted."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suffice.measure.spool.reader import PHASES, ProcessRecord, SpoolReader

ROW = [0, 1, 100, 50, 16, 0, 0, *range(len(PHASES))]
MESSAGES: list[dict[str, Any]] = [
    {"kind": "process", "at": 1, "protocol": 1, "pid": 7},
    {"kind": "loop", "begun_ns": 10},
    {"kind": "facts", "rank": 3},
    {"kind": "optimiser", "name": "SGD"},
    {"kind": "loader described", "number": 0, "dataset": "Photos", "batch_size": 4},
    {"kind": "step", "rows": [ROW, [1, *ROW[1:]]]},
    {"kind": "loss", "rows": [[0, 1.5, 1], [1, 1, 1]]},
    {"kind": "device", "rows": [[0, *range(len(PHASES))]]},
    {"kind": "flops", "by_dtype": {"float32": 10}, "step": 3},
    {"kind": "loader", "number": 0, "fetches": 2},
    {"kind": "fault", "where": "x", "trace": "y"},
    {"kind": "fetch unrecorded", "reason": "full"},
    {"kind": "tail", "end_ns": 200, "totals": [0] * len(PHASES)},
    {"kind": "end", "compiled": False},
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = sorted({name for message in MESSAGES for name in message} - {"kind"})


def lines(messages: list[Any]) -> bytes:
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


def read(folder: Path, data: bytes) -> ProcessRecord:
    (folder / "7-1.jsonl").write_bytes(data)
    (record,) = SpoolReader(folder).close()
    return record


def test_every_kind_of_message_is_taken(tmp_path: Path) -> None:
    """What the protocol knows ends up in the record, and nothing counts as damage."""
    record = read(tmp_path, lines(MESSAGES))
    assert record.damaged_lines == 0
    assert (record.begun_ns, record.tail_end_ns, record.facts["rank"]) == (10, 200, 3)
    assert [step.last for step in record.steps] == [0, 1]
    assert record.steps[0].ns == tuple(range(len(PHASES)))
    assert record.losses == [(0, 1.5), (1, 1.0)]
    assert record.device == [(0, tuple(range(len(PHASES))))]
    assert record.loaders[0]["dataset"] == "Photos"
    assert record.loaders[0]["fetches"] == 2
    assert record.flops[0]["samples"] == 0
    assert record.fault is not None
    assert record.unrecorded_fetch == "full"


DAMAGED = {
    "no JSON": b"{",
    "empty": b"",
    "binary": b"\xff\x00\x80",
    "no object": b"[1]",
    "null": b"null",
    "no kind": b"{}",
    "unhashable kind": b'{"kind": []}',
    "too deep": b"[" * 100_000,
    "huge number": b'{"kind": "step", "rows": [[' + b"1" * 5000 + b"]]}",
    "rows missing": b'{"kind": "step"}',
    "row too short": b'{"kind": "step", "rows": [[1, 2]]}',
    "row of text": json.dumps({"kind": "step", "rows": [["0", *ROW[1:]]]}).encode(),
    "row of no step": json.dumps({"kind": "step", "rows": [[0, 0, *ROW[2:]]]}).encode(),
    "row of booleans": json.dumps({"kind": "step", "rows": [[True, *ROW[1:]]]}).encode(),
    "second row bad": json.dumps({"kind": "step", "rows": [ROW, [1]]}).encode(),
    "loss of text": b'{"kind": "loss", "rows": [[0, "x", 1]]}',
    "stream too short": b'{"kind": "device", "rows": [[0, 1]]}',
    "tail too short": b'{"kind": "tail", "end_ns": 1, "totals": [1]}',
    "pid of text": b'{"kind": "process", "protocol": 1, "pid": "7"}',
    "protocol missing": b'{"kind": "process"}',
    "loader without number": b'{"kind": "loader"}',
    "operations of text": b'{"kind": "flops", "by_dtype": {"float32": "x"}}',
}


@pytest.mark.parametrize("line", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_line_is_counted_and_the_rest_is_taken(tmp_path: Path, line: bytes) -> None:
    """One line is lost, and of it nothing is taken; those before and after it stay."""
    whole = read(tmp_path, lines(MESSAGES))
    middle = len(MESSAGES) // 2
    record = read(tmp_path, lines(MESSAGES[:middle]) + line + b"\n" + lines(MESSAGES[middle:]))
    assert record.damaged_lines == 1
    record.damaged_lines = 0
    assert record == whole


def test_a_torn_last_line_is_counted(tmp_path: Path) -> None:
    """A process that was killed while it wrote leaves half a line."""
    record = read(tmp_path, lines(MESSAGES)[:-3])
    assert record.damaged_lines == 1
    assert record.end == {}
    assert len(record.steps) == 2


def test_an_unknown_kind_is_passed_over(tmp_path: Path) -> None:
    """A later agent of the same protocol may tell more."""
    assert read(tmp_path, lines([{"kind": "weather", "rows": 3}, *MESSAGES])).damaged_lines == 0


def test_nothing_is_taken_from_a_record_of_a_newer_protocol(tmp_path: Path) -> None:
    """Its words may mean something else, so the record says that it is newer and no more."""
    newer = {"kind": "process", "at": 1, "protocol": 99, "pid": 7}
    record = read(tmp_path, lines([newer, *MESSAGES[1:]]))
    assert record.newer
    assert record.steps == []
    assert record.damaged_lines == 0


def test_a_file_is_followed_while_it_grows(tmp_path: Path) -> None:
    """Byte by byte, a line counts once it has its end, and once only."""
    data, path, reader = lines(MESSAGES[:6]), tmp_path / "7-1.jsonl", SpoolReader(tmp_path)
    whole = data.count(b"\n")
    with path.open("wb", buffering=0) as file:
        for i in range(len(data)):
            file.write(data[i : i + 1])
            reader.poll()
            record = reader.records[path.name]
            assert len(record.optimisers) == (data[: i + 1].count(b"\n") >= 4)
            assert len(record.steps) == 2 * (data[: i + 1].count(b"\n") >= whole)
    (record,) = reader.close()
    assert record.damaged_lines == 0


def test_a_message_longer_than_a_block_is_read_whole(tmp_path: Path) -> None:
    """Lines may be as long as they like."""
    rows = [[i, *ROW[1:]] for i in range(120_000)]
    assert len(lines([{"rows": rows}])) > 1 << 22
    assert len(read(tmp_path, lines([*MESSAGES[:1], {"kind": "step", "rows": rows}])).steps) == 120_000


def test_processes_come_in_the_order_of_their_start(tmp_path: Path) -> None:
    """Whatever their files are called; the meters' own file is none of theirs."""
    for name, at in (("a.jsonl", 30), ("b.jsonl", 10), ("c.jsonl", 20)):
        (tmp_path / name).write_bytes(lines([{"kind": "process", "at": at, "protocol": 1, "pid": at}]))
    (tmp_path / "samples.jsonl").write_text("{}\n")
    assert [r.process["pid"] for r in SpoolReader(tmp_path).close()] == [10, 20, 30]


def test_a_file_that_can_not_be_opened_is_left_out(tmp_path: Path) -> None:
    """A folder of such a name is no record."""
    (tmp_path / "x.jsonl").mkdir()
    assert SpoolReader(tmp_path).close() == []


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.lists(st.binary(max_size=40), max_size=6))
def test_any_bytes_are_read(tmp_path: Path, noise: list[bytes]) -> None:
    """Noise between lines costs at most the lines that it touches."""
    data = lines(MESSAGES[:6]) + b"".join(noise) + b"\n" + lines(MESSAGES[6:])
    record = read(tmp_path, data)
    assert len(record.losses) == 2
    assert record.damaged_lines <= sum(n.count(b"\n") for n in noise) + 1


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(MESSAGES), st.dictionaries(st.sampled_from(FIELDS), JSON, min_size=1, max_size=4))
def test_any_message_is_taken_whole_or_counted(tmp_path: Path, message: dict[str, Any], other: dict[str, Any]) -> None:
    """A message with anything in its fields is damage or is taken; the shapes that others rely on hold."""
    record = read(tmp_path, lines([MESSAGES[0], {**message, **other}]))
    assert record.damaged_lines in {0, 1}
    assert all(len(step.ns) == len(PHASES) and step.count > 0 for step in record.steps)
    assert all(type(ns) is int for _, stream in record.device for ns in stream)
    assert all(isinstance(value, float) for _, value in record.losses)
    assert all(type(number) is int for number in record.loaders)
    assert type(record.process["pid"]) is int
