"""A loader limited by I/O -> a finding with the rate in MB/s that would suffice."""

from __future__ import annotations

from suffice.diagnose.practices import STORE_TO_FIT
from suffice.diagnose.view import View, bound_of, some, value_of
from suffice.measure.loading import IO
from suffice.records import Finding, Loader

SLOWEST_DISK = 1e5  # B/s: less than random reads of single blocks from a turning disk; a few bytes are file tables


def loader_io(view: View) -> Finding | None:
    """The loop waits, and its fetches are mostly off the processor without queueing for one."""
    share, loader = view.data_wait, view.loader
    if share is None or loader is None or loader.limited_by != IO:
        return None
    stored = _stored(loader)
    return Finding(
        id="loader-io",
        rung=2,
        sentence=f"{share:.0%} of the loop is waiting for data, and the loader for I/O: "
        f"{loader.reason or 'why is not known'}{_rate(view, loader)}",
        evidence=some({"wait_for_data_s": view.split.get("wait_for_data_s"), **loader.figures}),
        bound=bound_of(share),
        practice=STORE_TO_FIT,
        # Waiting for an answer is spread over more workers; a disk that is read at its rate only needs fewer reads.
        cures=("sample-cache", "loader-workers") if stored else ("loader-workers", "sample-cache"),
        confidence=None
        if stored
        else "nothing was read from a local disk; what a network or FUSE delivers is not seen",
    )


def _stored(loader: Loader) -> bool:
    """Whether what was read from a local disk can explain the waiting: any disk gives more than `SLOWEST_DISK`."""
    read, waited_s = (value_of(loader.figures, name) or 0.0 for name in ("fetch_read_bytes", "fetch_off_processor_s"))
    return read > 0 and read >= SLOWEST_DISK * waited_s


def _rate(view: View, loader: Loader) -> str:
    """What the store would have to give if the step never waited."""
    each = value_of(loader.figures, "fetch_read_bytes") or 0.0
    rate, share = view.seconds("samples_per_s"), view.data_wait
    if not _stored(loader) or rate <= 0 or share is None or share >= 1:
        return ""
    return f"; {each * rate / (1 - share) / 1e6:.3g} MB/s would suffice, a store that gives them is enough"
