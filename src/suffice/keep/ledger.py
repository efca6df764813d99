"""The ledger: every run with its profile, in SQLite, so that two suffices at once and a kill lose nothing.

The searches in the same file are read and written by `keep.searches`.

The version of the schema is SQLite's `user_version`; `MIGRATIONS[n]` leads from version n to n + 1.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suffice.errors import LedgerError, RunUnknownError
from suffice.records import Profile, as_json

MIGRATIONS = (
    """
    CREATE TABLE run (
        name TEXT PRIMARY KEY,
        started TEXT NOT NULL,
        command TEXT NOT NULL,
        cwd TEXT NOT NULL,
        state TEXT NOT NULL,
        folder TEXT,
        profile TEXT
    );
    CREATE INDEX run_started ON run (started);
    CREATE TABLE series (
        run TEXT NOT NULL REFERENCES run (name) ON DELETE CASCADE,
        name TEXT NOT NULL,
        rank INTEGER,
        data BLOB NOT NULL
    );
    CREATE INDEX series_run ON series (run);
    """,
    """
    CREATE TABLE search (
        name TEXT PRIMARY KEY,
        started TEXT NOT NULL,
        command TEXT NOT NULL,
        cwd TEXT NOT NULL,
        conditions TEXT NOT NULL,
        state TEXT NOT NULL,
        host TEXT NOT NULL,
        pid INTEGER NOT NULL,
        pid_born_s REAL NOT NULL,
        plan TEXT,
        record BLOB
    );
    CREATE INDEX search_started ON search (started);
    CREATE TABLE trial (
        search TEXT NOT NULL REFERENCES search (name) ON DELETE CASCADE,
        name TEXT NOT NULL,
        change TEXT,
        data TEXT NOT NULL
    );
    CREATE INDEX trial_search ON trial (search);
    """,
)
BUSY_S, RETRY_S = 30.0, 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A run as the ledger lists it; `folder` is where its raw record lies while it goes on, or if it never ended."""

    name: str
    started: str
    command: tuple[str, ...]
    cwd: str
    state: str
    folder: str | None


RECENT = ("latest", "previous")


class Ledger:
    """The store at `path`; each call is a transaction of its own.

    Raises:
        LedgerError: from every method, if the file is damaged, of a newer schema, or can't be read or written.
    """

    def __init__(self, path: Path, *, migrations: tuple[str, ...] = MIGRATIONS) -> None:
        self.path = path
        self.migrations = migrations

    @contextmanager
    def open(self, *, write: bool) -> Iterator[sqlite3.Connection]:
        """A connection with a transaction that ends with the block; for reading, the file must be there."""
        try:
            connection = self._connect(write=write)
        except sqlite3.Error as error:
            raise self._error(error) from error
        try:
            self._prepare(connection, write=write)
            with connection:
                yield connection
        except sqlite3.Error as error:
            raise self._error(error) from error
        finally:
            connection.close()

    def _connect(self, *, write: bool) -> sqlite3.Connection:
        if write:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise LedgerError(f"the ledger's folder {self.path.parent} can't be made: {error.strerror}") from error
            return sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)
        if not self.path.exists():
            raise LedgerError(f"there is no ledger at {self.path} yet", hint="measure something first")
        try:
            return self._checked("mode=ro")
        except sqlite3.OperationalError:
            if os.access(self.path.parent, os.W_OK, effective_ids=True):
                raise
            # A folder that can't be written holds no write-ahead log either: the file is all there is.
            return self._checked("immutable=1")

    def _checked(self, option: str) -> sqlite3.Connection:
        """A connection that reads: the older schema of an earlier suffice is brought up to date first."""
        uri = f"{self.path.absolute().as_uri()}?{option}"
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master")
            if self._version(connection) < len(self.migrations):
                with self.open(write=True):
                    pass
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection, *, write: bool) -> None:
        version = self._version(connection)
        if write:
            _log_ahead(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
        if write and version < len(self.migrations):
            connection.execute("BEGIN IMMEDIATE")
            # Another suffice may have migrated while we waited.
            for script in self.migrations[self._version(connection) :]:
                for statement in script.split(";"):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(self.migrations)}")
            connection.execute("COMMIT")
        if write:
            connection.execute("BEGIN IMMEDIATE")

    def _version(self, connection: sqlite3.Connection) -> int:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > len(self.migrations):
            raise LedgerError(
                f"the ledger {self.path} has schema {version}, this suffice knows {len(self.migrations)} at most",
                hint="update suffice, or set SUFFICE_HOME to another folder",
            )
        return version

    def _error(self, error: sqlite3.Error) -> LedgerError:
        return LedgerError(
            f"the ledger {self.path} can't be used: {error}",
            hint="check the disk and the permissions; SUFFICE_HOME names another folder",
        )

    def begin(self, entry: Entry) -> None:
        """Write that a run goes on."""
        row = (entry.name, entry.started, json.dumps(entry.command), entry.cwd, entry.state, entry.folder)
        with self.open(write=True) as connection:
            connection.execute(
                "INSERT INTO run (name, started, command, cwd, state, folder) VALUES (?, ?, ?, ?, ?, ?)", row
            )

    def forget(self, name: str) -> None:
        """Take a run out that never began."""
        with self.open(write=True) as connection:
            connection.execute("DELETE FROM run WHERE name = ?", (name,))

    def finish(self, profile: Profile) -> None:
        """Write a run's profile; what was there of that run is replaced."""
        data = as_json(profile)
        series = data.pop("series")
        with self.open(write=True) as connection:
            connection.execute("DELETE FROM series WHERE run = ?", (profile.run,))
            connection.execute(
                "INSERT INTO run (name, started, command, cwd, state, profile) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET state = excluded.state, profile = excluded.profile, folder = NULL",
                (
                    profile.run,
                    profile.started,
                    json.dumps(profile.target.command),
                    profile.target.cwd,
                    profile.state,
                    json.dumps(data),
                ),
            )
            rows = ((profile.run, s["name"], s.get("rank"), _packed(s)) for s in series)
            connection.executemany("INSERT INTO series (run, name, rank, data) VALUES (?, ?, ?, ?)", rows)

    def entries(self, limit: int = 20) -> list[Entry]:
        """The latest runs, the newest first."""
        query = "SELECT name, started, command, cwd, state, folder FROM run ORDER BY started DESC, rowid DESC LIMIT ?"
        with self.open(write=False) as connection:
            return [_entry(row) for row in connection.execute(query, (limit,))]

    def find(self, name: str | None) -> Entry:
        """The run of that name, or whose name that uniquely begins; `latest` (or None), and `previous`, the one before.

        Raises:
            RunUnknownError: if there is none, or more than one.
        """
        if name in RECENT and len(entries := self.entries(len(RECENT))) > RECENT.index(name):
            return entries[RECENT.index(name)]
        query = "SELECT name, started, command, cwd, state, folder FROM run WHERE name LIKE ? ESCAPE '\\' "
        prefix = (name or "").replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        with self.open(write=False) as connection:
            found = [_entry(r) for r in connection.execute(query + "ORDER BY started DESC, rowid DESC", (prefix,))]
        exact = [entry for entry in found if entry.name == name]
        if exact or (found and (name is None or len(found) == 1)):
            return (exact or found)[0]
        latest = ", ".join(entry.name for entry in (found or self.entries(5)))
        what = f"{len(found)} runs begin with {name!r}" if found else f"there is no run {name!r}" if name else "no runs"
        raise RunUnknownError(f"{what} in {self.path}", hint=f"the ledger has {latest}" if latest else None)

    def profile(self, name: str) -> Profile | None:
        """The profile of the run of exactly that name, or None while it has none.

        Raises:
            RunUnknownError: if there is no such run.
        """
        with self.open(write=False) as connection:
            row = connection.execute("SELECT profile FROM run WHERE name = ?", (name,)).fetchone()
            blobs = connection.execute("SELECT data FROM series WHERE run = ? ORDER BY rowid", (name,)).fetchall()
        if row is None:
            raise RunUnknownError(f"there is no run {name!r} in {self.path}")
        if row[0] is None:
            return None
        try:
            return Profile.from_json({**json.loads(row[0]), "series": [_unpacked(blob[0]) for blob in blobs]})
        except (ValueError, KeyError, TypeError, zlib.error) as error:
            raise LedgerError(f"the profile of run {name} can't be read: {error}") from error


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log, once in a file's life; here SQLite does not wait for others, so we do."""
    latest_s = time.monotonic() + BUSY_S
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > latest_s:
                raise
            time.sleep(RETRY_S)
        else:
            return  # a file system without shared memory keeps to a journal


def _entry(row: tuple[Any, ...]) -> Entry:
    name, started, command, cwd, state, folder = row
    return Entry(name=name, started=started, command=tuple(json.loads(command)), cwd=cwd, state=state, folder=folder)


def _packed(series: Mapping[str, Any]) -> bytes:
    return zlib.compress(json.dumps(series).encode())


def _unpacked(blob: bytes) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(zlib.decompress(blob))
    return data
