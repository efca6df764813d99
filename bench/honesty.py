"""No change at all, tried as a change would be: how often a live job is found faster by nothing.

    python bench/honesty.py [--comparisons N]

Each comparison goes through the rig of `suffice improve` as a candidate does: the same blocks, coin, confidence
sequence and least gain, on jobs of several kinds, by the clock of either kind of technique. `suffice improve` voids
its search where the null candidate wins; here every outcome is counted.
"""

import argparse
import collections
import datetime as dt
import json
import os
import platform
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from random import Random

from suffice.prove.rig import Pairs, Rig
from suffice.prove.trial import NULL, Budget, run_trial
from suffice.prove.workshop import Workshop
from suffice.run.sandbox import choose
from suffice.run.stage import stage_agent

ROOT = Path(__file__).resolve().parent.parent
JOBS = {
    "cnn": [str(ROOT / "tests" / "jobs" / "cnn.py")],
    "dear samples": [str(ROOT / "tests" / "jobs" / "slow_samples.py"), "200"],
    "language model": [str(ROOT / "tests" / "jobs" / "nanogpt.py")],
}


def compare(command, folder, comparisons, pairs, seconds):
    """(clock, outcome, ratio, low, high, pairs) of each comparison on one job."""
    work, scratch = folder / "work", folder / "scratch"
    for each in (work, scratch, folder / "spool"):
        each.mkdir()
    workshop = Workshop(
        command=(sys.executable, *command),
        environment={**os.environ, "OMP_NUM_THREADS": "1"},
        sandbox=choose(scratch, folder=folder, stays_open=[work]),
        stage=stage_agent(folder / "agent"),
        folder=work,
    )
    found = []
    with closing(Rig(workshop, spool=folder / "spool")) as rig:
        for number in range(comparisons):
            clock = ("processor", "wall")[number % 2]
            measure = rig.pairs(None, clock=clock, block=1, warm_up=0, seen=Pairs())
            trial = run_trial(NULL, measure, rng=Random(number), budget=Budget(pairs=pairs, seconds=seconds))
            ratio = trial.verdict.ratio
            bounds = (ratio.value, ratio.low, ratio.high) if ratio else (None, None, None)
            found.append((clock, str(trial.verdict.outcome), *bounds, trial.verdict.pairs))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comparisons", type=int, default=48)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()
    rows = []
    for name, command in JOBS.items():
        with tempfile.TemporaryDirectory() as folder:
            found = compare(command, Path(folder), args.comparisons // len(JOBS), args.pairs, args.seconds)
        rows += [(name, *row) for row in found]
        outcomes = collections.Counter(row[1] for row in found)
        covered = sum(row[3] is None or row[3] <= 1 <= row[4] for row in found)
        print(f"{name:14s} {dict(outcomes)}; the interval holds 1 in {covered} of {len(found)}", flush=True)
    kept = sum(row[2] == "kept" for row in rows)
    print(f"kept: {kept} of {len(rows)} comparisons of a job with itself")
    told = {"command": sys.argv, "kept": kept, "comparisons": len(rows), "rows": rows}
    told |= {"machine": platform.machine(), "python": platform.python_version()}
    name = f"honesty_{platform.machine()}_{dt.datetime.now(tz=dt.UTC).date()}.json"
    (ROOT / "bench" / "results" / name).write_text(json.dumps(told, indent=1) + "\n")
    print("wrote", name)


if __name__ == "__main__":
    main()
