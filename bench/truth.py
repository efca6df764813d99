"""Planted delays, found again: each part of a step against the job's own clock, and the parts' sum against the loop.

    python bench/truth.py [--pairs N]

Every other step of the job has delays of 1 to 50 ms in one or several parts; the plain steps beside them show what the
parts take by themselves. A part counts as found if it is within 10 % or 0.3 ms of what was planted.
"""

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from suffice.agent.phases import NAMES
from suffice.agent.steps import COUNTED
from suffice.measure.spool.reader import TRAINING_PHASES, SpoolReader

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("wait_for_data", "forward", "backward", "optimiser", "other")
PLANTED_MS = (
    (1, 0, 0, 0, 0),
    (0, 1, 0, 0, 0),
    (0, 0, 1, 0, 0),
    (0, 0, 0, 1, 0),
    (0, 0, 0, 0, 1),
    (50, 0, 0, 0, 0),
    (0, 50, 0, 0, 0),
    (0, 0, 50, 0, 0),
    (0, 0, 0, 50, 0),
    (0, 0, 0, 0, 50),
    (5, 3, 8, 2, 4),
    (1, 1, 1, 1, 1),
    (50, 20, 30, 10, 1),
    (10, 10, 10, 10, 10),
)


def planted(plan, pairs):
    """Run one plan under `suffice measure`: what was planted and found of each part in ms, the sum over the loop."""
    with tempfile.TemporaryDirectory() as scratch:
        record = Path(scratch, "record")
        job = [sys.executable, str(ROOT / "tests" / "jobs" / "planted.py"), *map(str, plan), str(pairs)]
        command = [sys.executable, "-m", "suffice", "measure", "--no-live", "--record", str(record), "--", *job]
        variables = {**os.environ, "OMP_NUM_THREADS": "1", "SUFFICE_HOME": f"{scratch}/home"}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
        truth = json.loads(done.stdout)
        (process,) = (r for r in SpoolReader(record).close() if r.steps)
    rows = process.steps
    plain = [r for r in rows[1::2] if not r.flags & COUNTED]
    filled = [r for r in rows[2::2] if not r.flags & COUNTED]
    found = {part: (mean_ms(filled, part) - mean_ms(plain, part), truth[part] / pairs * 1e3) for part in PARTS}
    total_s = sum(sum(r.ns[: len(TRAINING_PHASES)]) for r in rows[1:]) / 1e9
    return found, total_s / truth["loop_s"]


def mean_ms(rows, part):
    """The mean without the tenth that neighbours on the machine disturbed most."""
    ordered = sorted(r.ns[NAMES.index(part)] for r in rows)
    kept = ordered[: max(1, len(ordered) * 9 // 10)]
    return sum(kept) / len(kept) / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    arguments = parser.parse_args()
    rows, right, sums = [], 0, []
    print("planted data-forward-backward-optimiser-other ms: found / planted ms of each part; parts over loop")
    for plan in PLANTED_MS:
        found, whole = planted(plan, arguments.pairs)
        sums.append(whole)
        for part, (ours, theirs) in found.items():
            within = abs(ours - theirs) <= max(0.1 * theirs, 0.3)
            right += within
            rows.append({"plan": plan, "part": part, "found_ms": ours, "planted_ms": theirs, "within": within})
        cells = "  ".join(f"{ours:.2f}/{theirs:.2f}" for ours, theirs in found.values())
        print(f"{'-'.join(map(str, plan)):18s} {cells}   {whole:.4f}")
    print(f"{right} of {len(rows)} parts within 10 % or 0.3 ms; parts over loop {min(sums):.4f} to {max(sums):.4f}")
    report = {
        "command": "python bench/truth.py",
        "pairs": arguments.pairs,
        "load": os.getloadavg(),
        "right": right,
        "parts": len(rows),
        "sum_over_loop": [min(sums), max(sums)],
        "rows": rows,
    }
    path = arguments.out / f"truth_{platform.machine()}_{dt.datetime.now(tz=dt.UTC).date()}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
