"""The ledger: two suffices at once and a kill lose nothing, and what can't be read is said, not destroyed."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suffice.errors import LedgerError, RunUnknownError
from suffice.keep.ledger import MIGRATIONS, Entry, Ledger
from suffice.records import Loader, Note, Profile, Rank, Series, Target, as_json, estimated, looked_up, measured

NOBODY = 65534

WRITER = """
import sys, time
from pathlib import Path
from suffice.keep.ledger import Entry, Ledger
from suffice.records import Profile, Series, Target

path, who, at, count = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
ledger = Ledger(path)
while time.time() < at:
    pass
for i in range(count):
    name = f"{who}-{i}"
    target = Target(command=("train",), cwd="/")
    ledger.begin(Entry(name=name, started="2026", command=("train",), cwd="/", state="running", folder="/x"))
    ledger.finish(
        Profile(
            run=name, target=target, started="2026", ended="2026", exit_code=0, state="finished",
            series=tuple(
                Series(name=f"s{k}", unit="s", at_s=tuple(map(float, range(200))), values=(float(i),) * 200)
                for k in range(4)
            ),
        )
    )
    print(name, flush=True)
"""


def entry(name: str, started: str = "2026-01-01", folder: str | None = "/runs/x") -> Entry:
    return Entry(
        name=name, started=started, command=("train", "--lr", "1"), cwd="/here", state="running", folder=folder
    )


def profile(name: str = "a", **changes) -> Profile:
    made = Profile(
        run=name,
        target=Target(command=("train",), cwd="/here"),
        started="2026-01-01",
        ended="2026-01-02",
        exit_code=0,
        state="finished",
    )
    return replace(made, **changes)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "home" / "ledger.sqlite3")


def start_writer(ledger: Ledger, who: str, *, at: float, count: int) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", WRITER, str(ledger.path), who, str(at), str(count)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_write_at_once_and_lose_nothing(ledger: Ledger) -> None:
    """Fifty runs of each of two writers are all there, with their series."""
    at = time.time() + 1
    writers = [start_writer(ledger, who, at=at, count=50) for who in ("one", "two")]
    for writer in writers:
        _, complaint = writer.communicate(timeout=120)
        assert writer.returncode == 0, complaint
    assert {e.name for e in ledger.entries(limit=1000)} == {f"{who}-{i}" for who in ("one", "two") for i in range(50)}
    found = ledger.profile("two-37")
    assert found is not None
    assert [s.values[0] for s in found.series] == [37.0] * 4


def test_writers_that_make_the_ledger_at_the_same_moment_all_get_through(tmp_path: Path) -> None:
    """Making the file, its write-ahead log and its tables is safe against others who do the same."""
    for attempt in range(4):
        fresh = Ledger(tmp_path / str(attempt) / "ledger.sqlite3")
        at = time.time() + 0.8
        writers = [start_writer(fresh, str(i), at=at, count=1) for i in range(4)]
        complaints = [writer.communicate(timeout=120)[1] for writer in writers]
        assert complaints == [""] * 4
        assert len(fresh.entries()) == 4


def test_a_kill_in_the_middle_of_writing_loses_nothing_that_was_written(ledger: Ledger) -> None:
    """After SIGKILL the file opens again and holds every run that had been written, and at most one more."""
    for attempt in ("first", "second", "third"):
        writer = start_writer(ledger, attempt, at=0, count=10**6)
        assert writer.stdout is not None
        written = [writer.stdout.readline().strip() for _ in range(7)]
        writer.kill()
        written += writer.communicate()[0].split()
        finished = [e.name for e in ledger.entries(limit=10**6) if e.state == "finished" and attempt in e.name]
        assert set(written) <= set(finished)
        assert len(finished) <= len(written) + 1
        last = ledger.profile(written[-1])
        assert last is not None
        assert len(last.series) == 4
    check = sqlite3.connect(ledger.path)
    assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    check.close()


def test_a_run_is_listed_while_it_goes_on_and_replaced_when_it_ends(ledger: Ledger) -> None:
    """What `finish` writes stands in the place of what `begin` wrote; writing it again leaves one run."""
    ledger.begin(entry("a"))
    assert ledger.find("a") == entry("a")
    assert ledger.profile("a") is None

    made = profile(series=(Series(name="s", unit="s", at_s=(1.0,), values=(2.0,)),))
    ledger.finish(made)
    ledger.finish(made)

    (found,) = ledger.entries()
    assert (found.state, found.folder) == ("finished", None)
    assert ledger.profile("a") == made


def test_a_run_that_was_never_begun_can_be_written(ledger: Ledger) -> None:
    """A profile alone makes a run."""
    ledger.finish(profile("late"))
    assert ledger.find("late").command == ("train",)


def test_a_name_is_taken_once(ledger: Ledger) -> None:
    """A second run of the same name is refused, and the first one stays."""
    ledger.begin(entry("a"))
    with pytest.raises(LedgerError, match="UNIQUE"):
        ledger.begin(entry("a", started="2027"))
    assert ledger.find("a").started == "2026-01-01"


def test_runs_are_found_by_what_their_name_begins_with(ledger: Ledger) -> None:
    """The whole name wins over a longer one; a beginning must be of one run alone; none means the latest."""
    for name, started in (("ab", "2026-01-03"), ("abc", "2026-01-02"), ("xyz", "2026-01-01")):
        ledger.begin(entry(name, started))
    assert ledger.find("ab").name == "ab"
    assert ledger.find("abc").name == "abc"
    assert ledger.find("x").name == "xyz"
    assert ledger.find(None).name == "ab"
    with pytest.raises(RunUnknownError, match="2 runs begin with 'a'") as several:
        ledger.find("a")
    assert "ab, abc" in str(several.value.hint)
    with pytest.raises(RunUnknownError, match="there is no run 'q'") as none:
        ledger.find("q")
    assert "xyz" in str(none.value.hint)


@pytest.mark.parametrize("name", ["%", "_", "a%", "a_c", "\\", "a'; DROP TABLE run; --"])
def test_a_name_is_no_pattern(ledger: Ledger, name: str) -> None:
    """Wildcards of SQL stand for themselves."""
    ledger.begin(entry("abc"))
    with pytest.raises(RunUnknownError):
        ledger.find(name)
    ledger.begin(entry(name + "d"))
    assert ledger.find(name).name == name + "d"


def test_the_newest_runs_come_first_and_only_as_many_as_asked(ledger: Ledger) -> None:
    """Of the same second the later one is the newer."""
    for name, started in (("old", "2025"), ("new", "2026"), ("newer", "2026")):
        ledger.begin(entry(name, started))
    assert [e.name for e in ledger.entries(limit=2)] == ["newer", "new"]


def test_before_the_first_run_the_message_says_what_to_do(ledger: Ledger) -> None:
    """Reading makes no file, and says that nothing has been measured."""
    with pytest.raises(LedgerError, match="there is no ledger") as error:
        ledger.entries()
    assert error.value.hint == "measure something first"
    assert not ledger.path.exists()


def test_an_older_ledger_is_brought_up_to_date_by_who_writes_and_by_who_reads(tmp_path: Path) -> None:
    """From an empty file and from an earlier version on, with all that was in it."""
    later = (*MIGRATIONS, "ALTER TABLE run ADD COLUMN note TEXT; UPDATE run SET note = 'old'")
    for way in ("write", "read"):
        path = tmp_path / way / "ledger.sqlite3"
        Ledger(path).finish(profile("kept"))
        if way == "write":
            Ledger(path, migrations=later).begin(entry("fresh"))
        assert "kept" in {e.name for e in Ledger(path, migrations=later).entries()}
        raw = sqlite3.connect(path)
        assert raw.execute("SELECT note FROM run WHERE name = 'kept'").fetchone() == ("old",)
        assert raw.execute("PRAGMA user_version").fetchone() == (len(later),)
        raw.close()
    empty = tmp_path / "empty.sqlite3"
    empty.touch()
    assert Ledger(empty).entries() == []


def test_a_migration_that_fails_leaves_the_ledger_as_it_was(ledger: Ledger) -> None:
    """The steps of a migration are taken together or not at all."""
    ledger.begin(entry("kept"))
    broken = Ledger(ledger.path, migrations=(*MIGRATIONS, "ALTER TABLE run ADD COLUMN note TEXT; NONSENSE"))
    with pytest.raises(LedgerError, match="syntax error"):
        broken.begin(entry("lost"))
    assert [e.name for e in ledger.entries()] == ["kept"]
    ledger.begin(entry("next"))


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_ledger_of_a_newer_suffice_is_refused_and_not_touched(ledger: Ledger, journal: str) -> None:
    """Neither reading nor writing changes a byte, and the hint says what to do."""
    ledger.begin(entry("a"))
    raw = sqlite3.connect(ledger.path)
    raw.execute(f"PRAGMA journal_mode = {journal}")
    raw.execute("PRAGMA user_version = 99")
    raw.close()
    before = ledger.path.read_bytes()
    for use in (ledger.entries, lambda: ledger.begin(entry("b"))):
        with pytest.raises(LedgerError, match=f"has schema 99, this suffice knows {len(MIGRATIONS)}") as error:
            use()
        assert "update suffice" in str(error.value.hint)
    assert ledger.path.read_bytes() == before


def test_what_is_no_ledger_is_refused_and_not_touched(ledger: Ledger) -> None:
    """A file of something else stays what it is."""
    ledger.path.parent.mkdir()
    ledger.path.write_bytes(b"my diary, " * 1000)
    for use in (ledger.entries, lambda: ledger.begin(entry("b"))):
        with pytest.raises(LedgerError, match="not a database"):
            use()
    assert ledger.path.read_bytes() == b"my diary, " * 1000


def test_a_damaged_page_is_an_error_of_the_ledger(ledger: Ledger) -> None:
    """Damage within the file is told like any other reason."""
    for i in range(50):
        ledger.begin(entry(f"run-{i}", folder="/x" * 500))
    raw = sqlite3.connect(ledger.path)
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()
    data = bytearray(ledger.path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    ledger.path.write_bytes(data)
    with pytest.raises(LedgerError, match=r"malformed|corrupt"):
        ledger.entries()


@pytest.mark.parametrize(
    ("column", "value"),
    [("profile", "{"), ("profile", "{}"), ("profile", '{"schema": 99}')],
    ids=["cut", "bare", "new"],
)
def test_a_damaged_profile_is_told_with_the_name_of_its_run(ledger: Ledger, column: str, value: str) -> None:
    """What stands in the row is data from outside."""
    ledger.finish(profile("a"))
    raw = sqlite3.connect(ledger.path)
    with raw:
        raw.execute(f"UPDATE run SET {column} = ?", (value,))  # noqa: S608 - the column is this test's
    raw.close()
    with pytest.raises(LedgerError, match="the profile of run a can't be read"):
        ledger.profile("a")


def test_a_damaged_series_is_told_with_the_name_of_its_run(ledger: Ledger) -> None:
    """A blob that is no series is no reason for a traceback."""
    ledger.finish(profile("a", series=(Series(name="s", unit="s", at_s=(1.0,), values=(2.0,)),)))
    raw = sqlite3.connect(ledger.path)
    with raw:
        raw.execute("UPDATE series SET data = x'00'")
    raw.close()
    with pytest.raises(LedgerError, match="the profile of run a can't be read"):
        ledger.profile("a")


def test_a_ledger_that_can_not_be_written_can_be_read() -> None:
    """In a folder of somebody else, runs are listed and found; writing says why it can't be."""
    folder = Path(tempfile.mkdtemp())
    ledger = Ledger(folder / "ledger.sqlite3")
    try:
        ledger.finish(profile("a"))
        folder.chmod(0o555)
        ledger.path.chmod(0o444)
        os.seteuid(NOBODY if os.getuid() == 0 else os.getuid())
        assert [e.name for e in ledger.entries()] == ["a"]
        assert ledger.profile("a") == profile("a")
        with pytest.raises(LedgerError, match=r"readonly|unable to open"):
            ledger.begin(entry("b"))
    finally:
        os.seteuid(os.getuid())
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    """The error says which folder it was."""
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match=r"folder .*file/home can't be made"):
        Ledger(tmp_path / "file" / "home" / "ledger.sqlite3").begin(entry("a"))


@pytest.mark.parametrize("name", ["a b", "100%", "a?mode=rw", "a#b", "ä", "%41"])
def test_any_folder_will_do(tmp_path: Path, name: str) -> None:
    """A home whose name holds what addresses give a meaning to is read where it was written."""
    ledger = Ledger(tmp_path / name / "ledger.sqlite3")
    ledger.begin(entry("a"))
    assert [e.name for e in ledger.entries()] == ["a"]


def test_a_full_profile_comes_back_equal(ledger: Ledger) -> None:
    """Every kind of record in a profile survives the way through the ledger."""
    figures = {
        "a_s": measured(1.5, "s", low=1.0, high=2.0, method="m"),
        "b_j": estimated(2.0, "J", low=1.0, high=3.0, method="m", source="s", date="2026"),
        "c_usd": looked_up(3.0, "USD", source="s", date="2026"),
    }
    loader = Loader(name="l", role="training", dataset="D", batch_size=None, workers=2, figures=figures)
    rank = Rank(
        rank=1,
        pid=2,
        device="cpu",
        figures=figures,
        split=figures,
        device_split=figures,
        loaders=(loader, replace(loader, batch_size=4, limited_by="I/O", reason="because")),
        facts={"models": ["Net"], "compiled": False},
    )
    made = profile(
        figures=figures,
        parts=figures,
        ranks=(rank,),
        machine={"gpus": [{"index": 0}], "processors": 4},
        series=(
            Series(name="one", unit="s", at_s=(1.0, 2.0), values=(3.0, 4.0)),
            Series(name="two", unit="s", at_s=(), values=(), rank=1),
        ),
        notes=(Note(text="t", level="warning"), Note(text="u")),
    )
    ledger.finish(made)
    assert ledger.profile("a") == made


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
SERIES = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=60).flatmap(
    lambda rows: st.builds(
        Series,
        name=st.text(max_size=20),
        unit=st.text(max_size=5),
        at_s=st.just(tuple(at for at, _ in rows)),
        values=st.just(tuple(value for _, value in rows)),
        rank=st.none() | st.integers(0, 2**31),
    )
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(series=st.lists(SERIES, max_size=5), words=st.lists(st.text(st.characters(codec="utf-8")), min_size=1))
def test_any_series_and_any_command_come_back_equal(ledger: Ledger, series: list[Series], words: list[str]) -> None:
    """Numbers to the last bit, text to the last letter, in their order."""
    made = profile(series=tuple(series), target=Target(command=tuple(words), cwd="/"))
    assert Profile.from_json(json.loads(json.dumps(as_json(made)))) == made
    ledger.finish(made)
    assert ledger.profile("a") == made


def test_a_profile_of_a_newer_suffice_is_refused() -> None:
    """A field may have changed its meaning."""
    data = as_json(profile())
    with pytest.raises(ValueError, match="this profile has schema 2, this suffice knows 1"):
        Profile.from_json({**data, "schema": 2})
