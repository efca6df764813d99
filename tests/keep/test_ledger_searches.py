"""Searches in the ledger: each trial is there once it is written, and a search that was broken off can go on."""

import os
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from suffice.errors import LedgerError, RunUnknownError
from suffice.keep.ledger import MIGRATIONS, Entry, Ledger
from suffice.keep.searches import SearchEntry, Searches
from tests.keep.made_searches import CHANGES, TRIALS, found, nothing_found

COMMAND = ("python", "train.py")

WRITER = """
import sys, time
from pathlib import Path
from suffice.keep.ledger import Ledger
from suffice.keep.searches import Searches
from suffice.records import Change, Outcome, Risk, Trial, Verdict

path, who, at, count = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
searches = Searches(Ledger(path))
while time.time() < at:
    pass
searches.begin_search(who, ["python", "train.py"], "/here")
verdict = Verdict(outcome=Outcome.REFUSED, reason="slower", pairs=200)
for i in range(count):
    change = Change(id=f"c{i}", settings={"i": i}, risk=Risk.EXACT, practice="p")
    times = tuple(float(i + k) for k in range(200))
    trial = Trial(change=change.name, verdict=verdict, plain_s=times, changed_s=times, spent_s=1.0)
    searches.add_trial(who, trial, change)
    print(i, flush=True)
time.sleep(float(sys.argv[5]))
"""


@pytest.fixture
def searches(tmp_path: Path) -> Searches:
    return Searches(Ledger(tmp_path / "home" / "ledger.sqlite3"))


def start_writer(
    searches: Searches, who: str, *, count: int, at: float = 0.0, stays_s: float = 0.0
) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", WRITER, str(searches.ledger.path), who, str(at), str(count), str(stays_s)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def raw(searches: Searches, statement: str) -> None:
    """Change the file behind the ledger's back."""
    connection = sqlite3.connect(searches.ledger.path)
    with connection:
        connection.execute(statement)
    connection.close()


def test_trials_come_back_in_their_order(searches: Searches) -> None:
    """With their times, verdicts and changes; the null candidate has no change."""
    searches.begin_search("a", COMMAND, "/here")
    for trial in TRIALS:
        searches.add_trial("a", trial, CHANGES.get(trial.change))
    assert searches.trials("a") == [(trial, CHANGES.get(trial.change)) for trial in TRIALS]


def test_two_processes_write_at_once_and_lose_nothing(searches: Searches) -> None:
    """Each search has all of its own trials, and none of the other's."""
    at = time.time() + 1
    writers = [start_writer(searches, who, count=40, at=at) for who in ("one", "two")]
    for writer in writers:
        _, complaint = writer.communicate(timeout=120)
        assert writer.returncode == 0, complaint
    for who in ("one", "two"):
        told = searches.trials(who)
        assert [change.settings["i"] for _, change in told if change] == list(range(40))
        assert told[7][0].plain_s[0] == 7.0


def test_a_kill_in_the_middle_loses_no_trial_that_was_written(searches: Searches) -> None:
    """After SIGKILL all trials that were written are there, and the search can be taken up."""
    writer = start_writer(searches, "killed", count=10**6)
    assert writer.stdout is not None
    written = [writer.stdout.readline().strip() for _ in range(9)]
    assert searches.open_search(COMMAND, "/here") is None, "somebody is at it"
    writer.kill()
    written += writer.communicate()[0].split()
    told = searches.trials("killed")
    assert len(written) <= len(told) <= len(written) + 1
    taken = searches.open_search(COMMAND, "/here")
    assert taken is not None
    assert (taken.name, taken.command, taken.state) == ("killed", COMMAND, "open")
    check = sqlite3.connect(searches.ledger.path)
    assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    check.close()


def test_a_search_that_goes_on_is_not_taken_up(searches: Searches) -> None:
    """Of two suffices that ask for the same search, the one that is at it keeps it."""
    writer = start_writer(searches, "running", count=1, stays_s=60)
    assert writer.stdout is not None
    writer.stdout.readline()
    assert searches.open_search(COMMAND, "/here") is None
    writer.kill()
    writer.communicate()
    # Whoever takes it up is at it from then on.
    assert searches.open_search(COMMAND, "/here") is not None
    asks = (
        "import sys; from pathlib import Path; from suffice.keep.ledger import Ledger; "
        "from suffice.keep.searches import Searches; "
        "print(Searches(Ledger(Path(sys.argv[1]))).open_search(['python', 'train.py'], '/here'))"
    )
    other = [sys.executable, "-c", asks, str(searches.ledger.path)]
    assert subprocess.run(other, capture_output=True, text=True, check=True).stdout == "None\n"


def test_the_newest_search_of_the_same_job_is_taken_up(searches: Searches) -> None:
    """Same command, folder and conditions, on this machine, and not finished."""
    conditions = {"torch": "2.13.0", "script": "abc"}
    for day in (1, 3, 2):
        searches.begin_search(f"day-{day}", COMMAND, "/here", conditions=conditions, started=f"2026-01-0{day}")
    searches.begin_search("elsewhere", COMMAND, "/there", conditions=conditions)
    searches.begin_search("other", ("python", "x.py"), "/here", conditions=conditions)
    searches.begin_search("torch", COMMAND, "/here", conditions={**conditions, "torch": "2.6"})

    def taken() -> str | None:
        entry = searches.open_search(COMMAND, "/here", conditions=dict(reversed(conditions.items())))
        return entry.name if entry else None

    assert taken() == "day-3"
    searches.finish_search("day-3", "schema = 1")
    assert taken() == "day-2"
    raw(searches, "UPDATE search SET host = 'another' WHERE name = 'day-2'")
    assert taken() == "day-1"
    searches.finish_search("day-1", None, state="void")
    assert taken() is None


def test_a_number_of_a_process_that_was_given_again_is_nobody(searches: Searches) -> None:
    """A process of that number that was born later is another one."""
    searches.begin_search("a", COMMAND, "/here")
    raw(searches, f"UPDATE search SET pid = {os.getppid()}, pid_born_s = 12.0")  # noqa: S608 - a number
    assert searches.open_search(COMMAND, "/here") is not None


def test_secrets_are_masked_and_the_search_is_found_all_the_same(searches: Searches) -> None:
    """The ledger holds no secret, and the command that has it finds its search."""
    command = ("train", "--token", "hf_secret")
    searches.begin_search("a", command, "/here")
    assert searches.open_search(command, "/here") is not None
    assert searches.entries()[0].command == ("train", "--token", "•••")


def test_a_finished_search_has_its_plan_and_its_record(searches: Searches) -> None:
    """The record comes back equal, with profiles and trials; a search without one has none."""
    whole = replace(found(stays=("sample-cache",), runs_per_year=300.0), whole_run=found().before)
    for number, record in enumerate((found(), whole, nothing_found())):
        name = f"s{number}"
        searches.begin_search(name, COMMAND, "/here", started=f"2026-01-0{number + 1}")
        assert searches.record(name) is None
        searches.finish_search(name, "schema = 1\n", record=record)
        assert searches.record(name) == record
    newest = searches.entries(limit=1)[0]
    assert newest == SearchEntry(
        name="s2", started="2026-01-03", command=COMMAND, cwd="/here", state="finished", plan="schema = 1\n"
    )


def test_a_search_that_there_is_not_is_told(searches: Searches) -> None:
    """By every method that is given a name; the hint lists what there is."""
    searches.begin_search("a", COMMAND, "/here")
    uses = (
        lambda: searches.trials("b"),
        lambda: searches.record("b"),
        lambda: searches.finish_search("b", None),
        lambda: searches.add_trial("b", TRIALS[0], None),
    )
    for use in uses:
        with pytest.raises(RunUnknownError, match="there is no search 'b'") as error:
            use()
        assert error.value.hint == "the ledger has a"
    with pytest.raises(LedgerError, match="UNIQUE"):
        searches.begin_search("a", COMMAND, "/here")


@pytest.mark.parametrize("data", ["{", "{}", '{"change": "a"}'])
def test_damage_is_told_with_the_name_of_the_search(searches: Searches, data: str) -> None:
    """What stands in a row is data from outside."""
    searches.begin_search("a", COMMAND, "/here")
    searches.add_trial("a", TRIALS[1], CHANGES["sample-cache"])
    searches.finish_search("a", None, record=found())
    raw(searches, f"UPDATE trial SET data = '{data}'")  # noqa: S608 - the data are this test's
    raw(searches, "UPDATE search SET record = x'00'")
    with pytest.raises(LedgerError, match="a trial of search a can't be read"):
        searches.trials("a")
    with pytest.raises(LedgerError, match="the record of search a can't be read"):
        searches.record("a")


def test_a_ledger_of_the_first_schema_is_brought_up_to_date(searches: Searches) -> None:
    """Its runs stay, and searches can be written beside them."""
    first = Ledger(searches.ledger.path, migrations=MIGRATIONS[:1])
    first.begin(Entry(name="run", started="2026", command=COMMAND, cwd="/here", state="running", folder=None))
    assert searches.entries() == []
    searches.begin_search("a", COMMAND, "/here")
    assert [entry.name for entry in searches.ledger.entries()] == ["run"]
    assert [entry.name for entry in searches.entries()] == ["a"]


def test_a_ledger_of_a_newer_suffice_is_refused(searches: Searches) -> None:
    """Neither reading nor writing touches it."""
    searches.begin_search("a", COMMAND, "/here")
    raw(searches, "PRAGMA user_version = 99")
    for use in (searches.entries, lambda: searches.begin_search("b", COMMAND, "/here")):
        with pytest.raises(LedgerError, match="has schema 99") as error:
            use()
        assert "update suffice" in str(error.value.hint)


def test_conditions_come_back(searches: Searches) -> None:
    """Numbers without end, nothing and lists among them."""
    conditions = {"budget_s": float("inf"), "trials": None, "allow": ["exact", "numeric"]}
    searches.begin_search("a", COMMAND, "/here", conditions=conditions)
    assert searches.entries()[0].conditions == conditions
