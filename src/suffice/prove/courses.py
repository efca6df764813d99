"""A workshop and changes -> a short run of the job from its start, as a record that can be compared."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from suffice.prove.workshop import Workshop
from suffice.records import Change, Course
from suffice.run.background import Background

LIMIT_S = 600.0
POLL_S = 0.1
TAIL_SHOWN = 500


def run_course(
    workshop: Workshop,
    changes: Sequence[Change],
    *,
    steps: int,
    seed: int = 0,
    seed_offset: int = 0,
    twin_eps: float = 0.0,
    reference: tuple[str, Path] | None = None,
    limit_s: float = LIMIT_S,
    on_wait: Callable[[], None] = lambda: None,
) -> Course | str:
    """A short run of the job from its start with these changes, or the reason why there is none.

    Args:
        workshop: How the job is started.
        changes: What is switched on from the first step on.
        steps: After so many the process ends.
        seed: For a job that sets none.
        seed_offset: Added to every seed that the job sets.
        twin_eps: How much the first weights are changed.
        reference: ("write" | "compare", file): where gradients and state are written to, or compared with.
        limit_s: It is ended after so many seconds.
        on_wait: Called now and then.
    """
    place = Path(tempfile.mkdtemp(prefix="course-", dir=workshop.folder))
    report = place / "report.json"
    kind, path = reference or (None, None)
    course: dict[str, Any] = {
        "steps": steps,
        "seed": seed,
        "seed_offset": seed_offset,
        "twin_eps": twin_eps,
        "report": str(report),
        "write_reference": str(path) if kind == "write" else None,
        "compare_with": str(path) if kind == "compare" else None,
    }
    process = _run(workshop, changes, course, limit_s, on_wait)
    if not report.exists():
        return (
            f"the job ended without having made a step (exit code {process.exit_code}): {process.tail()[-TAIL_SHOWN:]}"
        )
    told = json.loads(report.read_text())
    refused = told["refused"] or [path.read_text() for path in sorted(place.glob(f"{report.name}.[0-9]*"))]
    if refused:
        return "; ".join(refused)
    return _course(told, changes)


def _run(
    workshop: Workshop,
    changes: Sequence[Change],
    course: Mapping[str, Any],
    limit_s: float,
    on_wait: Callable[[], None],
) -> Background:
    listed = [change.order for change in changes]
    process = workshop.start({"changes": listed, "course": course})
    until_s = time.monotonic() + limit_s
    try:
        while process.exit_code is None and time.monotonic() < until_s:
            on_wait()
            time.sleep(POLL_S)
    finally:
        process.stop()
    return process


def _course(told: Mapping[str, Any], changes: Sequence[Change]) -> Course:
    names = Course.__dataclass_fields__.keys() & told.keys()
    values: dict[str, Any] = {name: tuple(v) if isinstance(v := told[name], list) else v for name in names}
    values["losses"] = tuple(float.fromhex(x) if isinstance(x, str) else float(x) for x in told["losses"])
    return Course(**{**values, "changes": tuple(change.name for change in changes)})
