"""The agent's files, while they grow or after the end -> one `ProcessRecord` for each process that wrote one.

The files are read as data from outside: a line that can't be read is counted and left out, an unknown kind of message
is passed over, and a record of a newer protocol is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from suffice.agent.phases import NAMES as PHASES
from suffice.agent.spool import VERSION as PROTOCOL

TRAINING_PHASES = PHASES[: PHASES.index("evaluation_wait")]
READ_BYTES = 1 << 22
NUMBERS = frozenset(
    (
        *("protocol", "pid", "at", "rank", "intra_op_threads", "begun_ns", "end_ns", "step"),
        *("number", "workers", "fetches", "wait_ns", "first_wait_ns", "samples", "tokens"),
        *("own_ns_per_step", "gpu_memory_peak_bytes", "gpu_memory_reserved_bytes"),
    )
)
"""The fields of messages that hold a whole number wherever they appear."""


@dataclass(slots=True)
class StepRow:
    """One step, or `count` steps of a thinned record; `ns` holds the nanoseconds by `PHASES`."""

    last: int
    count: int
    end_ns: int
    processor_ns: int
    samples: int
    tokens: int
    flags: int
    ns: tuple[int, ...]

    @property
    def training_ns(self) -> int:
        """The step's own time, without evaluation."""
        return sum(self.ns[: len(TRAINING_PHASES)])


@dataclass(slots=True)
class ProcessRecord:
    """What one process told; empty where it told nothing."""

    process: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    end: dict[str, Any] = field(default_factory=dict)
    begun_ns: int | None = None
    tail_end_ns: int | None = None
    tail_ns: tuple[int, ...] = ()
    steps: list[StepRow] = field(default_factory=list)
    losses: list[tuple[int, float]] = field(default_factory=list)
    device: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    loaders: dict[int, dict[str, Any]] = field(default_factory=dict)
    optimisers: list[dict[str, Any]] = field(default_factory=list)
    flops: list[dict[str, Any]] = field(default_factory=list)
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    fault: dict[str, Any] | None = None
    unrecorded_fetch: str | None = None
    damaged_lines: int = 0
    newer: bool = False

    def take(self, message: Mapping[str, Any]) -> None:
        """Add one message.

        Raises:
            KeyError, TypeError, ValueError: if it is not what the protocol says; then nothing of it is taken.
        """
        taker = _TAKERS.get(message["kind"])
        if taker is not None:
            if any(type(message[name]) is not int for name in NUMBERS & message.keys()):
                raise ValueError("a field that holds a whole number holds something else")
            taker(self, message)


def _process(record: ProcessRecord, message: Mapping[str, Any]) -> None:
    if message["protocol"] > PROTOCOL:
        record.newer = True
    record.process = dict(message)


def _steps(record: ProcessRecord, message: Mapping[str, Any]) -> None:
    taken = []
    for row in message["rows"]:
        last, count, end_ns, processor_ns, samples, tokens, flags, *ns = _whole(row)
        if len(ns) != len(PHASES) or count < 1:
            raise ValueError("a step's row has another shape")
        taken.append(StepRow(last, count, end_ns, processor_ns, samples, tokens, flags, tuple(ns)))
    record.steps += taken


def _losses(record: ProcessRecord, message: Mapping[str, Any]) -> None:
    record.losses += [(_whole([step])[0], float(value)) for step, value, _ in message["rows"]]


def _device(record: ProcessRecord, message: Mapping[str, Any]) -> None:
    rows = [_whole(row) for row in message["rows"]]
    if any(len(row) != 1 + len(PHASES) for row in rows):
        raise ValueError("a GPU's row has another shape")
    record.device += [(step, tuple(ns)) for step, *ns in rows]


def _loader(record: ProcessRecord, message: Mapping[str, Any]) -> None:
    record.loaders.setdefault(message["number"], {}).update(message)


def _tail(record: ProcessRecord, message: Mapping[str, Any]) -> None:
    totals = _whole(message["totals"])
    if len(totals) != len(PHASES):
        raise ValueError("the tail has another shape")
    record.tail_end_ns, record.tail_ns = message["end_ns"], tuple(totals)


def _loop(record: ProcessRecord, message: Mapping[str, Any]) -> None:
    record.begun_ns = message["begun_ns"]


def _flops(record: ProcessRecord, message: Mapping[str, Any]) -> None:
    _whole(message["by_dtype"].values())
    record.flops.append({"samples": 0, **message})


def _change(record: ProcessRecord, message: Mapping[str, Any]) -> None:
    told = {name: message[name] for name in ("applied", "reason", "facts") if name in message}
    record.changes.setdefault(str(message["id"]), {}).update(told)


def _fault(record: ProcessRecord, message: Mapping[str, Any]) -> None:
    record.fault = dict(message)


def _unrecorded(record: ProcessRecord, message: Mapping[str, Any]) -> None:
    record.unrecorded_fetch = str(message["reason"])


def _whole(row: Iterable[Any]) -> list[int]:
    values = list(row)
    if not all(type(v) is int for v in values):
        raise ValueError("a row holds something that is no whole number")
    return values


_TAKERS = {
    "process": _process,
    "facts": lambda record, message: record.facts.update(message),
    "end": lambda record, message: record.end.update(message),
    "loop": _loop,
    "tail": _tail,
    "step": _steps,
    "loss": _losses,
    "device": _device,
    "loader": _loader,
    "loader described": _loader,
    "optimiser": lambda record, message: record.optimisers.append({"name": message["name"]}),
    "flops": _flops,
    "change": _change,
    "change facts": _change,
    "fault": _fault,
    "fetch unrecorded": _unrecorded,
}


class SpoolReader:
    """Follows the files of a spool folder; `poll` reads what has come since, `records` are by file name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: dict[str, ProcessRecord] = {}
        self._files: dict[str, BinaryIO] = {}
        self._rests: dict[str, bytes] = {}

    def poll(self) -> None:
        """Read on in every file; a line without an end waits for its end."""
        for path in self.folder.glob("*.jsonl"):
            if path.name not in self._files and path.name != "samples.jsonl":
                try:
                    self._files[path.name] = path.open("rb")
                except OSError:
                    continue
                self.records[path.name] = ProcessRecord()
        for name, file in self._files.items():
            while block := file.read(READ_BYTES):
                *lines, self._rests[name] = (self._rests.get(name, b"") + block).split(b"\n")
                _take_lines(self.records[name], lines)

    def close(self) -> list[ProcessRecord]:
        """Read to the end, count what is left without an end as damaged, and return the records by their start."""
        self.poll()
        for name, file in self._files.items():
            file.close()
            if self._rests.get(name):
                self.records[name].damaged_lines += 1
        self._files = {}
        return sorted(self.records.values(), key=lambda r: r.process.get("at", 0))


def _take_lines(record: ProcessRecord, lines: Iterable[bytes]) -> None:
    for line in lines:
        try:
            if not record.newer:
                record.take(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            record.damaged_lines += 1
