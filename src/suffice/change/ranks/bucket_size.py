"""Gradients of several ranks exchanged in larger or smaller buckets: `bucket_cap_mb`.

Larger buckets are fewer messages, smaller ones leave earlier, while the backward pass still computes. Each
`DistributedDataParallel` gets a new reducer, as it does when it is loaded from a file.

Not with one rank, nor where all gradients fit into the first bucket. Not while the job trains, unless somebody has all
ranks change at the same step. Not with a communication hook, the wrapper's own mixed precision, or sizes that the job
gives bucket by bucket. With two ranks the numbers are bitwise equal, with more the sums are split in other places.

Practice: HPC, distributed training: exchange gradients in messages that fit the network
Source: DistributedDataParallel, `bucket_cap_mb`; Li et al., "PyTorch Distributed", VLDB 2020, section 5.2.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from .exchange.wrappers import nothing_exchanged, rebuild, require_plain, wrappers_of

if TYPE_CHECKING:
    from typing import Any

    from suffice.records import Profile

RISK = "numeric"
CLOCK = "wall"
BLOCK = 8
WARM_UP = 2
PRACTICE = "HPC, distributed training: exchange gradients in messages that fit the network"

MIB = 1 << 20
FIRST_MIB, USUAL_MIB = 1, 25  # torch's own
LARGE_MIB, SMALL_MIB = 100, 5
WIDTH_BYTES = 4


def propose(profile: Profile) -> list[dict[str, Any]] | str:
    """Larger buckets than the usual ones, then smaller ones, as far as the gradients fill several."""
    without = nothing_exchanged(profile)
    if without:
        return without
    parameters = profile.ranks[0].facts.get("parameters")
    if parameters is None:
        return "how many parameters the model has is not known"
    gradients_mib = parameters * WIDTH_BYTES / MIB
    if gradients_mib <= FIRST_MIB:
        return f"all gradients fit into the first bucket of {FIRST_MIB} MiB"
    larger = LARGE_MIB if gradients_mib > USUAL_MIB else USUAL_MIB
    return [{"mib": larger}, *([{"mib": SMALL_MIB}] if gradients_mib > 2 * SMALL_MIB else [])]


def prepare(job: Any, settings: dict[str, Any]) -> BucketSize:
    """The switch; refused where there is nothing to exchange, or the ranks could not change together."""
    wrappers = wrappers_of(job)
    require_plain(job, wrappers)
    size = int(settings["mib"]) * MIB
    for wrapper in wrappers:
        if not hasattr(wrapper, "bucket_bytes_cap"):
            job.refuse("torch {} holds the size elsewhere".format(job.torch.__version__))
        if getattr(wrapper, "bucket_bytes_cap_list", None):
            job.refuse("the job gives the sizes bucket by bucket")
        if wrapper.bucket_bytes_cap == size and not getattr(wrapper, "bucket_bytes_cap_default", False):
            job.refuse("the job has it already")
    return BucketSize(wrappers, size)


class BucketSize:
    """Switches the reducer; on every rank at the same step."""

    NAMES = ("bucket_bytes_cap", "bucket_bytes_cap_default", "_bucket_config")

    def __init__(self, wrappers: list[Any], size: int) -> None:
        self.size = size
        self.plain = [
            (wrapper, {n: getattr(wrapper, n) for n in self.NAMES if hasattr(wrapper, n)}) for wrapper in wrappers
        ]
        self.is_on = False

    def on(self) -> None:
        """Between two steps, on all ranks."""
        if not self.is_on:
            self.is_on = True
            for wrapper, plain in self.plain:
                self._build(wrapper, self._sized(plain))

    def off(self) -> None:
        """Between two steps, on all ranks."""
        if self.is_on:
            self.is_on = False
            for wrapper, plain in self.plain:
                self._build(wrapper, plain)

    def _sized(self, plain: dict[str, Any]) -> dict[str, Any]:
        """The wrapper's attributes for all buckets of this size, the first one too; what this torch lacks stays out."""
        sized = {"bucket_bytes_cap": self.size, "bucket_bytes_cap_default": False}
        told = {name: sized.get(name) for name in plain}
        if "_bucket_config" in plain:
            told["_bucket_config"] = dataclasses.replace(
                plain["_bucket_config"], bucket_bytes_cap=self.size, first_bucket_bytes_cap=self.size
            )
        return told

    @staticmethod
    def _build(wrapper: Any, attributes: dict[str, Any]) -> None:
        for name, value in attributes.items():
            setattr(wrapper, name, value)
        rebuild(wrapper)
