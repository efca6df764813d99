"""What is planted in the job of tests/jobs/breakage.py, and how each change is judged: by real courses of the job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suffice.prove.equality import (
    TWIN_EPS,
    exact_faults,
    judge_exact,
    judge_long,
    judge_numeric,
    judge_stochastic,
    numeric_faults,
)
from suffice.prove.faults import Fault
from suffice.records import Course, Judgement

JOBS = Path(__file__).parents[1] / "jobs"
STEPS, LONG_STEPS = 20, 160
FLOAT, HALF, COMPILED = TWIN_EPS["float32"], TWIN_EPS["bfloat16"], "mnist"


@dataclass(frozen=True, kw_only=True)
class Breakage:
    """A change of the job as it claims to be (`risk`), and the test that must refuse it; None if it does no harm.

    `long` means that it takes courses of 160 steps over several seeds. `eps` is the rounding that it claims, and as a
    change that of a twin, with the sign turned so that it is another one.
    """

    name: str
    risk: str
    test: str | None = None
    eps: float = FLOAT
    long: bool = False
    base: str = ""

    @property
    def plant(self) -> str:
        """What the job is told to do."""
        return self.base if self.name in {"nothing", "twin-sized noise"} else self.name


PLANTED = (
    Breakage(name="bf16 loss", risk="numeric", test="loss", eps=HALF),
    Breakage(name="bf16 weights", risk="numeric", test="state", eps=HALF),
    Breakage(name="augmentation frozen", risk="exact", test="reads"),
    Breakage(name="augmentation lost", risk="exact", test="inputs"),
    Breakage(name="no shuffle", risk="exact", test="order"),
    Breakage(name="no shuffle, sorted", risk="exact", test="order"),
    Breakage(name="no dropout", risk="numeric", test="loss"),
    Breakage(name="learning rate halved", risk="numeric", test="loss"),
    Breakage(name="batch-norm twice", risk="exact", test="state"),
    Breakage(name="workers, frozen", risk="stochastic", test="frozen or lost", long=True),
    Breakage(name="workers, lost", risk="stochastic", test="frozen or lost", long=True),
    Breakage(name="workers, no shuffle", risk="stochastic", test="another order", long=True),
    Breakage(name="workers, no dropout", risk="stochastic", test="the last half's loss", long=True),
)
HARMLESS = (
    Breakage(name="nothing", risk="exact"),
    Breakage(name="fused", risk="numeric"),
    Breakage(name="channels-last", risk="numeric"),
    Breakage(name="twin-sized noise", risk="numeric"),
    Breakage(name="bf16 autocast", risk="numeric", eps=HALF),
    Breakage(name="workers", risk="stochastic", long=True),
)
COMPILE = Breakage(name="mnist, compile", risk="numeric", test="gradients", base=COMPILED)


class Courses:
    """Runs the courses that are asked for, each once, as files of a folder."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = {**environment, "OMP_NUM_THREADS": "1"}
        self.orders: list[dict[str, Any]] = []

    def order(
        self, name: str, *, eps: float = 0.0, seed: int = 0, steps: int = STEPS, base: str = "", copy: int = 0
    ) -> Path:
        """Ask for a course, and get the path of its report; of the short ones that of `base` must be the first."""
        path = self.folder / f"{name or 'plain'} {eps} {seed} {steps} {copy}.json"
        course = {"steps": steps, "seed": 0, "seed_offset": seed, "twin_eps": eps}
        if steps == STEPS:
            first = name == base and not eps and not copy
            course["write_reference" if first else "compare_with"] = str(self.folder / f"{base or 'plain'}.pt")
        order = {"argv": [str(JOBS / "breakage.py"), name], "report": str(path), "course": course}
        if order not in self.orders:
            self.orders.append(order)
        return path

    def run(self) -> None:
        """Make all courses that were asked for and not made yet."""
        orders = json.dumps([order for order in self.orders if not Path(order["report"]).exists()])
        subprocess.run(
            [sys.executable, str(JOBS / "recorded.py")], input=orders, text=True, env=self.environment, check=True
        )


class Bench:
    """The courses of some breakages, in one go, and the judgement of each."""

    def __init__(self, folder: Path, breakages: Iterable[Breakage], seeds: Sequence[int] = ()) -> None:
        """`seeds`: of long courses, made of every breakage."""
        self.courses = Courses(folder, os.environ)
        self.seeds = seeds
        for each in breakages:
            self.short(each)
            self.long(each)
        self.courses.run()

    def short(self, each: Breakage) -> tuple[Path, Path, Path, Path]:
        """The reports of the baseline, of it again, of its twin, and of the change."""
        order, base = self.courses.order, each.base
        baseline = order(base, base=base)
        twin = order(base, eps=each.eps, base=base)
        eps, copy = -each.eps if each.name == "twin-sized noise" else 0.0, 2 if each.name == "nothing" else 0
        return baseline, order(base, base=base, copy=1), twin, order(each.plant, eps=eps, base=base, copy=copy)

    def long(self, each: Breakage) -> list[tuple[Path, Path]]:
        """The reports of the baseline and of the change for each seed."""
        noise, copy = -each.eps if each.name == "twin-sized noise" else 0.0, 2 if each.name == "nothing" else 0
        return [
            (
                self.courses.order("", seed=seed, steps=LONG_STEPS),
                self.courses.order(each.plant, eps=noise, seed=seed, steps=LONG_STEPS, copy=copy),
            )
            for seed in self.seeds
            if not each.base
        ]

    def judge(self, each: Breakage) -> Judgement:
        """By the tests for what the change claims to be; all but the long one."""
        baseline, again, twin, changed = (course_of(path, each.name) for path in self.short(each))
        if each.risk == "exact":
            return judge_exact(baseline, again, changed)
        if each.risk == "numeric":
            return judge_numeric(baseline, twin, changed)
        pairs = self.pairs(each)
        return judge_stochastic([plain for plain, _ in pairs], [changed for _, changed in pairs])

    def faults(self, each: Breakage) -> list[Fault]:
        """What each of the tests of an exact or numeric change found."""
        baseline, _, twin, changed = (course_of(path, each.name) for path in self.short(each))
        return list(
            exact_faults(baseline, changed) if each.risk == "exact" else numeric_faults(baseline, twin, changed)
        )

    def pairs(self, each: Breakage) -> list[tuple[Course, Course]]:
        """The long courses."""
        return [(course_of(plain), course_of(changed, each.name)) for plain, changed in self.long(each)]

    def judge_last_half(self, each: Breakage) -> Judgement:
        """By the long test alone."""
        return judge_long(self.pairs(each))


def course_of(path: Path, name: str = "") -> Course:
    """The course that was reported; `name` is that of the change."""
    told = json.loads(path.read_text())
    known = {field: told[field] for field in Course.__dataclass_fields__ if field in told}
    lists = {field: tuple(value) for field, value in known.items() if isinstance(value, list)}
    losses = tuple(float.fromhex(loss) for loss in told["losses"])
    changes = (name.replace("mnist, ", ""),) if name else ()
    return Course(**{**known, **lists, "losses": losses, "changes": changes})
