"""A loader limited by I/O and by compute -> a finding with the two rates that curing one alone can reach."""

from __future__ import annotations

from suffice.diagnose.practices import CACHED_DATA
from suffice.diagnose.view import View, bound_of, some
from suffice.measure.loading import BOTH
from suffice.records import Finding


def loader_both(view: View) -> Finding | None:
    """Neither of the two is most of a fetch: a cache spares both at once."""
    share, loader = view.data_wait, view.loader
    if share is None or loader is None or loader.limited_by != BOTH:
        return None
    return Finding(
        id="loader-both",
        rung=2,
        sentence=f"{share:.0%} of the loop is waiting for data, and the loader for I/O and for a processor: "
        f"{loader.reason or 'why is not known'}",
        evidence=some({"wait_for_data_s": view.split.get("wait_for_data_s"), **loader.figures}),
        bound=bound_of(share),
        practice=CACHED_DATA,
        cures=("sample-cache", "loader-workers"),
    )
