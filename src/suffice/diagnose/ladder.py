"""A profile -> the rung of the ladder that it stands on, in a sentence, and its findings.

The order is the whitepaper's: is the device busy? does it wait for data? for the host or other ranks? does it do
needless work? and only then a bigger device, several, a cluster. A rung is exhausted when curing what was found on it
can gain less than `HOLDS`, or has no cause that could be told; only then is the next one looked at. What a rung found
stays in the findings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from suffice.diagnose.rules.data.crowded_workers import crowded_workers
from suffice.diagnose.rules.data.epoch_starts import epoch_starts
from suffice.diagnose.rules.data.few_workers import few_workers
from suffice.diagnose.rules.data.loader_both import loader_both
from suffice.diagnose.rules.data.loader_compute import loader_compute
from suffice.diagnose.rules.data.loader_io import loader_io
from suffice.diagnose.rules.data.loader_lock import loader_lock
from suffice.diagnose.rules.data.loader_unknown import loader_unknown
from suffice.diagnose.rules.host.copies import copies
from suffice.diagnose.rules.host.gaps import gaps
from suffice.diagnose.rules.host.host_bound import BUSY, host_bound
from suffice.diagnose.rules.host.other_work import other_work
from suffice.diagnose.rules.host.processor_waits import processor_waits
from suffice.diagnose.rules.host.rank_imbalance import rank_imbalance
from suffice.diagnose.rules.host.synchronising import synchronising
from suffice.diagnose.rules.work.crowded_threads import crowded_threads
from suffice.diagnose.rules.work.eager import eager
from suffice.diagnose.rules.work.frequent_evaluation import frequent_evaluation
from suffice.diagnose.rules.work.idle_processors import idle_processors
from suffice.diagnose.rules.work.memory_growth import memory_growth
from suffice.diagnose.rules.work.memory_pressure import memory_pressure
from suffice.diagnose.rules.work.slow_optimiser import slow_optimiser
from suffice.diagnose.rules.work.small_batch import small_batch
from suffice.diagnose.rules.work.uneven_steps import uneven_steps
from suffice.diagnose.rules.work.wide_precision import wide_precision
from suffice.diagnose.view import View, bound_of, view_of
from suffice.records import Finding, Profile

Rule = Callable[[View], Finding | None]

# Where two rules bound the gain alike, the earlier one comes first: whoever is the surer of the cause.
DATA: tuple[Rule, ...] = (
    epoch_starts,
    crowded_workers,
    few_workers,
    loader_lock,
    loader_io,
    loader_compute,
    loader_both,
    loader_unknown,
)
HOST: tuple[Rule, ...] = (rank_imbalance, gaps, synchronising, copies)
# These see that something waits, and not for what.
HOST_UNTOLD: tuple[Rule, ...] = (host_bound, processor_waits, other_work)
WORK: tuple[Rule, ...] = (
    frequent_evaluation,
    crowded_threads,
    wide_precision,
    small_batch,
    slow_optimiser,
    eager,
    idle_processors,
    uneven_steps,
    memory_pressure,
    memory_growth,
)

# With nothing to cure there, whoever waits for more to be told would miss what can be cured above.
CAUSE_UNTOLD = ("processor-waits", "other-work")
WORTH = 1.05
# A fifth of the loop: less than that must not hide what may be far more on the next rung.
HOLDS = 1.25
FEWEST_STEPS, FEW_STEPS = 5, 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """The rung that a profile stands on, what is to be said of it, and its findings, the greatest bound first."""

    rung: int
    sentence: str
    findings: tuple[Finding, ...]


def diagnose(profile: Profile) -> Diagnosis:
    """Climb the ladder as far as it goes; a job without a fault stands on its last rung, with no finding."""
    view = view_of(profile)
    if view is None or view.seconds("steps") < FEWEST_STEPS:
        return Diagnosis(rung=1, sentence=_too_little(view), findings=())
    found: list[Finding] = []
    rungs = (needless_work,) if saturated(view) else (waiting_for_data, waiting_for_others, needless_work)
    for rung in rungs:
        new = rung(view)
        found += new
        if any(finding.bound >= HOLDS and finding.id not in CAUSE_UNTOLD for finding in new):
            break
    if not found:
        return Diagnosis(rung=5, sentence=bigger_device(view), findings=())
    first = max(found, key=lambda finding: finding.bound)
    findings = sorted((_with_doubt(view, each) for each in found), key=lambda each: -each.bound)
    return Diagnosis(rung=first.rung, sentence=f"{RUNGS[first.rung]}{first.sentence}", findings=tuple(findings))


# What waits for data says so by itself.
RUNGS = {2: "", 3: "waiting for the host or for other ranks: ", 4: "needless work: "}


def saturated(view: View) -> bool | None:
    """Rung 1: whether the device is busy and waits for nothing; None where that is not known.

    A GPU is busy when kernels run in 90 % of the time. A processor has no such gauge that waiting could not fool, so it
    is busy when the parts that compute are nearly all of the step.
    """
    if view.data_wait is not None:
        return False
    if view.on_gpu:
        busy = view.gpu_gauge("utilization_gpu")
        return None if busy is None else busy.value >= BUSY and not rank_imbalance(view)
    computing = view.step_share("forward_s", "backward_s", "optimiser_s")
    busy_processors = view.rank.figures.get("processors_busy")
    if computing is None or busy_processors is None:
        return None
    return computing >= BUSY / 100 and busy_processors.value >= BUSY / 100 and not rank_imbalance(view)


def waiting_for_data(view: View) -> tuple[Finding, ...]:
    """Rung 2: what holds the loader back."""
    return _found(view, DATA)


def waiting_for_others(view: View) -> tuple[Finding, ...]:
    """Rung 3: what the device waits for on the host, or on other ranks; what has a surer cause is not counted twice."""
    sure = _found(view, HOST)
    explained = sum(1 - 1 / finding.bound for finding in sure)
    rest = (replace(each, bound=bound_of(1 - 1 / each.bound - explained)) for each in _found(view, HOST_UNTOLD))
    return (*sure, *(finding for finding in rest if finding.bound >= WORTH))


def needless_work(view: View) -> tuple[Finding, ...]:
    """Rung 4: what a busy device could leave out, or do with more of its units."""
    return _found(view, WORK)


def bigger_device(view: View) -> str:
    """Rung 5: nothing is left to mend here; in words, because a profile knows no goal that would ask for more."""
    reached = view.rank.figures.get("share_of_peak")
    # More than all of it says that neighbours were there when the peak was measured.
    share = f" at {reached.value:.0%} of the measured peak" if reached and reached.value <= 1 else ""
    busy = saturated(view)
    name = "the GPU" if view.on_gpu else "the processor"
    if busy is None:
        return f"nothing was found that holds the job up; whether {name} is busy the whole time is not known"
    state = f"{name} is already busy{share}" if busy else "the job is already well balanced"
    return f"{state}: nothing needless was found; only a bigger device, and after it several, would be faster"


def _found(view: View, rules: Sequence[Rule]) -> tuple[Finding, ...]:
    return tuple(finding for rule in rules if (finding := rule(view)) is not None)


def _with_doubt(view: View, finding: Finding) -> Finding:
    """Few steps say little, whatever was found in them."""
    steps = view.seconds("steps")
    if steps >= FEW_STEPS:
        return finding
    doubts = [finding.confidence] if finding.confidence else []
    return replace(finding, confidence="; ".join([*doubts, f"only {steps:.0f} steps were seen"]))


def _too_little(view: View | None) -> str:
    if view is None:
        return "nothing to diagnose: no step of a training loop was seen"
    return f"nothing to diagnose: {view.seconds('steps'):.0f} steps were seen, {FEWEST_STEPS} are the fewest that tell"
