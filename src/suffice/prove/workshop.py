"""A training command and a sandbox -> processes of the job that run by an order, and leave the user's files alone."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suffice.change.catalog import at_start
from suffice.run.background import Background
from suffice.run.sandbox import Sandbox
from suffice.run.stage import environment

METRICS = "metrics.jsonl"
"""Beside the output: what the job told by `suffice.log`."""


@dataclass(kw_only=True, slots=True)
class Workshop:
    """Where and how processes of the job are started; `folder` is written in truth, all else lands in the sandbox.

    `by_hand` is set once a process was seen to train without an optimiser: the next ones need not find that out.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    sandbox: Sandbox
    stage: Path
    folder: Path
    by_hand: bool = False

    def start(self, order: Mapping[str, Any], *, spool: Path | None = None) -> Background:
        """Start the job with an order for the agent; with a `spool` it is recorded as well."""
        place = Path(tempfile.mkdtemp(prefix="order-", dir=self.folder))
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        path = place / "order.json"
        started, changes = at_start(order.get("changes", ()), self.environment)
        path.write_text(json.dumps({**order, "changes": changes, "scratch": str(scratch), "by_hand": self.by_hand}))
        variables = environment(started, self.stage, spool, path)
        variables["SUFFICE_METRICS"] = str(place / METRICS)
        return Background(*self.sandbox.wrap(self.command, variables), place / "output.txt")
