"""Two bundles -> what differs in how they came about, how far apart their answers are, and which of them is faster.

Nothing of either is opened before its files are those that were written, and both answer the same samples: the user's,
or those of their self-tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from suffice.errors import ModelError
from suffice.form.bundle import SAMPLE, notes_of, read_manifest, require_fit, require_intact
from suffice.form.description import Form
from suffice.form.samples import FEW, Batch, of_size, write_part
from suffice.measure.model.timing import by_turns, ratio
from suffice.prove.model.quality import difference_of, value_of
from suffice.records import BundleDifference, Figure, Note, OutputGap, measured
from suffice.run.worker import Worker, WorkerError, with_threads

ROUNDS, FEWEST_CALLS = 20, 10
WITH_LABELS = ("accuracy", "error", "perplexity")
"""The qualities that need no original."""
PART, LABELS = "all", "labels"


@dataclass(frozen=True, kw_only=True, slots=True)
class DiffTerms:
    """`samples` is an .npz with an array for each input, and `labels`; `batches` are the samples of a timed call.

    `trust`: a bundle may be machine code.
    """

    samples: Path | None = None
    quality: str | None = None
    threads: int = 1
    batches: tuple[int, ...] = (1, 8, 32)
    rounds: int = ROUNDS
    seed: int = 0
    trust: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """A bundle whose files are those that were written; none of its model is open yet."""

    folder: Path
    manifest: Mapping[str, Any]
    form: Form

    @staticmethod
    def of(folder: Path) -> Side:
        """The bundle of a folder.

        Raises:
            ModelError: if it is none, or damaged.
        """
        manifest = read_manifest(folder)
        require_intact(folder, manifest)
        return Side(folder=folder, manifest=manifest, form=Form.read(folder))

    @property
    def batch(self) -> int | None:
        """The samples of a call, where they are fixed."""
        size = self.form.inputs[0].shape[0]
        return size if isinstance(size, int) else None

    def table(self, name: str) -> Mapping[str, Any]:
        """A table of the manifest."""
        found = self.manifest.get(name, {})
        return found if isinstance(found, Mapping) else {}

    def takes(self) -> str:
        """Its inputs, in words."""
        told = (f"{port.name} {port.dtype} ({', '.join(map(str, port.shape))})" for port in self.form.inputs)
        return ", ".join(told)


def difference(a: Path, b: Path, place: Path, terms: DiffTerms) -> BundleDifference:
    """Compare two bundles; `place` is an empty folder.

    Raises:
        ModelError: if one is no bundle, they don't take the same inputs, or one can't answer.
    """
    sides = Side.of(a), Side.of(b)
    _require_alike(*sides)
    batches = list(_own(sides)) if terms.samples is None else [_given(terms.samples, sides)]
    for side in sides:
        for batch in batches:
            one = batch if side.batch is None else of_size([batch], side.batch)
            require_fit(side.form, side.table("bounds"), one.inputs)
    write_part(place, PART, batches)
    write_part(place, "few", [of_size(batches, FEW)])
    try:
        return _compared(sides, batches, place, terms)
    except WorkerError as error:
        raise ModelError(f"{a} and {b} can't be compared: {error}", hint=error.hint) from error


def _require_alike(first: Side, second: Side) -> None:
    """Raise where the same samples can't be given to both: other kinds of inputs, or an order that names contradict."""
    ours, theirs = first.form.inputs, second.form.inputs
    same = len(ours) == len(theirs) and all(
        one.dtype == other.dtype
        and (one.name == other.name or len(ours) == 1)
        and len(one.shape) == len(other.shape)
        and all(_may_be_same(*sizes) for sizes in zip(one.shape[1:], other.shape[1:], strict=True))
        for one, other in zip(ours, theirs, strict=False)
    )
    if not same:
        raise ModelError(f"{first.folder} takes {first.takes()}, but {second.folder} {second.takes()}")


def _may_be_same(one: int | str, other: int | str) -> bool:
    """Whether an axis can have one size in both: a name is free."""
    return isinstance(one, str) or isinstance(other, str) or one == other


def _own(sides: Sequence[Side]) -> Iterator[Batch]:
    """The samples of their self-tests; one that both came with counts once."""
    seen: list[Batch] = []
    for side in sides:
        with np.load(side.folder / SAMPLE, allow_pickle=False) as arrays:
            inputs = tuple(arrays[f"input{number}"] for number in range(len(side.form.inputs)))
        known = (zip(inputs, each.inputs, strict=True) for each in seen)
        if not any(all(np.array_equal(one, other) for one, other in pairs) for pairs in known):
            seen.append(Batch(inputs=inputs, labels=None))
    yield from seen


def _given(path: Path, sides: Sequence[Side]) -> Batch:
    """The user's samples, by the names of the inputs of the first bundle, or of the second."""
    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
    except (OSError, ValueError) as error:
        raise ModelError(f"the samples {path} can't be read: {error}") from error
    names = next((names for names in map(_names, sides) if set(names) <= set(arrays)), None)
    if names is None:
        wanted, had = ", ".join(_names(sides[0])), ", ".join(arrays) or "nothing"
        raise ModelError(f"{path} must have an array for each input ({wanted}), and has {had}")
    inputs = tuple(arrays[port].astype(kind.dtype) for port, kind in zip(names, sides[0].form.inputs, strict=True))
    labels = arrays.get(LABELS)
    sizes = {each.shape[:1] for each in (*inputs, *([] if labels is None else [labels]))}
    if len(sizes) != 1 or not all(len(each) for each in inputs):
        raise ModelError(f"{path}: inputs and labels must have as many samples each, one at least")
    return Batch(inputs=inputs, labels=labels)


def _names(side: Side) -> list[str]:
    return [port.name for port in side.form.inputs]


def _compared(sides: tuple[Side, Side], batches: Sequence[Batch], place: Path, terms: DiffTerms) -> BundleDifference:
    with ExitStack() as stack:
        workers, figures, files = {}, [], []
        for name, side in zip("ab", sides, strict=True):
            (place / name).mkdir()
            worker = stack.enter_context(Worker(place / name, environment=with_threads(terms.threads)))
            opened = {"threads": terms.threads, "trust": terms.trust}
            told = worker.call("suffice.form.calls:open_bundle", str(side.folder), str(place), **opened)
            figures.append(_opened(side, told))
            files.append(str(place / f"{name}.npz"))
            worker.call("suffice.form.calls:answer", str(place), PART, files[-1])
            workers[name] = worker
        gaps = workers["a"].call("suffice.prove.model.scoring:gaps", files[1], files[0])
        judge = _judge(terms.quality, batches[0].labels, sides)
        scores = [_scores(workers["a"], judge, place, file) for file in files] if judge else []
        for each, own in zip(figures, scores, strict=False):
            each["quality"] = value_of(str(judge), own)
        speed, notes = _timed(sides, workers, figures, terms)
    return BundleDifference(
        a=str(sides[0].folder),
        b=str(sides[1].folder),
        differs=dict(_differs(*sides)),
        samples=sum(map(len, batches)),
        samples_from=str(terms.samples or "their self-tests"),
        threads=terms.threads,
        outputs=tuple(OutputGap(**each) for each in gaps),
        figures_a=figures[0],
        figures_b=figures[1],
        speed=speed,
        quality=judge,
        quality_difference=difference_of(judge, scores[1], scores[0]) if judge else None,
        notes=(*notes, *_notes(sides)),
    )


def _opened(side: Side, told: Mapping[str, Any]) -> dict[str, Figure]:
    """What it takes to open it; its size is that of its files without the sample."""
    size = sum((side.folder / name).stat().st_size for name in side.manifest["files"] if name != SAMPLE)
    units = {"load_s": "s", "first_s": "s", "memory_bytes": "B"}
    found = {name: measured(float(told[name]), unit) for name, unit in units.items()}
    return {"size_bytes": measured(float(size), "B"), **found}


def _judge(quality: str | None, labels: Any, sides: Sequence[Side]) -> str | None:
    """By what both are judged: what was asked for, with labels what the first was proven by where it needs such."""
    if quality is not None or labels is None:
        return quality
    proven = sides[0].table("proof").get("quality")
    if proven in WITH_LABELS:
        return str(proven)
    return "accuracy" if labels.dtype.kind in "iu" else "error"


def _scores(worker: Worker, judge: str, place: Path, answers: str) -> list[float]:
    files = {"answers": answers, "reference": answers}
    found: list[float] = worker.call("suffice.prove.model.scoring:scores", judge, str(place), PART, **files)
    return found


def _timed(
    sides: Sequence[Side], workers: Mapping[str, Worker], figures: Sequence[dict[str, Figure]], terms: DiffTerms
) -> tuple[dict[int, Figure], list[Note]]:
    """How many times as fast the second is, by the samples of a call; the latency of the fewest into `figures`."""
    fixed = {side.batch for side in sides if side.batch is not None}
    if len(fixed) > 1:
        told = " and ".join(f"{side.folder} {side.batch}" for side in sides)
        return {}, [Note(level="warning", text=f"no speed is told: of samples a call takes {told}")]
    rng = Random(terms.seed)  # noqa: S311 - it tosses a coin
    speed: dict[int, Figure] = {}
    for size in sorted(fixed or terms.batches):
        times = by_turns(workers, size, rounds=terms.rounds, rng=rng, fewest=FEWEST_CALLS)
        speed[size] = ratio(times["a"], times["b"], rng)
        for each, name in zip(figures, times, strict=True):
            each.setdefault("latency_p50_s", times[name].latency(0.5))
    return speed, []


def _differs(first: Side, second: Side) -> Iterator[tuple[str, tuple[str, str]]]:
    """What the manifests tell of how the bundles came about, where they tell different things."""
    ours, theirs = dict(_told(first)), dict(_told(second))
    for name in dict.fromkeys((*ours, *theirs)):
        if ours.get(name) != theirs.get(name):
            yield name, (ours.get(name, ""), theirs.get(name, ""))
    flags = [set(side.table("processor").get("flags", ())) for side in (first, second)]
    if flags[0] != flags[1]:
        yield "flags", (" ".join(sorted(flags[0] - flags[1])), " ".join(sorted(flags[1] - flags[0])))


def _told(side: Side) -> Iterator[tuple[str, str]]:
    model, run, proof = side.table("model"), side.table("run"), side.table("proof")
    for table, names in (
        (model, ("target", "made", "suffice")),
        (run, ("backend", "precision", "changes", "settings", "versions", "threads")),
        (side.table("processor"), ("name",)),
        (proof, ("quality", "floor", "verdict")),
    ):
        for name in names:
            if name in table:
                yield ("processor" if name == "name" else name), _words(table[name])
    yield "inputs", side.takes()
    yield "bounds", _words(side.table("bounds"))


def _words(value: Any) -> str:
    """A value of a manifest, short."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    return str(value)


def _notes(sides: Sequence[Side]) -> Iterator[Note]:
    """Where the models are the same files; what was not proven on this processor."""
    models = [{name: digest for name, digest in side.manifest["files"].items() if name != SAMPLE} for side in sides]
    if models[0] == models[1]:
        yield Note(text="both have the same model, byte for byte")
    for side in sides:
        for note in notes_of(side.manifest):
            yield Note(level="warning", text=f"{side.folder}: {note}")
