"""A loader whose workers wait for each other -> a finding."""

from __future__ import annotations

from suffice.diagnose.practices import COSTLY_CODE
from suffice.diagnose.view import View, bound_of, some
from suffice.measure.loading import LOCKED
from suffice.records import Finding


def loader_lock(view: View) -> Finding | None:
    """More workers only wait longer for a lock: what is behind it must be done less often."""
    share, loader = view.data_wait, view.loader
    if share is None or loader is None or loader.limited_by != LOCKED:
        return None
    return Finding(
        id="loader-lock",
        rung=2,
        sentence=f"{share:.0%} of the loop is waiting for data, and the workers for a lock: "
        f"{loader.reason or 'why is not known'}; more workers would not help",
        evidence=some({"wait_for_data_s": view.split.get("wait_for_data_s"), **loader.figures}),
        bound=bound_of(share),
        practice=COSTLY_CODE,
        cures=("sample-cache",),
        confidence="which lock it is the profile does not tell",
    )
