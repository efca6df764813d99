"""A profile -> the changes that are worth a trial, in their order, and those that are not, with the reason."""

from __future__ import annotations

from suffice.change.catalog import CATALOG, proposals
from suffice.diagnose.ladder import diagnose
from suffice.errors import LedgerError
from suffice.keep.ledger import Ledger
from suffice.records import Change, Profile, Target

COMPILE_S = 60.0
"""What compiling a model from nothing usually takes at least on a processor."""
LOOKED_BACK = 100
COMPILE_GAIN = 0.3
"""The largest share of a step that compiling has been seen to save on a processor."""


def candidates_of(
    profile: Profile, steps_in_a_run: float | None, step_s: float
) -> tuple[list[Change], list[tuple[str, str]], dict[str, str]]:
    """What is worth a trial, in this order: the cures of the findings, the greatest bound first; then the rest.

    Compiling comes last, and only where a run has the steps to earn it back. Returned as well: the turned down with
    their reasons, and the finding that a technique cures, by the technique's id.
    """
    cures: dict[str, str] = {}
    for finding in diagnose(profile).findings:
        for cure in finding.cures:
            if cure in CATALOG:
                cures.setdefault(cure, finding.id)
    ids = list(dict.fromkeys((*cures, *sorted(CATALOG, key=lambda each: CATALOG[each].clock == "processor"))))
    proposed, refused = proposals(profile, ids)
    unpaid = _unpaid_compile(steps_in_a_run, step_s)
    if unpaid is not None and any(change.id == "compile" for change in proposed):
        refused = [*refused, ("compile", unpaid)]
        proposed = [change for change in proposed if change.id != "compile"]
    return sorted(proposed, key=lambda change: change.id == "compile"), refused, cures


def _unpaid_compile(steps: float | None, step_s: float) -> str | None:
    if steps is None:
        return "how many steps a run has is not known: measure a whole run first, then compiling can be weighed"
    most_s = steps * step_s * COMPILE_GAIN
    if most_s >= COMPILE_S:
        return None
    return f"it could save {most_s:.0f} s of a run of {steps:.0f} steps at most, and takes about {COMPILE_S:.0f} s"


def earlier_run(ledger: Ledger, target: Target) -> Profile | None:
    """The latest finished run of this command without a plan."""
    try:
        for entry in ledger.entries(limit=LOOKED_BACK):
            if (entry.command, entry.cwd, entry.state) == (target.command, target.cwd, "finished"):
                profile = ledger.profile(entry.name)
                if profile is not None and not any("changes" in rank.facts for rank in profile.ranks):
                    return profile
    except LedgerError:  # a new user has none yet
        pass
    return None


def steps_of(run: Profile | None) -> float | None:
    """The steps of a run's longest rank."""
    ranks = run.ranks if run else ()
    return max((rank.figures["steps"].value for rank in ranks if "steps" in rank.figures), default=None)
