"""A change that was faster -> whether the job's numbers stay what they were, by courses of the job with it and without.

A course is a short run from the job's start in a process of its own. Those of the baseline are made once: two alike,
which tell whether the job repeats itself bit by bit, and a twin with its first weights changed by a rounding, which
shows how far such a difference grows by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from suffice.prove.courses import run_course
from suffice.prove.equality import TWIN_EPS, judge_exact, judge_long, judge_numeric, judge_semantic, judge_stochastic
from suffice.prove.workshop import Workshop
from suffice.records import Change, Course, Judgement, Risk

COMPUTES_IN = {"mixed-precision": "bfloat16", "matmul-precision": "tensorfloat32"}
"""The type that a change computes in, where it is not the job's own."""
SEED_OFFSETS = (1, 2, 3, 4, 5)
SEEDS_OF_DRAWS = 3


class Gate:
    """Judges changes of one job; `steps` is the length of a course."""

    def __init__(self, workshop: Workshop, *, steps: int, on_wait: Callable[[], None] = lambda: None) -> None:
        self.workshop = workshop
        self.steps = steps
        self.on_wait = on_wait
        self.reference = Path(workshop.folder) / "reference.pt"
        self.courses: dict[tuple[str, ...], Course | str] = {}
        self.longest_s = 0.0

    def judge(self, kept: Sequence[Change], change: Change) -> Judgement:
        """Whether the job with `change` beside what is kept is still the same job, as far as its risk promises."""
        baseline = self._baseline()
        if isinstance(baseline, str):
            return Judgement(met=None, reason=f"nothing to compare with: {baseline}")
        exact = [each for each in kept if each.risk is Risk.EXACT]
        beside = exact if change.risk is Risk.EXACT else _comparable(kept, change)
        changed = self._course(*beside, change)
        if isinstance(changed, str):
            return Judgement(met=False, reason=f"with it the job does not run: {changed}")
        if change.risk is Risk.EXACT:
            return judge_exact(baseline, self._again(), changed)
        if change.risk is Risk.STOCHASTIC:
            return self._other_draws(beside, change)
        if change.risk is Risk.SEMANTIC:
            return judge_semantic(baseline, changed)
        return judge_numeric(baseline, self._twin(beside, change), changed)

    def _other_draws(self, beside: Sequence[Change], change: Change) -> Judgement:
        """Other random numbers were drawn: the runs of several seeds must look like the baseline's."""
        arms: list[list[Course]] = []
        for changes in ((), (*beside, change)):
            found = [self._long(changes, steps=self.steps, offset=offset) for offset in SEED_OFFSETS[:SEEDS_OF_DRAWS]]
            arms.append([course for course in found if isinstance(course, Course)])
            if len(arms[-1]) < len(found):
                failed = next(course for course in found if isinstance(course, str))
                return Judgement(met=None, reason=f"a course with another seed failed: {failed}")
        plain, changed = arms
        return judge_stochastic(plain, changed)

    def judge_all(self, kept: Sequence[Change], *, steps: int, seeds: int) -> Judgement:
        """The same for all that was kept, over longer courses with several seeds.

        What is exact was shown to alter no bit, so it may hasten the courses that stand for the plain job. Another
        training is left out: its metric tells.
        """
        kept = [each for each in kept if each.risk is not Risk.SEMANTIC]
        exact = [each for each in kept if each.risk is Risk.EXACT]
        pairs: list[tuple[Course, Course]] = []
        for offset in SEED_OFFSETS[:seeds]:
            plain = self._long(exact, steps=steps, offset=offset)
            changed = plain if isinstance(plain, str) else self._long(kept, steps=steps, offset=offset)
            if isinstance(plain, str) or isinstance(changed, str):
                return Judgement(
                    met=None, reason=f"a longer course failed: {plain if isinstance(plain, str) else changed}"
                )
            pairs.append((plain, changed))
        return judge_long(pairs)

    def _long(self, changes: Sequence[Change], *, steps: int, offset: int) -> Course | str:
        return run_course(self.workshop, changes, steps=steps, seed_offset=offset, on_wait=self.on_wait)

    def _baseline(self) -> Course | str:
        key = ("baseline",)
        if key not in self.courses:
            write = ("write", self.reference)
            self.courses[key] = self._short((), reference=write)
        return self.courses[key]

    def _again(self) -> Course:
        return self._certain("again", ())

    def _twin(self, beside: Sequence[Change], change: Change) -> Course:
        eps = max(TWIN_EPS[COMPUTES_IN.get(each.id, "float32")] for each in (*beside, change))
        return self._certain(f"twin {eps}", (), twin_eps=eps)

    def _certain(self, name: str, changes: Sequence[Change], *, twin_eps: float = 0.0) -> Course:
        """A course of the baseline, made once; where it fails, the baseline stands for it."""
        key = (name,)
        if key not in self.courses:
            self.courses[key] = self._compared(changes, twin_eps)
        course, baseline = self.courses[key], self.courses["baseline",]
        if isinstance(course, Course):
            return course
        assert isinstance(baseline, Course)  # noqa: S101 - `judge` has looked
        return baseline

    def _course(self, *changes: Change) -> Course | str:
        return self._compared(changes, 0.0)

    def _compared(self, changes: Sequence[Change], twin_eps: float) -> Course | str:
        return self._short(changes, reference=("compare", self.reference), twin_eps=twin_eps)

    def _short(self, changes: Sequence[Change], *, reference: tuple[str, Path], twin_eps: float = 0.0) -> Course | str:
        begun_s = time.monotonic()
        course = run_course(
            self.workshop, changes, steps=self.steps, twin_eps=twin_eps, reference=reference, on_wait=self.on_wait
        )
        self.longest_s = max(self.longest_s, time.monotonic() - begun_s)
        return course


def _comparable(kept: Sequence[Change], change: Change) -> list[Change]:
    """What is on beside a change: beside another training its numbers could be held against nothing."""
    return [each for each in kept if each.risk is not Risk.SEMANTIC or change.risk is Risk.SEMANTIC]
