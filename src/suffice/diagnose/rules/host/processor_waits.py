"""A training process that is off the processor while no data are missing -> a finding."""

from __future__ import annotations

from suffice.diagnose.practices import COSTLY_CODE
from suffice.diagnose.view import View, bound_of, some, value_of
from suffice.records import Finding, measured

MATTERS = 0.15
CONTENDED = 0.20  # of the time something on the machine stalls for a processor: then neighbours explain it


def processor_waits(view: View) -> Finding | None:
    """Less than one processor busy: the process sleeps, waits for I/O, a lock or other ranks; not told which."""
    busy = value_of(view.rank.figures, "processors_busy")
    pressure = view.gauge("pressure_cpu")
    if view.on_gpu or busy is None or pressure is None or pressure.value > CONTENDED:
        return None
    waits_for_data = view.step_share("wait_for_data_s") or 0.0
    step_share = max(0.0, 1 - busy - waits_for_data)
    if step_share < MATTERS:
        return None
    whom = "other ranks, " if len(view.world) > 1 else ""
    return Finding(
        id="processor-waits",
        rung=3,
        sentence=f"the training process is off the processor for {step_share:.0%} of a step and not for want of data: "
        f"it waits for {whom}storage, the network or a lock",
        evidence=some(
            {
                "processors_busy": view.rank.figures.get("processors_busy"),
                "off_processor": measured(step_share, "share", method="1 - processors busy - waiting for data"),
                "pressure_cpu": pressure,
            }
        ),
        bound=bound_of(step_share * view.training_share),
        practice=COSTLY_CODE,
        confidence="what it waits for the profile does not tell, so no cure is offered",
    )
