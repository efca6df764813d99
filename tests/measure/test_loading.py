"""What limits a loader: the verdict by the shares, and the verdict over loaders whose limit was planted."""

import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suffice.measure.loading import BOTH, COMPUTE, IO, LOCKED, NOT_LIMITING, UNKNOWN, limit_of
from suffice.measure.spool.pages import FetchTotals
from tests.conftest import JOBS, Measured

pytestmark = pytest.mark.alone

LOADER = JOBS / "loader.py"
EXPECTED = {"sleep": IO, "burn": COMPUTE, "both": BOTH, "lock": LOCKED, "light": NOT_LIMITING}


def totals(processor: float, off: float, queue: float = 0.0, **changes) -> FetchTotals:
    """A hundred items in 10 s, of which the shares were spent on a processor, off it and queueing for one."""
    made = FetchTotals(workers=2, batches=50, items=100, wall_s=10.0 * (processor + off + queue), most_at_once=2)
    made.processor_s = made.thread_s = 10.0 * processor
    made.run_queue_s = 10.0 * queue
    for name, value in changes.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("made", "kinds", "verdict", "words"),
    [
        (totals(0.1, 0.9), {"storage": 9, "run": 1}, IO, "mostly seen waiting for storage"),
        (totals(0.1, 0.9), {"network": 9}, IO, "mostly seen waiting for the network"),
        (totals(0.1, 0.9), {}, IO, "90% off it"),
        (totals(0.9, 0.1), {"run": 9, "storage": 1}, COMPUTE, "90% on a processor"),
        (totals(0.5, 0.5), {"run": 5, "storage": 5}, BOTH, "samples/s"),
        (totals(0.1, 0.9), {"lock": 9, "run": 1}, LOCKED, "wait for each other"),
        (totals(0.95, 0.05), {"lock": 3, "run": 9}, COMPUTE, "on a processor"),
        (totals(0.3, 0.05, 0.65), {}, COMPUTE, "others use the cores"),
        (totals(0.3, 0.05, 0.65, most_at_once=9), {}, COMPUTE, "9 workers are too many for 4 cores"),
    ],
)
def test_shares_and_waits_make_the_verdict(
    made: FetchTotals, kinds: dict[str, float], verdict: str, words: str
) -> None:
    """Off the processor is I/O, on it is compute, between is both; a lock is told by what was seen."""
    limit = limit_of(made, kinds, wait_share=0.8, cores=4)
    assert limit.limited_by == verdict
    assert words in limit.reason


def test_neighbours_that_take_the_processors_are_not_io() -> None:
    """Queueing for a processor changes nothing of the share of I/O."""
    quiet = limit_of(totals(0.5, 0.5), {}, wait_share=None, cores=4)
    busy = limit_of(totals(0.5, 0.5, 4.0), {}, wait_share=None, cores=4)
    assert busy.figures["io_share"].value == pytest.approx(quiet.figures["io_share"].value)


def test_a_loader_that_the_loop_hardly_waits_for_limits_nothing() -> None:
    """Whatever its workers do; where the share of waiting is not known, the verdict is of the fetches."""
    assert limit_of(totals(0.1, 0.9), {}, wait_share=0.09, cores=4).limited_by == NOT_LIMITING
    assert limit_of(totals(0.1, 0.9), {}, wait_share=0.11, cores=4).limited_by == IO
    assert limit_of(totals(0.1, 0.9), {}, wait_share=None, cores=4).limited_by == IO


def test_the_bounds_of_both_are_what_the_numbers_say() -> None:
    """20 items a processor second on 4 cores; two at once that each take 0.1 s an item."""
    limit = limit_of(totals(0.5, 0.5), {}, wait_share=None, cores=4)
    assert "4 cores allow at most 80 samples/s" in limit.reason
    assert "2 fetching at once at most 20 samples/s" in limit.reason


@pytest.mark.parametrize("made", [None, FetchTotals(), totals(0.5, 0.5, items=0), totals(0.5, 0.5, wall_s=0.0)])
def test_without_a_record_nothing_is_told(made: FetchTotals | None) -> None:
    """No fetch was seen: the verdict says so, and has no figures."""
    limit = limit_of(made, {}, wait_share=0.9, cores=4)
    assert (limit.limited_by, limit.figures) == (UNKNOWN, {})


NUMBERS = st.floats(0, 1e6)


@given(
    made=st.builds(
        FetchTotals,
        workers=st.integers(0, 100),
        batches=st.integers(0, 1000),
        items=st.integers(-5, 1000),
        wall_s=NUMBERS,
        processor_s=NUMBERS,
        thread_s=st.none() | NUMBERS,
        run_queue_s=st.none() | NUMBERS,
        read_bytes=st.integers(-5, 10**12),
        most_at_once=st.integers(0, 64),
        in_main_process=st.booleans(),
    ),
    kinds=st.dictionaries(st.sampled_from(["run", "lock", "storage", "network", "sleep", "pipe", "other"]), NUMBERS),
    wait_share=st.none() | st.floats(0, 1),
)
def test_any_record_has_a_verdict(made: FetchTotals, kinds: dict[str, float], wait_share: float | None) -> None:
    """Whatever was summed up, there is a verdict with a reason, and the share of I/O is a share."""
    limit = limit_of(made, kinds, wait_share=wait_share, cores=2)
    assert limit.limited_by in {IO, COMPUTE, BOTH, LOCKED, NOT_LIMITING, UNKNOWN}
    assert limit.reason
    if limit.figures:
        assert 0 <= limit.figures["io_share"].value <= 1


@pytest.mark.parametrize(
    ("what", "workers"),
    [
        ("sleep", 2),
        ("burn", 0),
        ("both", 1),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [("sleep", 0), ("burn", 1), ("light", 1)]),
    ],
)
def test_a_planted_limit_is_found(measure: Callable[..., Measured], what: str, workers: int) -> None:
    """What the data set does to make a sample is what its loader is said to be limited by."""
    loader = planted(measure, what, workers)
    assert loader.limited_by == EXPECTED[what], loader.reason


def test_workers_that_wait_for_each_other_are_told(measure: Callable[..., Measured]) -> None:
    """A lock that all workers share, held for most of each sample."""
    loader = planted(measure, "lock", 4)
    assert loader.limited_by == LOCKED, loader.reason


def planted(measure: Callable[..., Measured], what: str, workers: int):
    run = measure([sys.executable, str(LOADER), what, str(workers)])
    assert run.exit_code == 0, run.stderr
    (rank,) = run.profile.ranks
    (loader,) = rank.loaders
    assert loader.workers == workers
    return loader
