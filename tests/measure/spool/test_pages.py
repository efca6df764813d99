"""The pages of loader workers: read at any moment, folded when a worker has ended, and kept once they are."""

import os
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suffice.agent.fetch import FIELDS, PAGE, UNKNOWN
from suffice.measure.spool.pages import FetchTotals, Page, PageBook, joined, read_page

S = 10**9


def page(**changes: int) -> Page:
    """A worker that fetched ten batches of four in 10 s, the first in 1 s; half of it on a processor."""
    usual = dict.fromkeys(FIELDS, 0)
    usual |= {"pid": os.getpid(), "parent": 1, "batches": 10, "items": 40, "wall": 10 * S, "processor": 5 * S}
    usual |= {"thread_run": 4 * S, "run_queue": S, "first_wall": S, "first_processor": S, "first_items": 4}
    usual |= {"first_thread_run": S, "read_bytes": 1000, "intra_op_threads": 1}
    return Page(**{**usual, **changes})


def put(folder: Path, name: str, of: Page) -> Path:
    path = folder / f"{name}.fetch"
    path.write_bytes(PAGE.pack(*(getattr(of, field) for field in FIELDS)))
    return path


@pytest.fixture
def ended_pid() -> int:
    """A process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_page_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Each field is in its place."""
    made = Page(**{name: number + 1 for number, name in enumerate(FIELDS)})
    assert read_page(put(tmp_path, "a", made)) == made


@pytest.mark.parametrize("keep", [0, 1, PAGE.size - 1, PAGE.size + 1])
def test_a_page_of_another_length_is_none(tmp_path: Path, keep: int) -> None:
    """Cut short, or of another version."""
    path = put(tmp_path, "a", page())
    path.write_bytes((path.read_bytes() + b"\0")[:keep])
    assert read_page(path) is None
    assert list(PageBook(tmp_path).refresh()) == []


def test_a_page_that_has_gone_is_none(tmp_path: Path) -> None:
    """Workers end while their pages are read."""
    assert read_page(tmp_path / "gone.fetch") is None


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=PAGE.size, max_size=PAGE.size))
def test_any_bytes_are_a_page_or_none(tmp_path: Path, data: bytes) -> None:
    """Noise of the right length never raises, and what counts of it is not negative."""
    path = tmp_path / "noise.fetch"
    path.write_bytes(data)
    found = read_page(path)
    assert found is None or (found.pid > 0 and found.batches >= 0 and found.wall >= 0)


def test_the_first_batch_of_a_worker_is_left_out() -> None:
    """In it files are opened and modules imported."""
    totals = FetchTotals()
    totals.add(page())
    assert (totals.items, totals.wall_s, totals.processor_s) == (36, 9.0, 4.0)
    assert (totals.thread_s, totals.run_queue_s) == (3.0, 1.0)


def test_a_single_batch_has_to_do() -> None:
    """Where there is no second batch, the first is all that is known."""
    totals = FetchTotals()
    totals.add(page(batches=1))
    assert (totals.items, totals.wall_s) == (40, 10.0)


def test_an_unknown_run_queue_is_not_a_short_one() -> None:
    """One worker whose kernel does not tell makes the sum unknown, in whatever order."""
    for pages in ([page(), page(run_queue=UNKNOWN)], [page(run_queue=UNKNOWN), page()]):
        totals = FetchTotals()
        for each in pages:
            totals.add(each)
        assert totals.run_queue_s is None
        assert totals.workers == 2


def test_a_worker_belongs_to_the_process_that_reads_the_loader(tmp_path: Path) -> None:
    """A worker's page counts for its parent, a page without a worker for the process itself."""
    put(tmp_path, "worker", page(worker=3, parent=77, loader=2))
    put(tmp_path, "main", page(worker=UNKNOWN, loader=1))
    book = PageBook(tmp_path)
    book.refresh()
    totals = book.totals()
    assert totals.keys() == {(77, 2), (os.getpid(), 1)}
    assert totals[os.getpid(), 1].in_main_process
    assert not totals[77, 2].in_main_process


def test_pages_of_ended_workers_are_folded_and_removed_once(tmp_path: Path, ended_pid: int) -> None:
    """Their sums stay, also for a suffice that starts anew on the folder."""
    living, ended = put(tmp_path, "living", page()), put(tmp_path, "ended", page(pid=ended_pid))
    book = PageBook(tmp_path)
    for _ in range(3):
        assert [p.pid for p in book.refresh()] == [os.getpid()]
    assert living.exists()
    assert not ended.exists()
    assert book.totals()[1, 0].workers == 2
    again = PageBook(tmp_path)
    again.refresh()
    assert again.totals() == book.totals()
    assert again.totals()[1, 0].batches == 20


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '[{"owner": [1], "totals": {}}]', '[{"owner": [1, 2], "totals": {"x": 1}}]']
)
def test_kept_sums_that_can_not_be_read_are_as_if_there_were_none(tmp_path: Path, text: str) -> None:
    """Whatever stands in the file."""
    (tmp_path / "fetches.json").write_text(text)
    assert PageBook(tmp_path).totals() == {}


def test_how_many_fetched_at_once_is_the_most_that_was_seen(tmp_path: Path, ended_pid: int) -> None:
    """Workers of a second epoch are no more workers at once."""
    put(tmp_path, "a", page())
    put(tmp_path, "b", page())
    book = PageBook(tmp_path)
    book.refresh()
    put(tmp_path, "a", page(pid=ended_pid))
    put(tmp_path, "b", page(pid=ended_pid))
    book.refresh()
    put(tmp_path, "c", page())
    book.refresh()
    assert book.totals()[1, 0].most_at_once == 2
    assert book.totals()[1, 0].workers == 3


def test_loaders_that_are_alike_add_up() -> None:
    """Sums add, maxima stay, and what one does not know is not known."""
    one, two = FetchTotals(most_at_once=2), FetchTotals(most_at_once=1)
    one.add(page())
    two.add(page())
    both = joined([one, two])
    assert both is not None
    assert (both.workers, both.items, both.wall_s, both.most_at_once) == (2, 72, 18.0, 2)
    two.add(page(run_queue=UNKNOWN))
    unknown = joined([one, two])
    assert unknown is not None
    assert unknown.run_queue_s is None
    assert joined([]) is None
    assert astuple(one)[0] == 1
