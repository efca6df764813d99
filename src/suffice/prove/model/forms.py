"""A model's forms in folders -> what each answers, scores and takes, in a worker of its own, beside the original."""

from __future__ import annotations

import hashlib
import math
import re
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from random import Random
from typing import Any

from suffice.errors import ModelError
from suffice.form.backends import ON_DEVICES
from suffice.form.description import Form, files_of
from suffice.measure.model.subject import Subject
from suffice.measure.model.timing import Times, by_turns, ratio, tokens_by_turns
from suffice.prove.model.quality import value_of
from suffice.records import Change, Figure, measured
from suffice.run.worker import Worker, WorkerError

ORIGINAL = "original"
BUILT, MODEL = "built", "model.sha256"
LIBRARIES = ("suffice", "torch", "onnxruntime", "openvino", "nncf")
ALONE = 8
"""So many samples are answered one by one as well."""

Bill = Callable[[float, float, float], Mapping[str, Figure]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Of building, opening and calling a form: seconds of each, memory in bytes, threads."""

    seconds: float = 300.0
    memory_bytes: float = float("inf")
    threads: int = 1


@dataclass(kw_only=True, slots=True)
class Made:
    """A form in a folder, and what was measured of it, by the batch's size.

    `medians` are seconds of a call, `ratios` the original's time over its own, by turns.
    """

    name: str
    folder: Path
    changes: tuple[Change, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    medians: dict[int, float] = field(default_factory=dict)
    ratios: dict[int, float] = field(default_factory=dict)
    spent_s: float = 0.0

    @property
    def form(self) -> Form:
        """What runs it."""
        return Form.read(self.folder)

    def sizes(self, batches: Sequence[int]) -> list[int]:
        """Those of the batch sizes that it takes, or the one that is fixed in it."""
        fixed = self.form.inputs[0].shape[0]
        return [fixed] if isinstance(fixed, int) else list(batches)

    def answers(self, split: str) -> Path:
        """Where its answers to a part of the samples are written."""
        return self.folder / f"{split}.npz"


class Forms:
    """Opens forms and asks them; to be closed, which ends the original's worker."""

    def __init__(
        self,
        subject: Subject,
        folder: Path,
        environment: Mapping[str, str],
        limits: Limits,
        *,
        bill: Bill,
        loading: Mapping[str, Any],
    ) -> None:
        """Open the original, which has a worker as long as this lives.

        `folder` has the subject's `samples`; `bill` tells a call's energy and carbon by its seconds on the clock and on
        the processor, and the bytes of its process; `loading` is what `load_target` takes beside the target.

        Raises:
            ModelError: if it can't be opened.
        """
        self.subject = subject
        self.folder = folder
        self.samples = folder / "samples"
        self.environment = environment
        self.limits = limits
        self.bill = bill
        self.scores: dict[tuple[str, str], list[float]] = {}
        self.found = 0
        """Forms that a search of this very model built before."""
        self.original = Made(name=ORIGINAL, folder=self.new_folder(ORIGINAL))
        replace(subject.form, settings=loading).write(self.original.folder)
        self.original.figures["size_bytes"] = measured(float(subject.weight_bytes), "B")
        self.plain: Worker | None = None
        try:
            self.wake()
            for split in ("search", "held-out"):
                self._answer(self.worker, self.original, split)
                self.score(self.worker, self.original, split)
        except WorkerError as error:
            self.close()
            raise ModelError(f"the model as it is can't be judged: {error}") from error
        self._find()

    @property
    def worker(self) -> Worker:
        """The original's."""
        if self.plain is None:
            raise WorkerError("the original is not open")
        return self.plain

    def wake(self) -> None:
        """Open the original, unless it is.

        Raises:
            WorkerError: if it can't be opened.
        """
        if self.plain is None or self.plain.ended:
            self.plain = self.open(self.original)

    def close(self) -> None:
        """End the original's worker."""
        if self.plain is not None:
            self.plain.close()

    def new_folder(self, name: str) -> Path:
        """A folder for a form, empty unless it was built before."""
        folder = self.folder / "".join(each if each.isalnum() or each == "-" else "_" for each in name)
        if not (folder / BUILT).exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        return folder

    def _find(self) -> None:
        """Count the forms that were built before; those of another model, or by other libraries, are removed."""
        digest = hashlib.sha256(repr([*map(_version, LIBRARIES)]).encode())
        target = Path(re.sub(r":\w+$", "", self.subject.target))
        for path in (target, *sorted(self.samples.rglob("*.npz")), self.original.answers("search")):
            digest.update(path.read_bytes())
        model, before = digest.hexdigest(), self.folder / MODEL
        for built in sorted(self.folder.glob(f"*/{BUILT}")):
            if before.exists() and before.read_text() == model:
                self.found += 1
            else:
                shutil.rmtree(built.parent)
        before.write_text(model)

    def build(self, change: Change, source: Made, made: Made, *, limit_s: float = math.inf) -> None:
        """Make a form out of another by a change, in a process of its own, within the limits and `limit_s`.

        Raises:
            WorkerError: if that fails, or takes more time or memory than it may.
        """
        limits = self.limits
        if not (made.folder / BUILT).exists():
            seconds = min(limits.seconds, limit_s)
            with Worker(
                made.folder, environment=self.environment, limit_s=seconds, limit_bytes=limits.memory_bytes
            ) as worker:
                folders = {"source": source.folder, "folder": made.folder, "samples": self.samples}
                named = {name: str(folder) for name, folder in folders.items()}
                worker.call("suffice.change.models:build_form", change.id, dict(change.settings), **named)
            (made.folder / BUILT).touch()
        sizes = [each.stat().st_size for each in files_of(made.folder)]
        made.figures["size_bytes"] = measured(float(sum(sizes)), "B")

    def open(self, made: Made) -> Worker:
        """A worker that has opened the form; to be closed.

        Raises:
            WorkerError: if it can't be opened.
        """
        limits = self.limits
        most = math.inf if made is self.original else limits.memory_bytes
        worker = Worker(made.folder, environment=self.environment, limit_s=limits.seconds, limit_bytes=most)
        try:
            folders = str(made.folder), str(self.samples)
            facts = worker.call("suffice.form.calls:open_here", *folders, threads=limits.threads)
        except BaseException:
            worker.close()
            raise
        for name, unit in (("load_s", "s"), ("first_s", "s"), ("memory_bytes", "B")):
            made.figures[name] = measured(float(facts.pop(name)), unit)
        made.facts |= facts
        return worker

    def distances(self, worker: Worker, made: Made) -> dict[str, dict[str, Any]]:
        """How far its answers are from the original's, many samples a call and one by one."""
        alone = made.folder / "alone.npz"
        self._answer(worker, made, "search")
        worker.call("suffice.form.calls:answer", str(self.samples), "search", str(alone), batch=1, most=ALONE)
        theirs = str(self.original.answers("search"))
        answers = {"": made.answers("search"), ", one sample a call": alone}
        return {
            how: worker.call("suffice.prove.model.scoring:distances", str(ours), theirs)
            for how, ours in answers.items()
        }

    def score(self, worker: Worker, made: Made, split: str) -> list[float]:
        """Its scores on a part of the samples, where it has answered the search's before.

        Raises:
            WorkerError: if it can't be judged.
        """
        quality, named = self.subject.quality, {}
        if quality == "function":
            function, judge = "function_scores", self.subject.target
        else:
            if split != "search":
                self._answer(worker, made, split)
            named = {"answers": str(made.answers(split)), "reference": str(self.original.answers(split))}
            function, judge = "scores", quality
        found = worker.call(f"suffice.prove.model.scoring:{function}", judge, str(self.samples), split, **named)
        if not found or not all(map(math.isfinite, found)):
            raise WorkerError(f"its {quality} on the {split} samples is not a finite number")
        self.scores[made.name, split] = [float(each) for each in found]
        name = "quality" if split == "search" else "held_out_quality"
        made.figures[name] = value_of(quality, self.scores[made.name, split])
        return self.scores[made.name, split]

    def time(self, worker: Worker, made: Made, batches: Sequence[int], *, rounds: int, rng: Random) -> None:
        """Its calls, by turns with the original's."""
        both = {ORIGINAL: self.worker, made.name: worker}
        found = {size: by_turns(both, size, rounds=rounds, rng=rng) for size in self.common_sizes(made, batches)}
        self.note(made, {size: times[made.name] for size, times in found.items()})
        gains = {size: ratio(times[ORIGINAL], times[made.name], rng) for size, times in found.items()}
        made.ratios |= {size: gain.value for size, gain in gains.items()}
        if made is not self.original:
            self.note_gains(made, gains)
        if self.subject.generates:
            self._time_tokens(both, made, rounds=rounds, rng=rng)

    def _time_tokens(self, both: Mapping[str, Worker], made: Made, *, rounds: int, rng: Random) -> None:
        """What a language model takes for the first token, and how many it gives a second from then on."""
        found, first = tokens_by_turns(both, rounds=rounds, rng=rng)
        each = found[made.name]
        token_s = statistics.median(each.calls)
        told = self.bill(token_s, each.processor_s_per_call, made.figures["memory_bytes"].value)
        made.figures |= {
            "first_token_s": measured(statistics.median(first[made.name]), "s", method="after half of a sample"),
            "tokens_per_s": measured(1 / token_s, "1/s", method="one sequence, all of it given again for each token"),
            "token_energy_j": told["energy_j"],
        }
        if made is not self.original:
            made.figures["token_gain"] = ratio(found[ORIGINAL], each, rng)

    def common_sizes(self, made: Made, batches: Sequence[int]) -> list[int]:
        """The batch sizes that it and the original take."""
        return [size for size in made.sizes(batches) if size in self.original.sizes([*batches, size])]

    @staticmethod
    def note_gains(made: Made, gains: Mapping[int, Figure]) -> None:
        """How much faster it is than the original with the smallest batch, and with the largest."""
        made.figures["speedup"] = gains[min(gains)]
        if len(gains) > 1:
            made.figures["throughput_gain"] = gains[max(gains)]

    def note(self, made: Made, times: Mapping[int, Times]) -> None:
        """The figures of its calls; the smallest batch is the latency's."""
        made.medians |= {size: statistics.median(each.calls) for size, each in times.items()}
        one = times[min(times)]
        for share in (0.5, 0.95, 0.99):
            made.figures[f"latency_p{share * 100:.0f}_s"] = one.latency(share)
        size = min(made.medians, key=lambda each: made.medians[each] / each)
        method = f"{size} samples a call, one call at a time"
        made.figures["throughput_per_s"] = measured(size / made.medians[size], "1/s", method=method)
        held = made.figures["memory_bytes"].value
        if made.form.backend not in ON_DEVICES:
            made.figures |= self.bill(statistics.median(one.calls), one.processor_s_per_call, held)

    def _answer(self, worker: Worker, made: Made, split: str) -> None:
        worker.call("suffice.form.calls:answer", str(self.samples), split, str(made.answers(split)))


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
