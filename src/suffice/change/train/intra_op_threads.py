"""The number of threads that share one operation of torch: fewer where processors are short, more where they are idle.

`torch.set_num_threads`. Threads wait for each other by spinning, at the end of each operation for the slowest: on
processors that others want as well two threads were measured to be 0.28 times as fast as one, on idle ones 1.6 times.

Not on a GPU. What pays depends on the load of the machine, so it must be proven again where that differs. Sums are
split in other places, and round otherwise.

Practice: PERF02-BP04: configure compute to fit the work
Source: torch.set_num_threads; the figures were measured on a small CNN with torch's default OpenMP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from suffice.records import Profile

RISK = "numeric"
CLOCK = "wall"
BLOCK = 8  # the team of threads is built anew after a switch
WARM_UP = 1
PRACTICE = "PERF02-BP04: configure compute to fit the work"

CONTENDED = 0.30  # of the time something on the machine stalls for a processor


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """The numbers of threads that are worth a trial, the likeliest first."""
    rank = profile.ranks[0]
    now, allowed = rank.facts.get("intra_op_threads"), profile.machine.get("processors_allowed")
    if rank.device.startswith("cuda"):
        return "the GPU computes, and not these threads"
    if not now or not allowed:
        return "how many threads and processors there are is not known"
    ranks = max(1, sum(not each.device.startswith("cuda") for each in profile.ranks))
    share = max(1, int(allowed / ranks))
    if now > share:
        numbers = [share, share // 2, 1]
    elif _contended(profile):
        numbers = [1, now // 2]
    else:
        numbers = [share, now // 2, 1]
    wanted = [n for n in dict.fromkeys(numbers) if 1 <= n != now]
    return [{"threads": n} for n in wanted] or "one thread on one processor leaves no choice"


def prepare(job: Any, settings: dict[str, Any]) -> IntraOpThreads:
    """The switch; refused where the job has so many threads already, or fewer processors."""
    threads = int(settings["threads"])
    if threads == job.torch.get_num_threads():
        job.refuse("it has {} threads already".format(threads))
    if threads > job.processors:
        job.refuse("{} threads would share {} processors".format(threads, job.processors))
    return IntraOpThreads(job.torch, threads)


class IntraOpThreads:
    """Switches the threads of the thread that trains."""

    def __init__(self, torch: Any, threads: int) -> None:
        self.torch = torch
        self.threads = threads
        self.before: int | None = None

    def on(self) -> None:
        """Between two steps."""
        if self.before is None:
            self.before = self.torch.get_num_threads()
            self.torch.set_num_threads(self.threads)

    def off(self) -> None:
        """Between two steps."""
        if self.before is not None:
            self.torch.set_num_threads(self.before)
            self.before = None


def _contended(profile: Profile) -> bool:
    readings = next((s.values for s in profile.series if s.name == "pressure_cpu" and s.values), ())
    return bool(readings) and sorted(readings)[len(readings) // 2] >= CONTENDED
