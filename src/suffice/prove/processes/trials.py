"""A change that needs another process from its start -> a trial of it, by pairs of fresh processes side by side.

Two processes of one program differ by some percent as long as they live: by where their memory lies, and who else is on
their processor. However often such a pair is compared, that luck stays in it; so each pair counts once, and for the
next both are started anew. Within a pair they make blocks of steps in turn, each waiting for orders while the other
works, and all that was kept is switched on in both.

That is dear, so these changes come last, need 20 pairs to be kept, and are not begun where the time left does not hold
as many.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace

from suffice.change.catalog import refused_at_start
from suffice.errors import RigError
from suffice.prove.processes.turns import BLOCKS, FIRST_STEPS, in_turn
from suffice.prove.rig import Pairs, Rig
from suffice.prove.search import Manner, Search, contradicted, judged, refusal, without_trial
from suffice.prove.trial import Arm, Budget, MeasurePair, StopRule, run_trial
from suffice.prove.workshop import Workshop
from suffice.records import Change, Outcome, Trial

PAIRS, MOST_PAIRS = 20, 40
LEAST_GAIN, FUTILE_GAIN = 0.02, 0.05
"""What is worth its pairs must gain more than what is switched at a step's boundary."""
BLOCK_S = 0.4
COURSES = 3.0
"""The time of so many is left for comparing the numbers: with it, and twice without if that was not done before."""


class _TooDearError(Exception):
    """So many pairs do not fit into the time that is left."""


class ProcessTrials:
    """Tries such changes on top of what a search has kept; `kept` grows."""

    def __init__(self, search: Search, workshop: Workshop, kept: Sequence[Change] = ()) -> None:
        self.search = search
        self.workshop = workshop
        self.kept = list(kept)
        self.alpha = search.terms.rule.alpha

    def each(self, candidates: Sequence[Change], manners: Mapping[str, Manner]) -> Iterator[tuple[Change, Trial]]:
        """Try the candidates in their order; the search's own process ends with the first that is started."""
        self.alpha = self.search.terms.rule.alpha / max(1, len(candidates))
        for change in candidates:
            yield change, self._try(change, manners.get(change.id, Manner()).clock)

    def _try(self, change: Change, clock: str) -> Trial:
        search = self.search
        if any(each.id == change.id for each in self.kept):
            return refusal(change, "the same technique is kept with other settings")
        if search.rig.ranks > 1:
            return refusal(change, "two jobs of several ranks side by side would meet at the same port")
        reason = refused_at_start([*self.kept, change], self.workshop.environment)
        if reason is not None:
            return refusal(change, reason)
        begun_s, seen = search.clock(), Pairs()
        search.say(f"{change.name}: timing it, by pairs of processes")
        try:
            self._require_time(2 * (search.rig.start_s + BLOCKS * self._block() * search.step_s))
            search.rig.close()
            trial = self._timed(change, clock, seen)
        except _TooDearError as error:
            return replace(without_trial(change, Outcome.UNDECIDED, str(error)), spent_s=search.clock() - begun_s)
        except RigError as error:
            return refusal(change, str(error), spent_s=search.clock() - begun_s)
        trial = contradicted(trial, seen, search.terms)
        if trial.kept:
            search.say(f"{change.name}: {trial.verdict.reason}; comparing the numbers")
            trial = judged(trial, search.gate.judge((*search.kept, *self.kept), change))
        if trial.kept:
            self.kept.append(change)
            search.step_s /= trial.verdict.ratio.value if trial.verdict.ratio else 1.0
        return replace(trial, spent_s=search.clock() - begun_s)

    @property
    def left_s(self) -> float:
        """Seconds that are left for pairs."""
        search = self.search
        course_s = search.rig.start_s + search.gate.steps * search.plain_step_s
        return search.left_s - COURSES * max(search.gate.longest_s, course_s)

    def _require_time(self, pair_s: float) -> None:
        """Raise where the pairs that are needed take longer than there is time."""
        if PAIRS * pair_s > self.left_s:
            raise _TooDearError(
                f"{PAIRS} pairs of processes take about {PAIRS * pair_s:.0f} s, and {max(0.0, self.left_s):.0f} s are "
                "left for it: give more with --time"
            )

    def _timed(self, change: Change, clock: str, seen: Pairs) -> Trial:
        rule = StopRule(
            alpha=self.alpha, least_gain=LEAST_GAIN, futile_gain=FUTILE_GAIN, precision=1.0, precise_pairs=PAIRS
        )
        trial = run_trial(
            change.name,
            self._pairs(change, clock, seen),
            rng=self.search.rng,
            rule=rule,
            budget=Budget(pairs=MOST_PAIRS, seconds=self.left_s),
            clock=self.search.clock,
        )
        ratio = trial.verdict.ratio
        if ratio is None:
            return trial
        method = (ratio.method or "").replace("paired steps", "paired processes")
        return replace(trial, verdict=replace(trial.verdict, ratio=replace(ratio, method=method)))

    def _pairs(self, change: Change, clock: str, seen: Pairs) -> MeasurePair:
        """What starts a process without and one with the change, and tells what a step took in each."""
        kept = [*self.search.kept, *self.kept]
        changes = {Arm.PLAIN: kept, Arm.CHANGED: [*kept, change]}

        def measure(first: Arm) -> tuple[float, float]:
            begun_s = self.search.clock()
            order = [first, *(arm for arm in Arm if arm is not first)]
            with ExitStack() as stack:
                rigs = {arm: stack.enter_context(closing(self._rig(changes[arm]))) for arm in order}
                told = in_turn(rigs, order, self._block())
            seen.add(told[Arm.PLAIN], told[Arm.CHANGED])
            if len(seen.wall) == 1:
                self._require_time(self.search.clock() - begun_s)
            return (seen.wall if clock == "wall" else seen.processor)[-1]

        return measure

    def _rig(self, changes: Sequence[Change]) -> Rig:
        """A fresh process that has begun to train with these changes.

        Raises:
            RigError: if one of them is not on.
        """
        rig = Rig(self.workshop, spool=None, changes=changes)
        try:
            while rig.run(FIRST_STEPS) is None:
                pass
            refused = rig.refused()
        except BaseException:
            rig.close()
            raise
        if refused:
            rig.close()
            told = "; ".join(f"{change_id}: {reason}" for change_id, reason in refused.items())
            raise RigError(f"a process that was started with it goes without {told}")
        return rig

    def _block(self) -> int:
        return max(1, math.ceil(BLOCK_S / max(self.search.step_s, 1e-6)))
