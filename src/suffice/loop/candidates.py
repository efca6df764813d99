"""A profile -> the changes that are worth a trial, in their order, and those that are not, with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from suffice.change.catalog import CATALOG, parted, proposals
from suffice.diagnose.ladder import diagnose
from suffice.errors import LedgerError
from suffice.keep.ledger import Ledger
from suffice.records import Change, Profile, Risk, Target, measured

COMPILE_S = 60.0
"""What compiling a model from nothing usually takes at least on a processor."""
LOOKED_BACK = 100
COMPILE_GAIN = 0.3
"""The largest share of a step that compiling has been seen to save on a processor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidates:
    """What is worth a trial, in this order, and what is not, as (id, reason).

    `once_cured`: what is worth one when batches are waited for no longer. `in_own_process`: what can't be switched in a
    live job, and comes last. `findings`: what a technique cures, by id.
    """

    now: list[Change]
    once_cured: list[Change]
    in_own_process: list[Change]
    refused: list[tuple[str, str]]
    findings: dict[str, str]


def candidates_of(profile: Profile, steps_in_a_run: float | None, step_s: float) -> Candidates:
    """The cures of the findings, the greatest bound first; then the rest.

    What makes it another training comes late, on top of what does not; compiling comes last, and only where a run has
    the steps to earn it back.
    """
    cures: dict[str, str] = {}
    for finding in diagnose(profile).findings:
        for cure in finding.cures:
            if cure in CATALOG:
                cures.setdefault(cure, finding.id)
    ids = list(dict.fromkeys((*cures, *sorted(CATALOG, key=_late))))
    proposed, refused = proposals(profile, ids)
    unpaid = _unpaid_compile(steps_in_a_run, step_s)
    if unpaid is not None and any(change.id == "compile" for change in proposed):
        refused = [*refused, ("compile", unpaid)]
        proposed = [change for change in proposed if change.id != "compile"]
    known = {change.id for change in proposed} | {"compile"}
    later, _ = proposals(_fed(profile), [id_ for id_ in ids if id_ not in known])
    switched, own = parted(proposed)
    return Candidates(
        now=sorted(switched, key=lambda change: (change.id == "compile", change.risk is Risk.SEMANTIC)),
        once_cured=parted(later)[0],
        in_own_process=own,
        refused=refused,
        findings=cures,
    )


def _late(id_: str) -> tuple[bool, bool]:
    """The whole step before its arithmetic; updates by lists after fused ones, which make them useless."""
    return CATALOG[id_].clock == "processor", id_ == "foreach-optimiser"


def untried(refused: Iterable[tuple[str, str]], tried: Iterable[Change]) -> tuple[tuple[str, str], ...]:
    """Those turned down that got no trial later."""
    ids = {change.id for change in tried}
    return tuple((id_, reason) for id_, reason in refused if id_ not in ids)


def _fed(profile: Profile) -> Profile:
    """The profile as if no batch were waited for."""
    nothing = {"wait_for_data_s": measured(0.0, "s")}
    ranks = [
        replace(rank, split={**rank.split, **nothing}) if "wait_for_data_s" in rank.split else rank
        for rank in profile.ranks
    ]
    return replace(profile, ranks=tuple(ranks))


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
