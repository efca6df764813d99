"""The trials of one search -> the ledger, one by one; and back, where a search was broken off."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from suffice.errors import LedgerError
from suffice.keep.ledger import Ledger
from suffice.keep.searches import Searches
from suffice.loop.studio import Studio
from suffice.prove.search import Terms
from suffice.records import Change, Note, Outcome, Search, Trial


class Diary:
    """The trials of one search, each written into the ledger as it is made; a ledger that can't be written is noted."""

    def __init__(self, searches: Searches | None, name: str, on_trial: Callable[[Trial], None]) -> None:
        self.searches = searches
        self.name = name
        self.on_trial = on_trial
        self.trials: list[Trial] = []
        self.changes: dict[str, Change] = {}
        self.notes: list[Note] = []
        self.broken_off = False

    def add(self, trial: Trial, change: Change | None) -> None:
        """A trial was made."""
        self._take(trial, change)
        self._written(lambda searches: searches.add_trial(self.name, trial, change))
        self.on_trial(trial)

    def recall(self, earlier: Iterable[tuple[Trial, Change | None]]) -> None:
        """Take over what was decided before the search was broken off."""
        for trial, change in earlier:
            if change is not None and trial.verdict.outcome is not Outcome.UNDECIDED:
                self._take(trial, change)

    def _take(self, trial: Trial, change: Change | None) -> None:
        if change is not None:  # one that goes on takes the place of what it began as
            self.trials = [each for each in self.trials if each.change != trial.change]
        self.trials.append(trial)
        if change is not None:
            self.changes[trial.change] = change

    @property
    def decided(self) -> set[str]:
        """Names of the changes whose trial is over."""
        return set(self.changes)

    @property
    def kept(self) -> list[Change]:
        """The changes that were kept by the trials so far."""
        return [self.changes[trial.change] for trial in self.trials if trial.kept and trial.change in self.changes]

    def interrupted(self) -> None:
        """The user has had enough; what was proven stays, and the next search goes on from here."""
        self.broken_off = True
        self.notes.append(Note(level="warning", text="interrupted: what was proven until then is kept"))

    def close(self, found: Search) -> None:
        """The search is over."""
        if not self.broken_off:
            self._written(lambda searches: searches.finish_search(self.name, found.plan, record=found))

    def _written(self, write_it: Callable[[Searches], None]) -> None:
        if self.searches is None:
            return
        try:
            write_it(self.searches)
        except LedgerError as error:
            self.searches = None
            self.notes.append(Note(level="warning", text=f"this search is not in the ledger: {error}"))


def open_diary(ledger: Ledger, studio: Studio, terms: Terms, on_trial: Callable[[Trial], None]) -> Diary:
    """A new search's, or that of one that was broken off, with what it had decided."""
    searches = Searches(ledger)
    command, cwd = studio.workshop.command, studio.target.cwd
    conditions = {"allow": sorted(terms.allow), "pairs": terms.pairs}
    try:
        entry = searches.open_search(command, cwd, conditions=conditions)
        if entry is None:
            searches.begin_search(studio.name, command, cwd, conditions=conditions)
            return Diary(searches, studio.name, on_trial)
        diary = Diary(searches, entry.name, on_trial)
        diary.recall(searches.trials(entry.name))
        studio.say(f"going on with search {entry.name}: {len(diary.trials)} trials were decided before")
    except LedgerError as error:
        diary = Diary(None, studio.name, on_trial)
        diary.notes.append(Note(level="warning", text=f"this search is not in the ledger: {error}"))
    return diary
