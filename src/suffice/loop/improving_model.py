"""Improve a model: look at it, try its forms, and write the cheapest that is good enough as a bundle."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from suffice.errors import ModelError
from suffice.keep.bundle import require_place, write_bundle
from suffice.keep.circumstances import facts_of
from suffice.keep.home import Home, new_run_name
from suffice.loop.search_folder import search_folder
from suffice.measure.account.place import find_place
from suffice.measure.machine import this_machine
from suffice.measure.model.bill import bill_of_call
from suffice.measure.model.subject import Subject
from suffice.prove.model.forms import ORIGINAL, Forms, Limits
from suffice.prove.model.search import ModelTerms, ModelTrials
from suffice.records import FormTrial, Goal, ModelSearch, Note, Outcome, as_json, front
from suffice.run.worker import Worker, WorkerError

LESS = ("latency_p50_s", "energy_j", "size_bytes", "memory_bytes")
LOWER_IS_BETTER = frozenset({"perplexity", "error"})


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelTarget:
    """What the user pointed at, with the samples and the quality that were named beside it; `trust`: pickle may run."""

    name: str
    samples: str | None = None
    quality: str | None = None
    trust: bool = False

    @property
    def loading(self) -> dict[str, Any]:
        """What `load_target` takes beside the name."""
        return {} if self.name.endswith(".onnx") else {"trust": self.trust, "samples": self.samples}


def improve_model(
    target: ModelTarget,
    terms: ModelTerms,
    limits: Limits,
    goal: Goal,
    home: Home,
    *,
    bundle: Path | None,
    say: Callable[[str], None] = lambda _: None,
    on_trial: Callable[[FormTrial], None] = lambda _: None,
) -> ModelSearch:
    """Search the forms of a model and write the best as `bundle`; without one, only the original is measured.

    Raises:
        ModelError: if the model, its samples or its quality is not what it must be.
    """
    if bundle is not None:
        require_place(bundle)
    began_s, started = time.monotonic(), time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    machine, environment = this_machine(), _environment(limits.threads)
    folder = search_folder(home.folder / "models", Path(target.name).resolve(), target.samples, target.quality)
    with folder as place, ExitStack() as stack:
        say("looking at the model and its samples")
        subject = _subject(target, place, environment, limits, terms)
        bill = partial(bill_of_call, machine=machine, place=find_place(goal))
        forms = Forms(subject, place, environment, limits, bill=bill, loading=target.loading)
        stack.callback(forms.close)
        search = ModelTrials(forms, terms, frozenset(machine.flags), say=say)
        trials, notes = _tried(search, on_trial, forms=bundle is not None)
        chosen = search.choose() if bundle is not None else ORIGINAL
        found = ModelSearch(
            name=new_run_name(),
            target=target.name,
            started=started,
            seconds=time.monotonic() - began_s,
            quality=subject.quality,
            floor=terms.bar.text,
            minimise=terms.minimise,
            threads=limits.threads,
            chosen=chosen,
            trials=_with_front(subject, [search.latest(trial) for trial in trials]),
            refused=tuple(each for each in search.refused if each[0] not in {trial.name for trial in trials}),
            batches=terms.batches,
            subject=as_json(subject),
            notes=tuple(notes),
            machine={"processor": facts_of(machine).processor or "unknown", "flags": list(machine.flags)},
        )
        if bundle is not None and chosen != ORIGINAL:
            write_bundle(found, search.good[chosen].folder, bundle)
        return found


def _tried(
    search: ModelTrials, on_trial: Callable[[FormTrial], None], *, forms: bool
) -> tuple[list[FormTrial], list[Note]]:
    """The original, and its `forms` if they are wanted; Ctrl-C ends that, and the best so far is chosen from."""
    if search.forms.found:
        search.say(f"going on where another search was killed: {search.forms.found} forms of the same model are built")
    trials = [search.original()]
    on_trial(trials[0])
    try:
        for trial in search.each() if forms else ():
            trials.append(trial)
            on_trial(trial)
    except KeyboardInterrupt:
        return trials, [Note(level="warning", text="it was broken off: not every form was tried")]
    return trials, []


def _with_front(subject: Subject, trials: Sequence[FormTrial]) -> tuple[FormTrial, ...]:
    """The trials; those that none beats in everything are marked."""
    lower = subject.quality in LOWER_IS_BETTER
    less, more = (*LESS, *(["quality"] * lower)), ("throughput_per_s", *(["quality"] * (not lower)))
    best = front([each for each in trials if each.outcome is Outcome.KEPT], less, more)
    return tuple(replace(each, front=each.name in best) for each in trials)


def _environment(threads: int) -> Mapping[str, str]:
    """Every library that makes threads of its own makes as many."""
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


def _subject(
    target: ModelTarget, folder: Path, environment: Mapping[str, str], limits: Limits, terms: ModelTerms
) -> Subject:
    place, samples = folder / "look", folder / "samples"
    for each in (place, samples):
        shutil.rmtree(each, ignore_errors=True)
        each.mkdir()
    with Worker(place, environment=environment, limit_s=limits.seconds) as worker:
        try:
            told: Any
            if target.name.endswith(".onnx"):
                told = worker.call(
                    "suffice.measure.model.onnx_target:inspect_onnx",
                    target.name,
                    str(samples),
                    samples=target.samples,
                    quality=target.quality,
                )
            else:
                told = worker.call(
                    "suffice.measure.model.torch_target:inspect_module",
                    target.name,
                    str(samples),
                    quality=target.quality,
                    **target.loading,
                )
        except WorkerError as error:
            raise ModelError(str(error)) from error
    return replace(Subject.from_json(told), fine_tune_steps=terms.fine_tune_steps)
