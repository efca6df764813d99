"""The pages of loader workers -> what `fetch` cost, summed by the process that owns the loader and by loader.

A page is read at any time: it is rewritten in place by its worker. Once a worker has ended its page is added to its
group and removed, so that a job that starts workers anew each epoch does not fill the folder.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from suffice.agent.fetch import FIELDS, PAGE, UNKNOWN

KEPT = "fetches.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One worker's running totals, times in nanoseconds; -1 stands for unknown."""

    busy: int
    pid: int
    parent: int
    loader: int
    thread: int
    worker: int
    begun: int
    batches: int
    items: int
    wall: int
    processor: int
    thread_run: int
    run_queue: int
    read_bytes: int
    write_bytes: int
    first_wall: int
    first_processor: int
    first_thread_run: int
    first_run_queue: int
    first_items: int
    intra_op_threads: int

    @property
    def owner(self) -> tuple[int, int]:
        """The process that iterates over the loader, and the loader's number there."""
        return (self.pid if self.worker == UNKNOWN else self.parent), self.loader


@dataclass(slots=True)
class FetchTotals:
    """Sums over the workers of one loader, each worker's first batch left out; times in seconds."""

    workers: int = 0
    batches: int = 0
    items: int = 0
    wall_s: float = 0.0
    processor_s: float = 0.0
    thread_s: float | None = 0.0
    run_queue_s: float | None = 0.0
    read_bytes: int = 0
    written_bytes: int = 0
    intra_op_threads: int = 1
    most_at_once: int = 0
    in_main_process: bool = False

    def add(self, page: Page) -> None:
        """Add a worker; with a single batch that batch has to do."""
        first = 1 if page.batches > 1 else 0
        self.workers += 1
        self.batches += page.batches
        self.items += page.items - first * page.first_items
        self.wall_s += (page.wall - first * page.first_wall) / 1e9
        self.processor_s += (page.processor - first * page.first_processor) / 1e9
        if UNKNOWN in (page.run_queue, page.first_run_queue):
            self.run_queue_s = self.thread_s = None
        elif self.run_queue_s is not None and self.thread_s is not None:
            self.run_queue_s += (page.run_queue - first * page.first_run_queue) / 1e9
            self.thread_s += (page.thread_run - first * page.first_thread_run) / 1e9
        self.read_bytes += page.read_bytes
        self.written_bytes += page.write_bytes
        self.intra_op_threads = max(self.intra_op_threads, page.intra_op_threads)
        self.in_main_process = self.in_main_process or page.worker == UNKNOWN


def joined(totals: Sequence[FetchTotals]) -> FetchTotals | None:
    """The sums of several loaders, or None of none."""
    if not totals:
        return None
    result = replace(totals[0])
    for other in totals[1:]:
        for name in ("workers", "batches", "items", "wall_s", "processor_s", "read_bytes", "written_bytes"):
            setattr(result, name, getattr(result, name) + getattr(other, name))
        for name in ("run_queue_s", "thread_s"):
            ours, theirs = getattr(result, name), getattr(other, name)
            setattr(result, name, None if ours is None or theirs is None else ours + theirs)
        result.most_at_once = max(result.most_at_once, other.most_at_once)
        result.intra_op_threads = max(result.intra_op_threads, other.intra_op_threads)
        result.in_main_process = result.in_main_process or other.in_main_process
    return result


def read_page(path: Path) -> Page | None:
    """The page in a file, or None where it is cut short, damaged or gone."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if len(data) != PAGE.size:
        return None
    page = Page(**dict(zip(FIELDS, PAGE.unpack(data), strict=True)))
    return page if page.pid > 0 and page.batches >= 0 and page.wall >= 0 else None


class PageBook:
    """All pages of a spool folder; `live` holds those of workers that still run.

    What has been folded is kept in `fetches.json` before the page is removed, so that it survives suffice itself.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.live: dict[Path, Page] = {}
        self.retired: dict[tuple[int, int], FetchTotals] = {}
        self._at_once: dict[tuple[int, int], int] = {}
        self._load()

    def refresh(self) -> Iterable[Page]:
        """Read every page; fold those whose process has ended."""
        found = {path: page for path in self.folder.glob("*.fetch") if (page := read_page(path))}
        ended = {path: page for path, page in found.items() if not Path(f"/proc/{page.pid}").exists()}
        self.live = {path: page for path, page in found.items() if path not in ended}
        for owner, count in Counter(p.owner for p in self.live.values()).items():
            self._at_once[owner] = max(self._at_once.get(owner, 0), count)
        for page in ended.values():
            self.retired.setdefault(page.owner, FetchTotals()).add(page)
        if ended:
            self._save()
            for path in ended:
                path.unlink(missing_ok=True)
        return self.live.values()

    def totals(self) -> dict[tuple[int, int], FetchTotals]:
        """The sums by owner: (process, loader)."""
        sums = {owner: replace(totals) for owner, totals in self.retired.items()}
        for page in self.live.values():
            sums.setdefault(page.owner, FetchTotals()).add(page)
        for owner, total in sums.items():
            total.most_at_once = max(1, self._at_once.get(owner, 0), total.most_at_once)
        return sums

    def _save(self) -> None:
        for owner, total in self.retired.items():
            total.most_at_once = max(self._at_once.get(owner, 0), total.most_at_once)
        rows = [{"owner": owner, "totals": asdict(totals)} for owner, totals in self.retired.items()]
        with suppress(OSError):
            draft = self.folder / "fetches.draft"
            draft.write_text(json.dumps(rows))
            draft.replace(self.folder / KEPT)

    def _load(self) -> None:
        try:
            for row in json.loads((self.folder / KEPT).read_text()):
                pid, loader = row["owner"]
                self.retired[int(pid), int(loader)] = FetchTotals(**row["totals"])
        except (OSError, ValueError, KeyError, TypeError):
            self.retired = {}
