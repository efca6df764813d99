"""The sample cache: what it keeps, what it refuses and when it gives up; and that no number of the job changes."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, Subset

from suffice.agent.rig.job import Job, Refused
from suffice.change.data import batch_gather, sample_cache
from suffice.change.data.looking import choice
from tests.change.data import made_sets
from tests.change.data.conftest import Only, epoch

Course = Callable[..., dict[str, Any]]


KEPT = {
    "Files": "load",
    "NoChance": "load",
    "Method": "picture",
    "ByIndex": "__getitem__",
    "Held": "load",
    "ByName": "load",
    "AroundLoad": "load",
}


@pytest.mark.parametrize("name", KEPT)
def test_it_keeps_what_repeats(name: str, files: list[str], caching: Callable[..., Any]) -> None:
    """The outermost function that repeats; where it only passes a file's name on, the one that reads the file."""
    dataset = getattr(made_sets, name)(files)
    plain = epoch(DataLoader(dataset, 4, shuffle=True))
    switch, loader = caching(dataset)
    for _ in range(3):
        switch.reads(loader)
        assert epoch(loader) == plain
    facts = switch.facts()
    assert facts["functions"].endswith("." + KEPT[name])
    assert (facts["misses"], facts["entries"], facts["given_up"]) == (24 - facts["entries_found"] - 12, 24, None)
    assert facts["hits"] == 3 * 24 - facts["misses"] - facts["checked"]


def test_off_is_as_if_it_had_never_been(files: list[str], caching: Callable[..., Any]) -> None:
    """The functions have their own code again, and nothing is counted."""
    code = made_sets.load.__code__
    switch, loader = caching(made_sets.Files(files))
    assert made_sets.load.__code__ is not code
    switch.off()
    assert made_sets.load.__code__ is code
    epoch(loader)
    assert switch.facts()["hits"] == switch.facts()["misses"] == 0
    switch.on()
    epoch(loader)
    assert switch.facts()["misses"] == 12


def test_hits_are_copies(files: list[str], caching: Callable[..., Any]) -> None:
    """Who writes into a sample spoils nobody's."""
    dataset = made_sets.NoChance(files)
    caching(dataset)
    first = dataset[0][0].clone()
    for _ in range(3):
        dataset[0][0].zero_()
    assert torch.equal(dataset[0][0], first)


REFUSED = {
    "RareFlip": "noisy_load draws random numbers .from torch",
    "Inline": "__getitem__ draws random numbers .from random",
    "OwnGenerator": "picture draws random numbers .from Generator",
    "SecretAround": "differ from run to run",
    "Secret": "returned something else when called again",
    "Clock": "returned something else when called again",
    "Counter": "returned something else when called again",
    "Odd": "returns what can't be kept: tests.change.data.made_sets.Sample",
    "KeepsAll": "keeps its results by itself",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_repeat_is_refused(name: str, files: list[str], caching: Callable[..., Any]) -> None:
    """Before anything is cached, with the reason; and the job's own random state is untouched."""
    dataset = getattr(made_sets, name)(files)
    torch.manual_seed(3)
    before = torch.get_rng_state(), random.getstate(), dict(vars(dataset))
    own = dataset.generator.get_state() if name == "OwnGenerator" else torch.zeros(1)
    with pytest.raises(Refused, match=REFUSED[name]):
        caching(dataset)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), vars(dataset))
    assert torch.equal(own, dataset.generator.get_state() if name == "OwnGenerator" else torch.zeros(1))


def test_what_is_cheap_is_not_kept(
    files: list[str], caching: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the usual bounds."""
    monkeypatch.undo()
    with pytest.raises(Refused, match=r"draws random|takes long"):
        caching(made_sets.Cheap(files))


def test_a_result_that_is_made_as_fast_as_found_is_not_kept(
    files: list[str], caching: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a function takes is compared with what finding and copying its result takes."""
    monkeypatch.setattr(choice, "GAIN", 1e6)
    with pytest.raises(Refused, match="load takes hardly longer than to find and copy"):
        caching(made_sets.Files(files))


def test_an_epoch_that_changes_the_samples_ends_it(files: list[str], caching: Callable[..., Any]) -> None:
    """What the training loop sets is looked at before each epoch, and in every call."""
    dataset = made_sets.Epoch(files)
    switch, loader = caching(dataset)
    switch.reads(loader)
    plain = epoch(loader)
    dataset.epoch = 1
    switch.reads(loader)
    assert epoch(loader) != plain
    assert "epoch" in switch.facts()["given_up"]


def test_a_change_within_an_epoch_ends_it(files: list[str], caching: Callable[..., Any]) -> None:
    """Not even between two samples is anything old handed out."""
    dataset = made_sets.Method(files, power=1)
    caching_switch, _ = caching(dataset)
    one = dataset.picture(0)
    dataset.power = 2
    assert torch.equal(dataset.picture(0), one**2)
    assert "power" in caching_switch.facts()["given_up"]


def test_a_global_that_changes_ends_it(
    files: list[str], caching: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The globals that a function names, and those that its helpers name."""
    dataset = made_sets.Global(files)
    switch, loader = caching(dataset)
    plain = epoch(loader)
    monkeypatch.setattr(made_sets, "FACTOR", 3.0)
    switch.reads(loader)
    assert epoch(loader) != plain
    assert "FACTOR" in switch.facts()["given_up"]


@pytest.mark.parametrize("name", ["Files", "ByIndex", "InFolder"])
def test_a_file_that_was_rewritten_is_read_again(name: str, files: list[str], caching: Callable[..., Any]) -> None:
    """Where a file is named in the call, that sample alone is; else the cache is given up at the next epoch."""
    dataset = getattr(made_sets, name)(files)
    switch, loader = caching(dataset)
    epoch(loader)
    Path(files[3]).write_bytes(bytes(reversed(Path(files[3]).read_bytes())))
    os.utime(files[3], ns=(1, 1))
    switch.reads(loader)
    seen = epoch(loader)
    switch.off()
    assert seen == epoch(loader)
    assert ("a file that" in (switch.facts()["given_up"] or "")) == (name != "Files")


def test_a_spot_check_ends_what_no_test_could_foresee(
    files: list[str], caching: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something that no one can see makes the function return something else: one of some hundred hits finds it."""
    monkeypatch.setitem(made_sets.FACTORS, "mean", 0.5)
    switch, loader = caching(made_sets.Files(files))
    epoch(loader)
    made_sets.FACTORS["mean"] = 0.25  # within an epoch, where nobody looks
    for _ in range(20):
        epoch(loader)
    assert "load returned something else than before" in switch.facts()["given_up"]
    switch.off()
    plain = epoch(loader)
    switch.on()
    assert epoch(loader) == plain


def test_a_file_that_is_gone_fails_as_before(files: list[str], caching: Callable[..., Any]) -> None:
    """Nothing is handed out for it, and the cache goes on."""
    dataset = made_sets.Files(files)
    switch, _ = caching(dataset)
    for _ in range(2):
        [dataset[place] for place in range(4)]
    Path(files[2]).unlink()
    with pytest.raises(FileNotFoundError):
        dataset[2]
    hits = switch.facts()["hits"]
    dataset[3]
    assert (switch.facts()["hits"], switch.facts()["given_up"]) == (hits + 1, None)


def test_calls_are_told_apart(files: list[str], caching: Callable[..., Any]) -> None:
    """A number is not its text, and neither a truth; nor is one data set another."""
    one, other = made_sets.Method(files), made_sets.Method(files, power=3)
    caching(one)
    wanted = [one.picture(index) for index in (0, 1)]
    for _ in range(2):
        assert torch.equal(one.picture(0), wanted[0])
        assert torch.equal(one.picture(True), wanted[1])
        assert torch.equal(one.picture(1), wanted[1])
        assert not torch.equal(other.picture(0), wanted[0])


def test_views_of_a_data_set_lead_to_it(files: list[str], caching: Callable[..., Any]) -> None:
    """Through `Subset` and `ConcatDataset`: the parts share what is kept."""
    whole = made_sets.ByIndex(files)
    joined = ConcatDataset([Subset(whole, range(12)), Subset(whole, range(6, 24))])
    plain = epoch(DataLoader(joined, 4, shuffle=True))
    switch, loader = caching(joined)
    assert epoch(loader) == epoch(loader) == plain
    assert switch.facts()["entries"] == 24


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[int]:
        return iter(range(4))


def test_an_iterable_data_set_is_refused(caching: Callable[..., Any], job: Job) -> None:
    """Its samples are known by nothing."""
    with pytest.raises(Refused, match="known by no index"):
        sample_cache.prepare(Only(job, DataLoader(Stream())), {})


def test_spawned_workers_are_refused(files: list[str], job: Job) -> None:
    """They share nothing with the job."""
    loader = DataLoader(made_sets.Files(files), 4, num_workers=1, multiprocessing_context="spawn")
    with pytest.raises(Refused, match="started by spawn"):
        sample_cache.prepare(Only(job, loader), {})


@pytest.mark.parametrize("store", ["file", "memory"])
def test_a_rehearsal_fills_it_without_the_job_noticing(
    files: list[str], caching: Callable[..., Any], store: str
) -> None:
    """In processes of their own; afterwards nothing is a miss, and no generator has moved."""
    switch, loader = caching(made_sets.Files(files), store=store)
    switch.off()
    plain = epoch(loader)
    torch.manual_seed(9)
    before = torch.get_rng_state(), random.getstate()
    assert switch.rehearse(loader, 30.0)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    missed = switch.facts()["misses"]
    switch.on()
    assert epoch(loader) == plain
    assert switch.facts()["misses"] == missed
    assert switch.facts()["store"] == store


def test_a_rehearsal_without_time_says_so(files: list[str], caching: Callable[..., Any]) -> None:
    """What is not in is filled later."""
    switch, loader = caching(made_sets.Files(files))
    assert not switch.rehearse(loader, 0.0)


def test_a_second_job_starts_warm(files: list[str], caching: Callable[..., Any]) -> None:
    """The same code, data set and files: nothing is studied or filled again."""
    switch, loader = caching(made_sets.Method(files))
    plain = epoch(loader)
    switch.off()
    again, loader = caching(made_sets.Method(files))
    assert again.facts()["entries_found"] == 24
    assert epoch(loader) == plain
    assert again.facts()["misses"] == 0
    again.off()
    other, _ = caching(made_sets.Method(files, power=3))
    assert other.facts()["entries_found"] == 0, "another data set has another store"


def test_data_made_anew_get_a_store_of_their_own(files: list[str], caching: Callable[..., Any]) -> None:
    """What was kept of the old data would take the room of the new."""
    for found in (0, 24, 0):
        switch, loader = caching(made_sets.Files(files))
        epoch(loader)
        switch.off()
        assert (switch.facts()["entries_found"], switch.facts()["entries"]) == (found, 24)
        if found:
            for each in files:
                Path(each).write_bytes(b"\x07" * made_sets.SIDE**2)


def test_files_that_changed_between_two_jobs_are_read_again(files: list[str], caching: Callable[..., Any]) -> None:
    """Where no call names them as well; and what rests on files that are known to nobody stays within its job."""
    for name in ("ByIndex", "InFolder"):
        switch, loader = caching(getattr(made_sets, name)(files))
        epoch(loader)
        switch.off()
        Path(files[3]).write_bytes(bytes([len(name)]) * made_sets.SIDE**2)
        again, _ = caching(getattr(made_sets, name)(files))
        again.off()
        assert again.facts()["entries_found"] == 0
    for each in files:
        Path(each + ".mask").write_bytes(b"1")
    for _ in range(2):
        switch, loader = caching(made_sets.Masked(files))
        epoch(loader)
        switch.off()
        assert (switch.facts()["entries_found"], switch.facts()["entries"]) == (0, 24)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"chosen": [{}]}', '{"chosen": 1, "doubtful": 2}'])
def test_a_foreign_note_is_not_believed(files: list[str], caching: Callable[..., Any], job: Job, text: str) -> None:
    """What stands in the scratch folder is read rightly or studied again."""
    switch, _ = caching(made_sets.Files(files))
    switch.off()
    (note,) = Path(job.scratch).glob("study-*.json")
    note.write_text(text)
    again, _ = caching(made_sets.Files(files))
    assert again.facts()["functions"].endswith(".load")
    assert len(note.read_text()) > len(text)


def test_two_data_sets_share_what_they_both_call(files: list[str], job: Job) -> None:
    """The function that is kept for training serves validation too, and is studied once."""
    train, check = DataLoader(made_sets.Files(files), 4, shuffle=True), DataLoader(made_sets.NoChance(files), 4)
    plain = epoch(check)
    switch = sample_cache.prepare(Only(job, check, train), {})
    try:
        switch.on()
        epoch(train)
        missed = switch.facts()["misses"]
        assert epoch(check) == plain
        assert switch.facts()["misses"] == missed
        assert switch.facts()["functions"].endswith(".load")
    finally:
        switch.off()


def test_a_loader_that_comes_later_is_taken_in(files: list[str], job: Job) -> None:
    """Where none was there yet, the study waits for the first that is read."""
    switch = sample_cache.prepare(Only(job), {})
    try:
        switch.on()
        loader = DataLoader(made_sets.Files(files), 4)
        switch.reads(loader)
        epoch(loader)
        epoch(loader)
        assert switch.facts()["hits"] >= 24
    finally:
        switch.off()


@pytest.mark.parametrize(("workers", "shuffle"), [(0, False), (0, True), (2, True)])
def test_losses_are_bitwise_equal(course: Course, workers: int, *, shuffle: bool) -> None:
    """Three epochs with random augmentation and dropout, at the same number of workers."""
    plain = course("Files", workers=workers, shuffle=shuffle)
    cached = course("Files", "sample-cache", workers=workers, shuffle=shuffle)
    for part in ("losses", "labels", "states", "refused"):
        assert cached[part] == plain[part]
    facts = cached["facts"]
    assert facts["given_up"] is None
    assert facts["hits"] + facts["checked"] >= 48
    if shuffle:
        warm = course("Files", "sample-cache", workers=workers, shuffle=shuffle)
        assert warm["losses"] == plain["losses"]
        assert (warm["facts"]["entries_found"], warm["facts"]["misses"]) == (24, 0)


@pytest.mark.parametrize("workers", [0, 2])
def test_it_can_be_switched_step_by_step(course: Course, workers: int) -> None:
    """From the middle of an epoch on, also in workers that have started; no loss is another."""
    plain = course("Method", workers=workers, epochs=6)
    toggled = course("Method", "sample-cache", workers=workers, epochs=6, when="middle", toggle=2)
    assert toggled["refused"] is None
    for part in ("losses", "labels", "states"):
        assert toggled[part] == plain[part]
    assert toggled["facts"]["hits"] > 10
    assert toggled["facts"]["hits"] < 5 * 24


def test_persistent_workers_are_served_too(course: Course) -> None:
    """They were started once, with the switch in them."""
    plain = course("Files", workers=2, persistent=True)
    cached = course("Files", "sample-cache", workers=2, persistent=True)
    assert cached["losses"] == plain["losses"]
    assert cached["facts"]["hits"] >= 40


def test_an_epoch_dependent_job_keeps_its_losses(course: Course) -> None:
    """The cache is given up; the losses are those without it."""
    plain = course("Epoch")
    cached = course("Epoch", "sample-cache")
    assert cached["losses"] == plain["losses"]
    assert cached["facts"]["given_up"]


def test_a_program_of_its_own_keeps_its_losses(program: Course, course: Course) -> None:
    """No fork of the tests, and every warning an error: nothing is said, and no loss is another."""
    plain = course("Files", workers=2)
    cached = program("Files", "sample-cache", workers=2)
    assert (cached["refused"], cached["losses"], cached["states"]) == (None, plain["losses"], plain["states"])
    assert cached["facts"]["hits"] >= 40


def test_what_helps_evaluation_alone_is_refused(files: list[str], job: Job) -> None:
    """A trial looks at training, and would find nothing."""
    train, check = DataLoader(made_sets.Inline(files), 4, shuffle=True), DataLoader(made_sets.ByIndex(files), 4)
    code = made_sets.ByIndex.__getitem__.__code__
    with pytest.raises(Refused, match=r"Inline.__getitem__ draws random numbers"):
        sample_cache.prepare(Only(job, check, train), {})
    assert made_sets.ByIndex.__getitem__.__code__ is code
    with pytest.raises(Refused, match="Inline: its samples draw"):
        batch_gather.prepare(Only(job, check, train), {})
