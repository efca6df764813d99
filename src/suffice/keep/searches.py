"""The ledger's searches: each trial is kept as soon as it is made, so that a search that was broken off can go on."""

from __future__ import annotations

import json
import os
import platform
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from sqlite3 import Connection
from typing import Any

import psutil

from suffice.errors import LedgerError, RunUnknownError
from suffice.keep.home import redacted
from suffice.keep.ledger import Ledger
from suffice.records import Change, Search, Trial, as_json

OPEN, FINISHED = "open", "finished"
COLUMNS = "name, started, command, cwd, conditions, state, plan"


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchEntry:
    """A search as the ledger lists it; `state` is open, finished, or whatever else `finish_search` was told."""

    name: str
    started: str
    command: tuple[str, ...]
    cwd: str
    conditions: Mapping[str, Any] = field(default_factory=dict)
    state: str = OPEN
    plan: str | None = None


class Searches:
    """The searches of a ledger; each call is a transaction of its own.

    Raises:
        LedgerError: from every method, as the ledger does.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def begin_search(
        self,
        name: str,
        command: Sequence[str],
        cwd: str,
        *,
        conditions: Mapping[str, Any] | None = None,
        started: str | None = None,
    ) -> None:
        """Write that a search goes on, in this process.

        Args:
            name: its name, taken once; `home.new_run_name` makes one.
            command: what is to become faster; secrets in it are masked.
            cwd: the folder that it starts in.
            conditions: what must be alike for its trials to count in a search that takes it up (torch, a hash of the
                program, the flags); JSON values.
            started: when, in ISO 8601 and UTC; now, unless given.
        """
        row = (
            name,
            started or datetime.now(tz=UTC).isoformat(timespec="seconds"),
            json.dumps(redacted(command)),
            cwd,
            _canonical(conditions),
            OPEN,
            *_this_process(),
        )
        with self.ledger.open(write=True) as connection:
            connection.execute(
                "INSERT INTO search (name, started, command, cwd, conditions, state, host, pid, pid_born_s) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )

    def add_trial(self, search: str, trial: Trial, change: Change | None) -> None:
        """Write a trial of a search, with the change that it tried; the null candidate has none."""
        told = None if change is None else json.dumps(as_json(change))
        with self.ledger.open(write=True) as connection:
            self._require(connection, search)
            connection.execute(
                "INSERT INTO trial (search, name, change, data) VALUES (?, ?, ?, ?)",
                (search, trial.change, told, json.dumps(as_json(trial))),
            )

    def trials(self, search: str) -> list[tuple[Trial, Change | None]]:
        """The trials of a search in the order in which they were written.

        Raises:
            RunUnknownError: if there is no such search.
        """
        with self.ledger.open(write=False) as connection:
            self._require(connection, search)
            query = "SELECT data, change FROM trial WHERE search = ? ORDER BY rowid"
            rows = connection.execute(query, (search,)).fetchall()
        try:
            return [
                (Trial.from_json(json.loads(data)), None if change is None else Change.from_json(json.loads(change)))
                for data, change in rows
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise LedgerError(f"a trial of search {search} can't be read: {error!r}") from error

    def open_search(
        self, command: Sequence[str], cwd: str, *, conditions: Mapping[str, Any] | None = None
    ) -> SearchEntry | None:
        """Take up the newest search that never finished, of that command in that folder; None if there is none.

        It must have begun on this machine under the same conditions, and nobody may be at it: of two suffices that ask
        at once, one gets it.
        """
        host, pid, born_s = _this_process()
        query = (
            f"SELECT {COLUMNS}, pid, pid_born_s FROM search "  # noqa: S608 - the columns are our own
            "WHERE state = ? AND command = ? AND cwd = ? AND conditions = ? AND host = ? "
            "ORDER BY started DESC, rowid DESC"
        )
        asked = (OPEN, json.dumps(redacted(command)), cwd, _canonical(conditions), host)
        with self.ledger.open(write=True) as connection:
            for *row, theirs, theirs_born_s in connection.execute(query, asked).fetchall():
                if _runs(theirs, theirs_born_s):
                    continue
                update = "UPDATE search SET pid = ?, pid_born_s = ? WHERE name = ?"
                connection.execute(update, (pid, born_s, row[0]))
                return _entry(row)
        return None

    def finish_search(
        self, search: str, plan: str | None, *, record: Search | None = None, state: str = FINISHED
    ) -> None:
        """Write that a search is over: its plan's text, and the record that a report is made of.

        Raises:
            RunUnknownError: if there is no such search.
        """
        packed = None if record is None else zlib.compress(json.dumps(as_json(record)).encode())
        with self.ledger.open(write=True) as connection:
            self._require(connection, search)
            update = "UPDATE search SET state = ?, plan = ?, record = ? WHERE name = ?"
            connection.execute(update, (state, plan, packed, search))

    def record(self, search: str) -> Search | None:
        """The record of a search, None while it has none.

        Raises:
            RunUnknownError: if there is no such search.
        """
        with self.ledger.open(write=False) as connection:
            self._require(connection, search)
            (packed,) = connection.execute("SELECT record FROM search WHERE name = ?", (search,)).fetchone()
        try:
            return None if packed is None else Search.from_json(json.loads(zlib.decompress(packed)))
        except (ValueError, KeyError, TypeError, zlib.error) as error:
            raise LedgerError(f"the record of search {search} can't be read: {error!r}") from error

    def entries(self, limit: int = 20) -> list[SearchEntry]:
        """The latest searches, the newest first."""
        query = f"SELECT {COLUMNS} FROM search ORDER BY started DESC, rowid DESC LIMIT ?"  # noqa: S608
        with self.ledger.open(write=False) as connection:
            return [_entry(row) for row in connection.execute(query, (limit,))]

    def _require(self, connection: Connection, search: str) -> None:
        if connection.execute("SELECT 1 FROM search WHERE name = ?", (search,)).fetchone() is None:
            latest = connection.execute("SELECT name FROM search ORDER BY started DESC, rowid DESC LIMIT 5").fetchall()
            hint = f"the ledger has {', '.join(name for (name,) in latest)}" if latest else "it has none"
            raise RunUnknownError(f"there is no search {search!r} in {self.ledger.path}", hint=hint)


def _canonical(conditions: Mapping[str, Any] | None) -> str:
    return json.dumps(conditions or {}, sort_keys=True)


def _this_process() -> tuple[str, int, float]:
    """The machine, the process and when it was born: a number of a process alone is given again."""
    return platform.node(), os.getpid(), psutil.Process().create_time()


def _runs(pid: int, born_s: float) -> bool:
    """Whether somebody else's search still goes on; our own was broken off, or we would not ask."""
    if pid == os.getpid():
        return False
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        return abs(process.create_time() - born_s) < 1 and process.status() != psutil.STATUS_ZOMBIE
    return False


def _entry(row: Sequence[Any]) -> SearchEntry:
    name, started, command, cwd, conditions, state, plan = row
    return SearchEntry(
        name=name,
        started=started,
        command=tuple(json.loads(command)),
        cwd=cwd,
        conditions=json.loads(conditions),
        state=state,
        plan=plan,
    )
