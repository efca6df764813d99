"""A live job and candidates -> a trial of each, one on top of what was kept before, and at last of all kept together.

In this order: the null candidate, which must make no difference; each change by its time, and where it is faster by
its numbers; what was kept together, since two gains may be one and the same. A change that fails at any of these is
refused with the reason; what the budget could not decide is not kept.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from suffice.errors import RigError
from suffice.prove.gate import Gate
from suffice.prove.rig import Pairs, Rig
from suffice.prove.statistics import ConfidenceSequence
from suffice.prove.trial import NULL, Budget, StopRule, log_ratio, require_no_difference, run_trial
from suffice.records import Change, Judgement, Outcome, Risk, Trial, Verdict

TOGETHER = "together"
NULL_PAIRS = 60
LONG_STEPS, SEEDS = 150, 3
LONG_BLOCK_S = 0.2
MOST_FOR_ONE = 1 / 3
"""The most that a change gets of what is left, where it needs more than its share for as few pairs as can decide."""
FIRST_ALPHA = 2 / 3
"""The share of a change's error probability that its first trial has; a second one from the beginning has the rest."""
SPARE, FURTHER = 0.1, 0.7
"""The share of the budget below which nothing undecided is taken up again, and the share of what is left for it."""
SLOWER_IN_COURSES = 1.5
METRIC_HINT = "name it with --prove full --metric 'accuracy: ([0-9.]+)'"


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What a search may do: risks, seconds (0: the usual), pairs of a trial, number of trials, its coin's seed.

    `sparing`: what is kept may not take more of the processors either, which is what energy and carbon follow.
    `whole_runs`: at the end whole runs are to show that the metric holds, without which no other training is tried.
    """

    allow: frozenset[Risk] = frozenset({Risk.EXACT, Risk.NUMERIC})
    seconds: float = 0.0
    pairs: int = 200
    trials: int | None = None
    seed: int = 0
    sparing: bool = False
    whole_runs: bool = False
    rule: StopRule = field(default_factory=StopRule)


@dataclass(frozen=True, kw_only=True, slots=True)
class Manner:
    """How a change is compared: the clock that decides, the steps of a block, and those dropped after a switch."""

    clock: str = "processor"
    block: int = 1
    warm_up: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Open:
    """A change that looked faster beside those kept at the time, and could not be decided."""

    change: Change
    trial: Trial
    beside: Sequence[Change]

    @property
    def looks(self) -> float:
        """How much faster."""
        return self.trial.verdict.ratio.value if self.trial.verdict.ratio else 1.0


class Search:
    """Tries changes one by one; `kept` grows."""

    def __init__(
        self,
        rig: Rig,
        gate: Gate,
        terms: Terms,
        *,
        step_s: float,
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rig = rig
        self.gate = gate
        self.terms = terms
        self.step_s = self.plain_step_s = step_s
        self.say = say
        self.clock = clock
        self.deadline = clock() + terms.seconds
        self.rng = Random(terms.seed)  # noqa: S311 - it tosses a coin
        self.manners: dict[str, Manner] = {}

    @property
    def kept(self) -> Sequence[Change]:
        """What is switched on now."""
        return tuple(self.rig.kept)

    @property
    def left_s(self) -> float:
        """Seconds of the budget that are left."""
        return max(0.0, self.deadline - self.clock())

    def null(self) -> Trial:
        """Try to change nothing.

        Raises:
            SearchVoidError: if that makes a difference.
        """
        budget = Budget(pairs=min(NULL_PAIRS, self.terms.pairs), seconds=self.left_s / 8)
        trial, _ = self._timed(None, Manner(), self.terms.rule, budget)
        require_no_difference(trial, self.terms.rule)
        return trial

    def resume(self, kept: Sequence[Change]) -> None:
        """Switch on what an earlier part of this search has kept; what is not possible any more is left out."""
        for change in kept:
            if self.rig.prepare(change) is None:
                self.rig.keep(change)

    def each(
        self,
        candidates: Sequence[Change],
        manners: Mapping[str, Manner],
        findings: Mapping[str, str],
        once_cured: Sequence[Change] = (),
    ) -> Iterator[tuple[Change, Trial]]:
        """Try the candidates in their order; each that is kept is built upon.

        Of those that cure the same of the `findings` (by the techniques' ids) one mostly leaves little to the others:
        once it is kept they come last, behind those that are worth a trial only `once_cured`. Time that is left over
        goes to those that looked faster and could not be decided: their trials go on.
        """
        self.manners.update(manners)
        left = list(candidates[: self.terms.trials])
        if any(each.id in findings for each in self.kept):  # by an earlier part of this search
            left, once_cured = [*left, *once_cured], ()
        tried = max(1, self._may_be_tried(left))
        rule = replace(self.terms.rule, alpha=FIRST_ALPHA * self.terms.rule.alpha / tried)
        open_ones: list[Open] = []
        while left:
            change = left.pop(0)
            before = self.kept
            trial = self._try(change, rule, self.left_s / (self._may_be_tried(left) + 2))
            yield change, trial
            if _promises(trial, rule) and trial.verdict.pairs < self.terms.pairs:
                open_ones.append(Open(change=change, trial=trial, beside=before))
            cured = findings.get(change.id) if trial.kept else None
            if cured is not None:
                left = sorted([*left, *once_cured], key=lambda each: findings.get(each.id) == cured)
                once_cured = ()
        yield from self._further(open_ones, rule)

    def _further(self, open_ones: Sequence[Open], rule: StopRule) -> Iterator[tuple[Change, Trial]]:
        """Go on with what looked faster, the most promising first; a part of the time is left for all together."""
        left = sorted(open_ones, key=lambda each: each.looks, reverse=True)
        while left and self.left_s > SPARE * self.terms.seconds:
            each = left.pop(0)
            earlier = each.trial.pairs_s if each.beside == self.kept else ()
            again = rule if earlier else replace(rule, alpha=rule.alpha * (1 - FIRST_ALPHA) / FIRST_ALPHA)
            trial = self._try(each.change, again, FURTHER * self.left_s / (len(left) + 1), earlier)
            yield each.change, replace(trial, spent_s=each.trial.spent_s + trial.spent_s)

    def _may_be_tried(self, changes: Sequence[Change]) -> int:
        return sum(self._barred(each) is None for each in changes)

    def _try(
        self, change: Change, rule: StopRule, share_s: float, earlier: Sequence[tuple[float, float]] = ()
    ) -> Trial:
        barred = self._barred(change)
        if barred is not None:
            return refusal(change, barred)
        if any(each.id == change.id for each in self.kept):
            return refusal(change, "the same technique is kept with other settings")
        if self.left_s <= 0:
            return without_trial(change, Outcome.UNDECIDED, "no time was left for it: give more with --time")
        self.say(f"{change.name}: making it ready")
        begun_s = self.clock()
        reason = self.rig.prepare(change)
        if reason is not None:
            return refusal(change, reason, spent_s=self.clock() - begun_s)
        self.say(f"{change.name}: timing it, step by step")
        manner = self._manner(change)
        least_s = min(self._least_s(manner), MOST_FOR_ONE * self.left_s)
        budget = Budget(pairs=self.terms.pairs, seconds=max(share_s, least_s))
        try:
            trial, seen = self._timed(change, manner, rule, budget, earlier)
        except RigError as error:
            self.rig.drop(change)
            return refusal(change, str(error), spent_s=self.clock() - begun_s)
        trial = contradicted(trial, seen, replace(self.terms, rule=rule))
        if trial.kept:
            self.say(f"{change.name}: {trial.verdict.reason}; comparing the numbers")
            self.rig.rest()
            trial = judged(trial, self.gate.judge(self.kept, change))
        if trial.kept:
            self.rig.keep(change)
            self.step_s /= trial.verdict.ratio.value if trial.verdict.ratio else 1.0
        else:
            self.rig.drop(change)
        return replace(trial, spent_s=self.clock() - begun_s)

    def _barred(self, change: Change) -> str | None:
        """Why the change may not be tried, or None."""
        if change.risk not in self.terms.allow:
            return f"it is {change.risk}: allow it with --allow {change.risk}"
        if change.risk is Risk.SEMANTIC and not self.terms.whole_runs:
            return f"it is another training, which only your metric can judge: {METRIC_HINT}"
        return None

    def _manner(self, change: Change) -> Manner:
        """How the change is compared; where steps are long, fewer of them make a block."""
        manner = self.manners.get(change.id, Manner())
        enough = max(1, math.ceil(LONG_BLOCK_S / max(self.step_s, 1e-6)))
        return replace(manner, block=min(manner.block, enough), warm_up=min(manner.warm_up, enough))

    def _least_s(self, manner: Manner) -> float:
        """Seconds for about 24 pairs: with fewer, hardly any gain could be shown."""
        return 24 * 2 * (manner.block + manner.warm_up) * self.step_s

    def _timed(
        self,
        change: Change | None,
        manner: Manner,
        rule: StopRule,
        budget: Budget,
        earlier: Sequence[tuple[float, float]] = (),
    ) -> tuple[Trial, Pairs]:
        seen = Pairs()
        pairs = self.rig.pairs(change, clock=manner.clock, block=manner.block, warm_up=manner.warm_up, seen=seen)
        name = NULL if change is None else change.name
        trial = run_trial(name, pairs, rng=self.rng, rule=rule, budget=budget, earlier=earlier, clock=self.clock)
        return trial, seen

    def together(self) -> Iterator[Trial]:
        """All that was kept against the plain job; where that is no gain, the latest is dropped and the rest tried.

        Each was proven with those before it switched on, so where the budget is too small to decide it for all of them
        once more, and nothing speaks against it, they stay.
        """
        while len(self.kept) > 1:
            self.say(f"{len(self.kept)} changes together")
            self.rig.wake()
            seen = Pairs()
            used = [self._manner(change) for change in self.kept]
            clock = "wall" if any(manner.clock == "wall" for manner in used) else "processor"
            block, warm_up = max(manner.block for manner in used), max(manner.warm_up for manner in used)
            pairs = self.rig.together(clock=clock, block=block, warm_up=warm_up, seen=seen)
            budget = Budget(
                pairs=self.terms.pairs, seconds=max(self.left_s / 2, self._least_s(Manner(block=block)) / 2)
            )
            trial = run_trial(TOGETHER, pairs, rng=self.rng, rule=self.terms.rule, budget=budget, clock=self.clock)
            if trial.kept and any(change.risk in (Risk.NUMERIC, Risk.STOCHASTIC) for change in self.kept):
                trial = self._long_judged(trial)
            stays = trial.kept or _not_contradicted(trial, self.terms.rule)
            if stays and not trial.kept:
                reason = f"{trial.verdict.reason}; each was faster on top of those before it"
                trial = replace(trial, verdict=replace(trial.verdict, reason=reason))
            yield trial
            if stays:
                return
            self.rig.drop(self.kept[-1])

    def _long_judged(self, trial: Trial) -> Trial:
        """Over several seeds, as far as the budget reaches; what it does not decide has passed shorter courses."""
        start_s = max(0.0, self.gate.longest_s - self.gate.steps * self.plain_step_s)
        each_s = self.left_s / (2 * SEEDS) - start_s
        steps = int(min(LONG_STEPS, each_s / max(1e-6, SLOWER_IN_COURSES * self.step_s)))
        if steps < self.gate.steps:
            return trial
        self.say(f"comparing the losses over {steps} steps and {SEEDS} seeds")
        self.rig.rest()
        judgement = self.gate.judge_all(self.kept, steps=steps, seeds=SEEDS)
        return trial if judgement.met is None else judged(trial, judgement)


def _promises(trial: Trial, rule: StopRule) -> bool:
    """Whether more time might show a gain."""
    ratio = trial.verdict.ratio
    return trial.verdict.outcome is Outcome.UNDECIDED and ratio is not None and ratio.value >= 1 + rule.least_gain


def _not_contradicted(trial: Trial, rule: StopRule) -> bool:
    """Whether the trial was too short to decide, and what it saw is a gain or nothing."""
    seen, verdict = trial.verdict.total_ratio, trial.verdict
    return verdict.outcome is Outcome.UNDECIDED and (seen is None or seen >= 1 + rule.least_gain)


def contradicted(trial: Trial, seen: Pairs, terms: Terms) -> Trial:
    """The trial, refused where it was kept and another clock shows that it is slower."""
    clocks = [(seen.wall, "its processor time fell, but the time on the clock rose")]
    if terms.sparing:
        clocks += [(seen.of_all, "it is faster, but takes more of the processors, and so of energy and carbon")]
    for pairs, reason in clocks:
        if trial.kept and not _agrees(pairs, terms.rule):
            trial = replace(trial, verdict=replace(trial.verdict, outcome=Outcome.REFUSED, reason=reason))
    return trial


def _agrees(pairs: Iterable[tuple[float, float]], rule: StopRule) -> bool:
    """Whether another clock's times do not show that it is slower."""
    sequence = ConfidenceSequence(rule.alpha)
    for plain_s, changed_s in pairs:
        sequence.see(log_ratio(plain_s, changed_s))
    return not sequence.stays_below(1.0)


def refusal(change: Change, reason: str, *, spent_s: float = 0.0) -> Trial:
    """A trial that was not begun, or that broke off."""
    return without_trial(change, Outcome.REFUSED, reason, spent_s=spent_s)


def without_trial(change: Change, outcome: Outcome, reason: str, *, spent_s: float = 0.0) -> Trial:
    """A verdict that no pair was measured for."""
    verdict = Verdict(outcome=outcome, reason=reason, pairs=0)
    return Trial(change=change.name, verdict=verdict, plain_s=(), changed_s=(), spent_s=spent_s)


def judged(trial: Trial, judgement: Judgement) -> Trial:
    """The trial with what its numbers said: equal ones are told beside the gain, others refuse it."""
    if judgement.met:
        return replace(trial, verdict=replace(trial.verdict, reason=f"{trial.verdict.reason}; {judgement.reason}"))
    outcome = Outcome.REFUSED if judgement.met is False else Outcome.UNDECIDED
    return replace(trial, verdict=replace(trial.verdict, outcome=outcome, reason=judgement.reason))
