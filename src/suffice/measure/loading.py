"""What a loader's workers did inside `fetch`, and what they were seen waiting for -> what limits the loader, and why.

The share of I/O is off / (off + processor): `off` is the time inside `fetch` that was spent neither on a processor nor
in its run queue. The run queue is left out of the ratio, or neighbours on a busy machine would look like I/O. Not used,
because each misleads: iowait (idle time by another name), block-I/O delay (off by default since Linux 5.14), pressure
(of the whole machine) and bytes (how much, never what limits).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from suffice.measure.spool.pages import FetchTotals
from suffice.records import Figure, measured

NOT_LIMITING, IO, COMPUTE, LOCKED, BOTH, UNKNOWN = "not limiting", "I/O", "compute", "a lock", "both", "unknown"
WAIT_MATTERS = 0.10
IO_LIMITED, COMPUTE_LIMITED = 0.60, 0.30
LOCK_MATTERS = 0.25
QUEUE_MATTERS = 0.30
KIND_NAMES = {"storage": "storage", "network": "the network", "sleep": "sleeping", "pipe": "another process"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """The verdict, the sentence that says why, and the figures that it stands on."""

    limited_by: str
    reason: str
    figures: Mapping[str, Figure]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shares:
    processor: float
    queue: float | None
    off: float

    @property
    def io(self) -> float:
        return self.off / max(1e-9, self.off + self.processor)


def limit_of(
    totals: FetchTotals | None, kinds: Mapping[str, float], *, wait_share: float | None, cores: float
) -> Limit:
    """What limits a loader.

    Args:
        totals: of the loader's workers, or None where nothing was recorded.
        kinds: how often its busy workers were seen in each kind of waiting.
        wait_share: the share of the training loop that waited for data, or None where that is not known.
        cores: processors that the job may use.
    """
    if totals is None or totals.items <= 0 or totals.wall_s <= 0:
        return Limit(limited_by=UNKNOWN, reason="its workers left no record of their fetches", figures={})
    shares = _shares(totals, kinds)
    figures = _figures(totals, shares)
    verdict, reason = _verdict(totals, shares, kinds, wait_share, cores)
    return Limit(limited_by=verdict, reason=reason, figures=figures)


def _shares(totals: FetchTotals, kinds: Mapping[str, float]) -> _Shares:
    processor_s = totals.processor_s
    if totals.in_main_process and totals.thread_s is not None and not _mostly_running(kinds):
        # Idle threads of the job's own arithmetic spin for a while: their time is not the fetch's.
        processor_s = totals.thread_s
    # Threads inside a worker can use more processor time than there is wall time.
    processor = min(1.0, processor_s / totals.wall_s)
    queue = None if totals.run_queue_s is None else min(1.0, totals.run_queue_s / totals.wall_s)
    return _Shares(processor=processor, queue=queue, off=max(0.0, 1.0 - processor - (queue or 0.0)))


def _mostly_running(kinds: Mapping[str, float]) -> bool:
    return 2 * kinds.get("run", 0) > sum(kinds.values())


def _verdict(
    totals: FetchTotals, shares: _Shares, kinds: Mapping[str, float], wait_share: float | None, cores: float
) -> tuple[str, str]:
    seen = f"inside fetch {shares.processor:.0%} on a processor, {shares.off:.0%} off it"
    seen += f", {shares.queue:.0%} queueing for one" if shares.queue is not None else ""
    if wait_share is not None and wait_share < WAIT_MATTERS:
        return NOT_LIMITING, f"the loop waits for it {wait_share:.1%} of the time; {seen}"
    waiting = {kind: count for kind, count in kinds.items() if kind != "run"}
    top = max(waiting, key=waiting.__getitem__, default=None)
    if top == "lock" and shares.io >= LOCK_MATTERS:
        return LOCKED, f"its workers wait for each other: mostly seen waiting for a lock; {seen}"
    if shares.io >= IO_LIMITED:
        whom = f", mostly seen waiting for {KIND_NAMES[top]}" if top in KIND_NAMES else ""
        return IO, seen + whom
    if shares.io <= COMPUTE_LIMITED:
        return COMPUTE, seen + _crowding(totals, shares, cores)
    return BOTH, f"{seen}; {_bounds(totals, shares, cores)}"


def _bounds(totals: FetchTotals, shares: _Shares, cores: float) -> str:
    """The rates beyond which curing only one of the two can't lead."""
    by_cores = cores * totals.items / totals.processor_s
    workers = max(1, totals.most_at_once)
    by_latency = workers * totals.items / (totals.processor_s + shares.off * totals.wall_s)
    return (
        f"{cores:g} cores allow at most {by_cores:.0f} samples/s, "
        f"{workers} fetching at once at most {by_latency:.0f} samples/s"
    )


def _crowding(totals: FetchTotals, shares: _Shares, cores: float) -> str:
    if shares.queue is None or shares.queue <= QUEUE_MATTERS:
        return ""
    own = totals.most_at_once * totals.intra_op_threads + (0 if totals.in_main_process else 1)
    if not totals.in_main_process and own > cores:
        return f"; {totals.most_at_once} workers are too many for {cores:g} cores"
    return "; others use the cores"


def _figures(totals: FetchTotals, shares: _Shares) -> dict[str, Figure]:
    items = totals.items
    how = f"inside fetch, {totals.batches} batches of {totals.workers} workers, each worker's first left out"
    figures = {
        "fetch_s": measured(totals.wall_s / items, "s/sample", method=how),
        "fetch_processor_s": measured(totals.processor_s / items, "s/sample", method=how),
        "fetch_off_processor_s": measured(shares.off * totals.wall_s / items, "s/sample", method=how),
        "io_share": measured(shares.io, "share", method="off the processor / (off it + on it), queueing left out"),
        "fetch_read_bytes": measured(max(0, totals.read_bytes) / max(1, items), "B/sample", method=how),
    }
    if totals.run_queue_s is not None:
        figures["fetch_queueing_s"] = measured(totals.run_queue_s / items, "s/sample", method=how)
    return figures
