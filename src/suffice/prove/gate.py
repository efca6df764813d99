"""A change that was faster -> whether the job's numbers stay what they were, by courses of the job with it and without.

A course is a short run from the job's start in a process of its own. Those of the baseline are made once: two alike,
which tell whether the job repeats itself bit by bit, and a twin with its first weights changed by a rounding, which
shows how far such a difference grows by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from suffice.prove.courses import run_course
from suffice.prove.equality import judge_exact, judge_long, judge_numeric, judge_stochastic
from suffice.prove.workshop import Workshop
from suffice.records import Change, Course, Judgement, Risk

TWIN_EPS = {False: 1e-7, True: 2.0**-8}  # of weights in float32, and where a change computes in bfloat16
HALF_PRECISION = frozenset({"mixed-precision"})
SEED_OFFSETS = (1, 2, 3, 4, 5)


class Gate:
    """Judges changes of one job; `steps` is the length of a course."""

    def __init__(self, workshop: Workshop, *, steps: int, on_wait: Callable[[], None]) -> None:
        self.workshop = workshop
        self.steps = steps
        self.on_wait = on_wait
        self.reference = Path(workshop.folder) / "reference.pt"
        self.courses: dict[tuple[str, ...], Course | str] = {}

    def judge(self, kept: Sequence[Change], change: Change) -> Judgement:
        """Whether the job with `change` beside what is kept is still the same job, as far as its risk promises."""
        baseline = self._baseline()
        if isinstance(baseline, str):
            return Judgement(met=None, reason=f"nothing to compare with: {baseline}")
        exact = [each for each in kept if each.risk is Risk.EXACT]
        beside = exact if change.risk is Risk.EXACT else list(kept)
        changed = self._course(*beside, change)
        if isinstance(changed, str):
            return Judgement(met=False, reason=f"with it the job does not run: {changed}")
        if change.risk is Risk.EXACT:
            return judge_exact(baseline, self._again(), changed)
        if change.risk is Risk.STOCHASTIC:
            return judge_stochastic(baseline, self._again(), changed)
        return judge_numeric(baseline, self._twin(beside, change), changed)

    def judge_all(self, kept: Sequence[Change], *, steps: int, seeds: int) -> Judgement:
        """The same for all that was kept, over longer courses with several seeds."""
        pairs = []
        for offset in SEED_OFFSETS[:seeds]:
            arms = [self._long(chosen, steps=steps, offset=offset) for chosen in ((), tuple(kept))]
            for arm in arms:
                if isinstance(arm, str):
                    return Judgement(met=None, reason=f"a longer course failed: {arm}")
            pairs.append((arms[0], arms[1]))
        return judge_long(pairs)  # type: ignore[arg-type]  # what is text has been returned

    def _long(self, changes: Sequence[Change], *, steps: int, offset: int) -> Course | str:
        return run_course(self.workshop, changes, steps=steps, seed_offset=offset, on_wait=self.on_wait)

    def _baseline(self) -> Course | str:
        key = ("baseline",)
        if key not in self.courses:
            write = ("write", self.reference)
            self.courses[key] = run_course(self.workshop, (), steps=self.steps, reference=write, on_wait=self.on_wait)
        return self.courses[key]

    def _again(self) -> Course:
        return self._certain("again", ())

    def _twin(self, beside: Sequence[Change], change: Change) -> Course:
        half = any(each.id in HALF_PRECISION for each in (*beside, change))
        return self._certain(f"twin {half}", (), twin_eps=TWIN_EPS[half])

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
        return run_course(
            self.workshop,
            changes,
            steps=self.steps,
            twin_eps=twin_eps,
            reference=("compare", self.reference),
            on_wait=self.on_wait,
        )
