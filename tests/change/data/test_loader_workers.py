"""Workers beside the training: no batch lost, doubled or out of order, and every reason against them found before."""

import gc
import multiprocessing
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from suffice.agent.rig.job import Job, Refused
from suffice.change.data import loader_workers
from suffice.change.data.feeding import relay
from suffice.change.data.feeding.limits import obstacle, of_shared_memory
from suffice.change.data.looking import apart
from suffice.records import Loader, measured
from tests.change.data import made_samples as made
from tests.change.data.conftest import Only
from tests.change.profiles import profile

Course = Callable[..., dict[str, Any]]
WORKERS = {"workers": 2, "prefetch_factor": 2}


@pytest.fixture
def fed(job: Job) -> Iterator[Callable[..., Any]]:
    """`fed(loader)`: its switch, on, which has been told that the loader is read; its workers end with the test."""
    made_here = []

    def feed(loader: DataLoader, **settings: Any) -> Any:
        switch = loader_workers.prepare(Only(job, loader), {**WORKERS, **settings})
        made_here.append(switch)
        switch.on()
        switch.reads(loader)
        return switch

    yield feed
    for switch in made_here:
        switch.stand_in.take_out()
        for served in switch.served.values():
            served.close()
    gc.collect()


def indices(loader: DataLoader, seed: int = 3) -> list[list[int]]:
    """The samples of each batch of an iteration, under a seed."""
    torch.manual_seed(seed)
    return [batch[1].tolist() for batch in loader]


@pytest.mark.parametrize(("workers", "every"), [(0, 1), (0, 3), (1, 2), (1, 5)])
def test_turns_change_without_losing_a_batch(fed: Callable[..., Any], workers: int, every: int) -> None:
    """Whoever fetches, and however often that changes: each batch once, in the order of the sampler."""
    loader = DataLoader(made.Numbers(), 2, shuffle=True, num_workers=workers)
    plain = [indices(loader, seed) for seed in range(3)]
    state = torch.get_rng_state()
    switch = fed(loader)
    for seed in range(3):
        torch.manual_seed(seed)
        switch.reads(loader)
        seen = []
        for step, (numbers, places) in enumerate(loader):
            assert numbers[:, 0].tolist() == places.tolist()
            seen.append(places.tolist())
            (switch.off if step // every % 2 else switch.on)()
        assert seen == plain[seed]
    assert torch.equal(torch.get_rng_state(), state)
    facts = switch.facts()
    assert (facts["risk"], facts["given_up"]) == ("exact", None)
    assert facts["batches_of_workers"] + facts["batches_of_itself"] == 33
    assert facts["batches_of_workers"] >= 15


def test_an_iteration_that_goes_on_is_taken_over(fed: Callable[..., Any]) -> None:
    """The trial need not wait for the next epoch."""
    loader = DataLoader(made.Numbers(), 2, shuffle=True)
    plain = indices(loader)
    torch.manual_seed(3)
    seen = []
    for step, batch in enumerate(loader):
        seen.append(batch[1].tolist())
        if step == 3:
            switch = fed(loader)
    assert seen == plain
    assert switch.facts()["batches_of_workers"] == 11 - 4
    switch.reads(loader)
    assert indices(loader) == plain


def test_off_is_the_loader_as_it_was(fed: Callable[..., Any]) -> None:
    """The process itself fetches, or as many workers as before."""
    for workers in (0, 1):
        loader = DataLoader(made.Numbers(), 2, shuffle=True, num_workers=workers)
        plain = indices(loader)
        switch = fed(loader)
        switch.off()
        assert indices(loader) == plain
        (served,) = switch.served.values()
        assert sorted(served.pools) == ([(1, 2)] if workers else [])


def test_random_samples_are_those_of_as_many_workers(fed: Callable[..., Any]) -> None:
    """Fed from the start, a loader gives the very draws that it would give with these workers, if it may."""
    torch.manual_seed(1)
    wanted = [batch[0] for batch in DataLoader(made.Draws(), 2, shuffle=True, num_workers=2)]
    loader = DataLoader(made.Draws(), 2, shuffle=True)
    switch = fed(loader, draws="others")
    torch.manual_seed(1)
    seen = [batch[0] for batch in loader]
    assert all(torch.equal(one, other) for one, other in zip(wanted, seen, strict=True))
    assert switch.facts()["risk"] == "stochastic"


def test_a_sampler_that_draws_as_it_goes_is_no_exact_case(fed: Callable[..., Any]) -> None:
    """It would draw ahead of what the model draws."""

    class Drawing(torch.utils.data.Sampler):
        def __iter__(self) -> Iterator[int]:
            return (int(torch.randint(0, made.COUNT, ())) for _ in range(made.COUNT))

        def __len__(self) -> int:
            return made.COUNT

    with pytest.raises(Refused, match="draw ahead of it"):
        fed(DataLoader(made.Numbers(), 2, sampler=Drawing()))
    assert fed(DataLoader(made.Numbers(), 2, sampler=Drawing()), draws="others").facts()["risk"] == "stochastic"


def test_persistent_workers_of_the_job_give_way(fed: Callable[..., Any]) -> None:
    """The loader keeps one iterator; it is replaced without a draw, and reset as torch does."""
    loader = DataLoader(made.Numbers(), 2, shuffle=True, num_workers=1, persistent_workers=True)
    first, rest = indices(loader), [indices(loader, 7), indices(loader, 8)]
    again = DataLoader(made.Numbers(), 2, shuffle=True, num_workers=1, persistent_workers=True)
    assert indices(again) == first
    switch = fed(again)
    assert indices(again, 7) == rest[0]
    switch.reads(again)
    assert indices(again, 8) == rest[1]
    assert switch.facts()["batches_of_workers"] == 22


def test_an_iteration_that_was_left_leaves_nothing_behind(fed: Callable[..., Any]) -> None:
    """Neither a break nor an iterator that lingers brings old batches into the next."""
    loader = DataLoader(made.Numbers(), 2, shuffle=True)
    plain = indices(loader)
    switch = fed(loader)
    for _ in loader:
        break
    switch.reads(loader)
    assert indices(loader) == plain
    switch.reads(loader)
    torch.manual_seed(3)
    lingering = iter(loader)
    seen = [next(lingering)[1].tolist()]
    switch.reads(loader)
    assert indices(loader) == plain
    seen += [batch[1].tolist() for batch in lingering]
    assert seen == plain


def test_a_failing_sample_fails_as_before(fed: Callable[..., Any]) -> None:
    """The same kind of exception, at the same batch."""
    loader = DataLoader(made.Numbers(), 2)
    fed(loader)
    loader.dataset.__class__ = made.Fails
    seen = []
    with pytest.raises(KeyError, match="thirteen"):
        seen.extend(loader)
    assert len(seen) == 6


def test_workers_that_die_are_no_loss(fed: Callable[..., Any]) -> None:
    """What they were to fetch is fetched by the process itself, and there are no others."""
    loader = DataLoader(made.Sleeps(), 2, shuffle=True)
    plain = indices(loader)
    switch = fed(loader)
    torch.manual_seed(3)
    seen = []
    for step, batch in enumerate(loader):
        seen.append(batch[1].tolist())
        if step == 2:
            (served,) = switch.served.values()
            (pool,) = served.pools.values()
            for worker in pool.iterator._workers:
                os.kill(worker.pid, signal.SIGKILL)
            time.sleep(0.2)  # torch's handler of the signal would raise here, in the job's own code
    assert seen == plain
    assert "workers ended" in switch.facts()["given_up"]
    switch.reads(loader)
    assert indices(loader) == plain


def test_a_data_set_that_changes_gets_new_workers(fed: Callable[..., Any]) -> None:
    """Else they would go on with the one that they were born with."""
    dataset = made.Epoch()
    loader = DataLoader(dataset, 2)
    switch = fed(loader)
    for epoch in range(3):
        dataset.epoch = epoch
        switch.reads(loader)
        assert {float(value) for batch in loader for value in batch[0].flatten()} == {float(epoch)}
    assert switch.facts()["batches_of_workers"] == 33


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "stream": (lambda _: DataLoader(made.Stream()), "every sample once for each worker"),
    "sharded": (lambda _: DataLoader(made.Sharded()), "in another order"),
    "draws": (lambda _: DataLoader(made.Draws()), "workers would draw others"),
    "draws from numpy": (lambda _: DataLoader(made.DrawsFromNumpy()), "from numpy.*would draw others"),
    "own generator": (lambda _: DataLoader(made.DrawsFromOwn()), "generator of its own .Random."),
    "counts": (lambda _: DataLoader(made.Counts()), "depend on more than their index"),
    "fails": (lambda _: DataLoader(made.Fails(), 13, sampler=[13]), "KeyError"),
    "open file": (lambda path: DataLoader(made.HoldsFile(path)), "HoldsFile.file is open"),
    "unordered": (lambda _: DataLoader(made.Numbers(), num_workers=1, in_order=False), "whichever order"),
    "pickle": (
        lambda _: DataLoader(made.Numbers(), 2, lambda: 0, num_workers=1, multiprocessing_context="spawn"),
        "can't be pickled",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_what_forbids_workers_is_found_before(name: str, job: Job, tmp_path: Path) -> None:
    """With the reason, and without a worker."""
    path = tmp_path / "file"
    path.write_bytes(b"")
    make, reason = REFUSED[name]
    loader = make(path)
    if name == "pickle":
        loader.collate_fn = lambda batch: batch
    with pytest.raises(Refused, match=reason):
        loader_workers.prepare(Only(job, loader), WORKERS)
    if name == "open file":
        loader.dataset.file.close()
    assert multiprocessing.active_children() == []


def test_limits_of_the_process_are_found_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open files, shared memory, daemons, and a program without a guard where workers are not forked."""
    loader = DataLoader(made.Numbers(), 2)

    def with_few_files() -> str:
        resource.setrlimit(resource.RLIMIT_NOFILE, (70, 70))
        return obstacle(torch, loader, 2, 2)

    def in_a_daemon() -> str:
        multiprocessing.current_process()._config["daemon"] = True
        return obstacle(torch, loader, 2, 2)

    assert "ulimit -n" in apart.run(torch, with_few_files, 60.0)
    assert "daemonic" in apart.run(torch, in_a_daemon, 60.0)
    assert "don't fit" in of_shared_memory(2, 2, 1e15)
    assert of_shared_memory(2, 2, 1e3) == obstacle(torch, loader, 2, 2) == ""
    spawning = DataLoader(made.Numbers(), 2, num_workers=1, multiprocessing_context="spawn")
    for text, reason in (("for x in [1]:\n  pass\n", "__main__"), ("if __name__ == '__main__':\n  print(1)\n", "")):
        program = tmp_path / "program.py"
        program.write_text(text)
        monkeypatch.setattr(sys.modules["__main__"], "__file__", str(program), raising=False)
        assert reason in obstacle(torch, spawning, 2, 2)
        assert bool(obstacle(torch, spawning, 2, 2)) == bool(reason)


def test_one_processor_is_the_trainings(job: Job) -> None:
    """Workers would take turns with it."""

    class One(Only):
        processors = 1

    with pytest.raises(Refused, match="one processor"):
        loader_workers.prepare(One(job, DataLoader(made.Numbers())), WORKERS)


def test_other_draws_are_not_allowed_in_vain(job: Job) -> None:
    """A data set that draws nothing is tried as what it is: exact."""
    with pytest.raises(Refused, match="that is tried by itself"):
        loader_workers.prepare(Only(job, DataLoader(made.Numbers())), {**WORKERS, "draws": "others"})


def test_losses_with_workers(course: Course) -> None:
    """Of a data set that draws nothing they are bitwise the same, also with dropout, and switched within the epoch."""
    plain = course("ByIndex", epochs=3)
    for options in ({}, {"when": "middle", "toggle": 3}):
        worked = course("ByIndex", "loader-workers", settings=WORKERS, epochs=3, **options)
        for part in ("losses", "labels", "states", "refused"):
            assert worked[part] == plain[part]
        assert worked["facts"]["risk"] == "exact"
        assert worked["facts"]["batches_of_workers"] >= 6


def training(**facts: Any) -> Loader:
    """A training loader of a profile, that reads a sample in a tenth of a second."""
    told = {"limited_by": "compute", "workers": 0, "fetch_s": 0.1, "fetch_queueing_s": 0.0, **facts}
    figures = {name: measured(told.pop(name), "s/sample") for name in ("fetch_s", "fetch_queueing_s")}
    return Loader(name="a", role="training", dataset="Files", batch_size=4, figures=figures, **told)


WAITING = {"wait_for_data": 0.5, "forward": 0.5}


@pytest.mark.parametrize(
    ("loader", "split", "processors", "expected"),
    [
        (training(), WAITING, 4, [2, 3, 4]),
        (training(), WAITING, 1, "one processor"),
        (training(), {"wait_for_data": 0.01, "forward": 1.0}, 4, "waits for data 1.0%"),
        (training(limited_by="a lock"), WAITING, 4, "wait for each other"),
        (training(limited_by="I/O"), WAITING, 1, [2]),
        (training(workers=8, fetch_queueing_s=0.06), {"wait_for_data": 0.0, "forward": 1.0}, 4, [4, 3]),
        (training(workers=2, fetch_s=0.2), WAITING, 2, [1]),
    ],
)
def test_what_is_proposed(loader: Loader, split: dict[str, float], processors: int, expected: Any) -> None:
    """The numbers of workers that a profile calls for, or the reason why none."""
    from dataclasses import replace

    made_up = profile(split=split, machine={"processors_allowed": processors})
    figures = {"samples_per_s": measured(10.0, "samples/s")}
    told = replace(made_up, ranks=(replace(made_up.ranks[0], loaders=(loader,), figures=figures),))
    proposed = loader_workers.propose(told)
    if isinstance(expected, str):
        assert expected in proposed
    else:
        assert [settings["workers"] for settings in proposed] == 2 * expected
        risks = [loader_workers.risk_of(settings) for settings in proposed]
        assert risks == ["exact"] * len(expected) + ["stochastic"] * len(expected)


def epochs(loader: DataLoader, draws: Callable[[int], int], reads: Callable[[Any], None] = lambda _: None) -> list[Any]:
    """The batches of three epochs, after each of which a training draws so many numbers; and what comes after all."""
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002 - the one that data sets draw from
    seen: list[Any] = []
    for _ in range(3):
        reads(loader)
        for step, (values, places) in enumerate(loader):
            seen.append((values.tolist(), places.tolist()))
            torch.nn.functional.dropout(torch.ones(draws(step)), 0.5)
        torch.rand(3)  # as an evaluation would
    return [*seen, torch.rand(1).item(), random.random(), np.random.rand()]  # noqa: NPY002


RELAYED = {"torch": made.Draws, "numpy": made.DrawsFromNumpy, "python": made.DrawsFromPython}


@pytest.mark.parametrize("draws", [0, 7, 5000])
@pytest.mark.parametrize("dataset", RELAYED.values(), ids=RELAYED)
def test_one_worker_goes_on_with_the_random_numbers(fed: Callable[..., Any], dataset: Any, draws: int) -> None:
    """Batches and what is drawn after them are bit by bit those without it; what the training draws is passed over."""
    plain = epochs(DataLoader(dataset(), 2, shuffle=True), lambda _: draws)
    loader = DataLoader(dataset(), 2, shuffle=True)
    switch = fed(loader, workers=1)
    assert epochs(loader, lambda _: draws, switch.reads) == plain
    facts = switch.facts()
    assert (facts["risk"], facts["given_up"]) == ("exact", None)
    assert facts["batches_of_itself"] == (2 if draws else 0), "those in flight when it is found how many are drawn"
    assert facts["batches_of_workers"] + facts["batches_of_itself"] == 3 * len(loader)


def test_draws_that_can_not_be_foreseen_cost_no_number(fed: Callable[..., Any]) -> None:
    """Where the training draws another number each time, or from Python too, the worker is given up."""
    for draws, why in ((lambda step: step * 11 % 7, "another number"), (lambda _: random.randrange(9), "foreseen")):
        plain = epochs(DataLoader(made.Draws(), 2, shuffle=True), draws)
        loader = DataLoader(made.Draws(), 2, shuffle=True)
        switch = fed(loader, workers=1)
        assert epochs(loader, draws, switch.reads) == plain
        assert why in switch.facts()["given_up"]


def test_a_worker_that_takes_turns_with_the_process_goes_on_where_it_is(fed: Callable[..., Any]) -> None:
    """As in a trial, where it is switched every few batches."""
    plain = epochs(DataLoader(made.Draws(), 2, shuffle=True), lambda _: 40)
    loader = DataLoader(made.Draws(), 2, shuffle=True)
    switch = fed(loader, workers=1)

    def toggled(step: int) -> int:
        (switch.off if step // 3 % 2 else switch.on)()
        return 40

    assert epochs(loader, toggled, switch.reads) == plain
    assert min(switch.facts()["batches_of_workers"], switch.facts()["batches_of_itself"]) > 5


def test_the_numbers_between_two_states_are_counted() -> None:
    """Across blocks of 624, and where something else moved as well, not at all."""
    for drawn in (0, 1, 623, 624, 625, 5000, 100_000):
        torch.manual_seed(2)
        torch.rand(100)
        before = relay.state_of(torch)
        torch.empty(drawn, dtype=torch.uint8).random_(0, 2)
        assert relay.draws_between(torch, before, relay.state_of(torch)) == drawn
    before = relay.state_of(torch)
    random.random()
    assert relay.draws_between(torch, before, relay.state_of(torch)) is None
    relay.restore(torch, before)
    assert relay.state_of(torch) == before
