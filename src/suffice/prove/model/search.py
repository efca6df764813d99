"""A model and a floor -> its forms, tried cheap before dear, and the cheapest of those that are good enough.

Each form is built in a process of its own, answers real samples in two batch sizes as the original does before it is
timed, and is timed in turns with the original. What can't beat the best form so far, by the most that its technique
gains, is not built. The floor is kept on samples that neither calibration nor the search has seen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from suffice.change.models import EXPORT, ORDER, STRUCTURES, change_of, technique
from suffice.errors import ModelError
from suffice.form.backends import MACHINE_CODE
from suffice.form.bundle import SAMPLE
from suffice.measure.model.timing import SLICE_S, TIE, by_turns, fastest, ratio
from suffice.prove.model.edge import EDGE, holds_too_much, soonest
from suffice.prove.model.forms import ORIGINAL, Forms, Made
from suffice.prove.model.quality import CONFIDENCE, Bar, judge, value_of
from suffice.records import Change, FormTrial, Judgement, Outcome, Risk
from suffice.run.worker import WorkerError

ROUNDS, LAST_ROUNDS, LAST_CALLS = 6, 20, 10
LEAST_GAIN, BISECTIONS = 1.03, 4
LEAST_COSINE = 0.9
MOST_STRETCHED = 1.25
MOST_ROUNDING = 1e-3
BY_FIGURE = {"energy": "energy_j", "size": "size_bytes", "memory": "memory_bytes", EDGE: "size_bytes"}
"""What is told by one figure, and not by the time of calls."""
FIRST_SHARE = 0.8
WORTH_CONFIRMING, MOST_CONFIRMED = 1.15, 4
"""Forms within so much of the best, and so many of them, are timed once more, all by turns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelTerms:
    """What a search may do, and what it looks for.

    `minimise` is "latency" (of one sample), "throughput" (its inverse), "energy", "size" or "memory"; or "edge",
    the size of what a bundle can hold, and of a tie the time to open it and call it once, in `memory_bytes` at most.
    `batches` are the sizes of a call that are timed, the first of them 1.
    """

    bar: Bar
    minimise: str = "latency"
    allow: frozenset[Risk] = frozenset({Risk.EXACT, Risk.NUMERIC})
    fine_tune_steps: int = 0
    seconds: float = 600.0
    batches: tuple[int, ...] = (1, 8, 32)
    seed: int = 0
    memory_bytes: float = math.inf


class ModelTrials:
    """Builds forms one by one and tries them; `good` grows by those that hold."""

    def __init__(
        self,
        forms: Forms,
        terms: ModelTerms,
        flags: frozenset[str],
        *,
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`flags` are the processor's."""
        self.forms = forms
        self.terms = terms
        self.flags = flags
        self.say = say
        self.clock = clock
        self.deadline = clock() + terms.seconds
        self.rng = Random(terms.seed)  # noqa: S311 - it tosses a coin
        self.good = {ORIGINAL: forms.original}
        self.too_large: set[str] = set()
        self.doubtful: list[Made] = []
        """Quick ones whose quality is below the floor, or not above it for sure."""
        self.refused: list[tuple[str, str]] = []
        self.told: dict[str, str] = {}

    def original(self) -> FormTrial:
        """Look whether the model as it is can be compared with.

        Raises:
            ModelError: if it is no better than chance.
        """
        subject, made = self.forms.subject, self.forms.original
        reached = self._judge(self.forms.scores[ORIGINAL, "held-out"], "held-out")
        if reached.met is False:
            raise ModelError(f"the model as it is misses the floor: {reached.reason}")
        quality = value_of(subject.quality, [score for each in self.forms.scores.values() for score in each])
        if subject.quality == "accuracy" and subject.chance is not None and (quality.low or 0.0) <= subject.chance:
            raise ModelError(
                f"its accuracy of {quality.value:.3f} ({quality.low:.3f} for sure) is no better than naming the most "
                f"frequent label ({subject.chance:.3f})",
                hint="is it trained, and are the labels its own? Where labels are that uneven, give a quality function",
            )
        try:
            self.forms.time(self.forms.worker, made, self.terms.batches, rounds=ROUNDS, rng=self.rng)
        except WorkerError as error:
            raise ModelError(f"the model as it is can't be timed: {error}") from error
        self.deadline -= min(self._end_s(), self.terms.seconds / 2)
        return _trial(made, Outcome.KEPT, "what the others are compared with")

    def _end_s(self) -> float:
        """About what is kept for the end: the best forms and the original by turns, two that answer held out."""
        medians, last = self.forms.original.medians, max(self.forms.original.medians)
        size = last if self.terms.minimise == "throughput" else min(medians)
        by_turns_s = (MOST_CONFIRMED + 1) * LAST_ROUNDS * max(SLICE_S, LAST_CALLS * medians[size])
        return by_turns_s + 2 * self.forms.subject.samples["held-out"] * medians[last] / last

    def each(self) -> Iterator[FormTrial]:
        """Build and try what the techniques propose, in their order; then the same of models of another structure."""
        yield from self._techniques(ORDER, self.forms.original)
        for trial in self._techniques(STRUCTURES, self.forms.original):
            yield trial
            if trial.name in self.good:
                wanted = getattr(technique(trial.changes[0].id), "FORMS", ORDER)
                yield from self._techniques([name for name in wanted if technique(name).AFTER], self.good[trial.name])

    def _techniques(self, names: Sequence[str], root: Made) -> Iterator[FormTrial]:
        """What they make of one model."""
        for name in names:
            module = technique(name)
            proposed = module.propose(self.forms.subject, self.flags)
            if isinstance(proposed, str):
                self.refused.append((name, proposed))
                continue
            rescued = getattr(module, "RESCUES", None)
            doubtful = self._doubtful(rescued, root)
            if rescued and doubtful is None:
                self.refused.append((name, f"there is no form by {rescued} whose quality is in doubt"))
                continue
            if doubtful is not None and hasattr(module, "BISECTS"):
                yield from self._bisected(change_of(name, proposed[0]), module, doubtful, root)
                continue
            for settings in proposed:
                yield from self._of_each(change_of(name, settings), module, root)

    def _of_each(self, change: Change, module: Any, root: Made) -> Iterator[FormTrial]:
        """The change of each form that it may start from."""
        sources = self._sources(module, root)
        if not sources:
            self.refused.append((change.name, f"there is no form by {module.AFTER} to start from"))
        for source in sources:
            reason = self._not_worth(change, module, source)
            if reason is None:
                yield self._try(change, source, root)
            else:
                self.refused.append((change.name, reason))

    def _doubtful(self, by: str | None, root: Made) -> Made | None:
        """The form of a model by this technique whose quality is in doubt, if there is one."""
        own = (each for each in self.doubtful if each.changes[: len(root.changes)] == root.changes)
        return next((each for each in own if each.changes[-1].id == by), None)

    def _bisected(self, change: Change, module: Any, quick: Made, root: Made) -> Iterator[FormTrial]:
        """Forms between one that is quick and loses too much and one that loses less: as quick as the floor lets be."""
        low, high = 0.0, 1.0
        source = quick if module.AFTER == module.RESCUES else self._sources(module, root)[0]
        for _ in range(BISECTIONS):
            share = (low + high) / 2
            change = replace(change, settings={**change.settings, module.BISECTS: share})
            reason = self._not_worth(change, module, quick)
            if reason is not None:
                self.refused.append((change.name, reason))
                return
            trial = self._try(change, source, root)
            yield trial
            missed = next((each for each in self.doubtful if each.name == trial.name), None)
            if missed is None and trial.outcome is Outcome.REFUSED:
                return  # it could not be built, or answers wrongly
            if missed is None:
                high = share
            else:
                low, quick = share, replace(quick, ratios=missed.ratios)  # those after it are slower yet

    def _sources(self, module: Any, root: Made) -> list[Made]:
        """The forms of a model that a technique starts from: where any of a backend's would do, the best.

        If the quality of that one is in doubt, the best of the others too.
        """
        if module.AFTER is None:
            return [root]
        own = [made for made in self.good.values() if made.changes[: len(root.changes)] == root.changes]
        if getattr(module, "OF_BEST", False):
            backend = module.AFTER.replace("-", "_")
            fitting = sorted((made for made in own if made.form.backend == backend), key=self._cost)
            sure = [made for made in fitting if made not in self.doubtful]
            return list({made.name: made for made in (*fitting[:1], *sure[:1])}.values())
        if root.changes and module.AFTER == EXPORT:
            return [root]  # a structure is exported as soon as it is made
        return [made for made in own if made.changes and made.changes[-1].id == module.AFTER][:1]

    def _not_worth(self, change: Change, module: Any, source: Made) -> str | None:
        """Why a change is not built, or None."""
        if change.risk not in self.terms.allow:
            return f"it is {change.risk}: allow it with --allow {change.risk}"
        if self.clock() + getattr(module, "BUILD_S", 0.0) > self.deadline:
            return "no time was left for it: give more with --time"
        if (spared_by := self._spared_by(change, module)) is not None:
            return f"{spared_by} holds, which makes it needless"
        if getattr(module, "THAN_EXACT", False):
            exact = [made for made in self.good.values() if made.changes and _is_exact(made.changes)]
            source = min(exact, key=self._cost, default=source)
        if self.terms.minimise in BY_FIGURE or not source.changes:
            return None
        sure = [made for made in self.good.values() if made not in self.doubtful]
        best, gain = min(sure, key=self._cost), module.gain(self.flags)
        if self._cost(source) / gain * LEAST_GAIN > self._cost(best):
            return f"it gains {gain:g}x at most over {source.name}, and {best.name} is faster than that"
        return None

    def _spared_by(self, change: Change, module: Any) -> str | None:
        """The form that makes a structure needless: what leaves out more, or does without training."""
        if change.id not in STRUCTURES:
            return None
        for name, made in self.good.items():
            if made in self.doubtful:
                continue
            more = bool(made.changes) and made.changes[0].id == change.id
            if more or (len(made.changes) == 2 and made.changes[-1].id in getattr(module, "SPARED_BY", ())):
                return name
        return None

    def _try(self, change: Change, source: Made, root: Made) -> FormTrial:
        of = source if getattr(technique(change.id), "OF_BEST", False) else root
        name = change.name if of is self.forms.original else f"{change.name} of {of.name}"
        made = Made(name=name, folder=self.forms.new_folder(name), changes=(*source.changes, change))
        begun_s = self.clock()
        try:
            judgement = self._judged(change, source, made)
        except WorkerError as error:
            judgement = Judgement(met=False, reason=str(error))
        made.spent_s = self.clock() - begun_s
        if made.ratios and not judgement.met and not _is_exact(made.changes):
            self.doubtful.append(made)
        if judgement.met is False:
            return _trial(made, Outcome.REFUSED, judgement.reason)
        self.good[made.name] = made
        held = holds_too_much(made, self.terms.memory_bytes)
        if held is not None:  # others may start from it all the same
            self.too_large.add(made.name)
            return _trial(made, Outcome.REFUSED, held)
        return _trial(made, Outcome.KEPT, judgement.reason)

    def _judged(self, change: Change, source: Made, made: Made) -> Judgement:
        """Whether the form answers as it should and is good enough on the search's samples; it is timed between."""
        self.say(f"{made.name}: building it")
        self.forms.build(change, source, made, limit_s=self.deadline - self.clock())
        with self.forms.open(made) as worker:
            wrong = self._wrong(self.forms.distances(worker, made), source, made)
            if wrong is not None:
                return Judgement(met=False, reason=wrong)
            self.say(f"{made.name}: timing it by turns with the original")
            self.forms.time(worker, made, self.terms.batches, rounds=ROUNDS, rng=self.rng)
            scores = self.forms.score(worker, made, "search")
        return self._judge(scores, "search")

    def _wrong(self, told: dict[str, dict[str, Any]], source: Made, made: Made) -> str | None:
        """What its answers show: it is another model, or an exact form rounds too much, or nothing has changed."""
        exact = _is_exact(made.changes)
        may_differ = self.forms.subject.quality == "function" or any(
            each.risk is Risk.SEMANTIC for each in made.changes
        )
        for how, each in told.items():
            if not each["finite"]:
                return f"its answers are not finite{how}"
            if each["cosine"] < LEAST_COSINE and not may_differ:
                return (
                    f"it is another model: the cosine of its answers with the original's is {each['cosine']:.2f}{how}"
                )
            if each["length"] > MOST_STRETCHED and not may_differ:
                return f"it is another model: its answers are {each['length']:.2g} times as large, or small{how}"
            if exact and each["error"] > MOST_ROUNDING:
                return f"its answers differ by {each['error']:.2g} of the largest{how}, which is more than rounding"
        numeric = made.changes[-1].risk is Risk.NUMERIC
        if numeric and source.changes and made.answers("search").read_bytes() == source.answers("search").read_bytes():
            return f"it changed nothing: its answers are those of {source.name}, bit by bit"
        return None

    def _judge(self, scores: Sequence[float], split: str, *, confidence: float = CONFIDENCE) -> Judgement:
        original = self.forms.scores[ORIGINAL, split]
        return judge(self.forms.subject.quality, scores, original, self.terms.bar, confidence=confidence)

    def _cost(self, made: Made) -> float:
        """What is to be small; of times the ratio to the original's, by turns: seconds of another minute say little."""
        if made.name in self.too_large or (self.terms.minimise == EDGE and made is self.forms.original):
            return math.inf
        if self.terms.minimise in BY_FIGURE:
            figure = made.figures.get(BY_FIGURE[self.terms.minimise])
            return figure.value if figure else math.inf
        original = self.forms.original.medians
        seconds = {size: original[size] / made.ratios[size] for size in made.ratios}
        if self.terms.minimise == "throughput":
            return min(second / size for size, second in seconds.items())
        return seconds[min(seconds)]

    def choose(self) -> str:
        """The form with the least cost that keeps the floor on samples that nobody has seen; the simplest of a tie.

        The first form that is judged by the same samples has most of the error probability, each further one a part
        of what is left.
        """
        self.forms.wake()
        left = 1 - CONFIDENCE
        while True:
            best = min(map(self._cost, self.good.values()))
            if best == math.inf:
                return ORIGINAL
            near = [each for each in self.good.values() if self._cost(each) <= best * WORTH_CONFIRMING]
            made = self._confirmed(sorted(near, key=self._cost))
            if made is self.forms.original:
                return ORIGINAL
            try:
                judgement = self._held_out(made, 1 - FIRST_SHARE * left)
            except WorkerError as error:
                judgement = Judgement(met=False, reason=str(error))
            if judgement.met:
                self.told[made.name] = judgement.reason
                self.say(f"{made.name}: {judgement.reason}, held out")
                return made.name
            left *= 1 - FIRST_SHARE
            self.refused.append((made.name, f"held out: {judgement.reason}"))
            del self.good[made.name]

    def _held_out(self, made: Made, confidence: float) -> Judgement:
        """Whether it keeps the floor at the end; one that gives the original's very scores by exact means does."""
        with self.forms.open(made) as worker:
            scores = self.forms.score(worker, made, "held-out")
            worker.call("suffice.form.calls:write_sample", str(made.folder / SAMPLE))
        if _is_exact(made.changes) and scores == self.forms.scores[ORIGINAL, "held-out"]:
            return Judgement(
                met=True, reason=f"the original's scores on {len(scores)} samples, its answers but rounded"
            )
        return self._judge(scores, "held-out", confidence=confidence)

    def _confirmed(self, near: Sequence[Made]) -> Made:
        """The best of them, all timed by turns with the original; of a tie the one that alters the numbers least."""
        fitting = [made for made in near[:MOST_CONFIRMED] if made is not self.forms.original]
        if self.terms.minimise in BY_FIGURE or not fitting:
            tied = [made for made in near if self._cost(made) <= self._cost(near[0]) * (1 + TIE)]
            return (
                soonest(tied, self.forms, self.rng, self.say)
                if self.terms.minimise == EDGE
                else min(tied, key=_simplicity)
            )
        sizes = self.forms.common_sizes(fitting[0], self.terms.batches)
        size = min(sizes) if self.terms.minimise == "latency" else max(sizes)
        fitting = [made for made in fitting if size in made.sizes(self.terms.batches)]
        with ExitStack() as stack:
            workers = {made.name: stack.enter_context(self.forms.open(made)) for made in fitting}
            self.say(f"timing the best {len(workers)} and the original by turns")
            both = {ORIGINAL: self.forms.worker, **workers}
            times = by_turns(both, size, rounds=LAST_ROUNDS, fewest=LAST_CALLS, rng=self.rng)
        for made in fitting:
            gain = ratio(times[ORIGINAL], times[made.name], self.rng)
            made.ratios[size] = gain.value
            if size == min(made.sizes(self.terms.batches)):
                made.figures["speedup"] = gain
                self.forms.note(made, {size: times[made.name]})
            else:
                made.figures["throughput_gain"] = gain
        simplicity = {made.name: _simplicity(made) for made in (*fitting, self.forms.original)}
        return self.good[fastest(times, simplicity)]

    def latest(self, trial: FormTrial) -> FormTrial:
        """The trial with what was found of its form since; refused where it missed the floor at the end."""
        made = self.good.get(trial.name)
        if made is not None:
            return _trial(made, trial.outcome, self.told.get(trial.name, trial.reason))
        late = [reason for name, reason in self.refused if name == trial.name]
        return replace(trial, outcome=Outcome.REFUSED, reason=late[-1]) if late else trial


def _is_exact(changes: Sequence[Change]) -> bool:
    return all(change.risk is Risk.EXACT for change in changes)


def _simplicity(made: Made) -> tuple[bool, bool, int]:
    """A graph is simpler than machine code; then, the less it alters and the fewer changes it took, the simpler."""
    return (made.form.backend in MACHINE_CODE, not _is_exact(made.changes), len(made.changes))


def _trial(made: Made, outcome: Outcome, reason: str) -> FormTrial:
    return FormTrial(
        name=made.name,
        changes=made.changes,
        outcome=outcome,
        reason=reason,
        figures=dict(made.figures),
        facts=dict(made.facts),
        spent_s=made.spent_s,
    )
