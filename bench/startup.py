"""What measuring costs a job once: the agent's start-up and memory, and `suffice measure` around a command.

    python bench/startup.py [--pairs N]

Pairs of processes in turn, one with and one without; because processes differ by more than the agent takes, its own
part is also timed inside a process. Start-up: `import torch` with the agent in the environment against the bare import,
by processor time and by wall time. Memory: the peak of a small training job. The whole: the wall time of `suffice
measure -- python train` against the bare command, which holds the report as well.
"""

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from suffice.run.stage import environment, stage_agent

ROOT = Path(__file__).resolve().parent.parent
IMPORT = [sys.executable, "-c", "import torch"]
INSIDE = """
import os, runpy, sys, time
import torch
stage, spool = sys.argv[1:]
begun = time.perf_counter(), time.process_time()
os.environ["SUFFICE_SPOOL"] = spool
boot = runpy.run_path(os.path.join(stage, "sitecustomize.py"))
boot["_begin_session"](stage)
print(time.perf_counter() - begun[0], time.process_time() - begun[1])
"""
TRAIN = [sys.executable, str(ROOT / "tests" / "jobs" / "cnn.py")]


def run(command, variables):
    """(wall seconds, processor seconds, peak MiB) of a command."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{command} ended with {status}")
    return time.perf_counter() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def differences(name, pairs, with_it, without):
    """Median and quartiles of the paired differences, the first pair left out: it fills caches."""
    rows = []
    for _ in range(pairs + 1):
        ours, theirs = with_it(), without()
        rows.append([a - b for a, b in zip(ours, theirs, strict=True)])
    result = {"plain": dict(zip(("wall_s", "processor_s", "peak_mib"), theirs, strict=True))}
    for at, what in enumerate(("wall_s", "processor_s", "peak_mib")):
        low, middle, high = statistics.quantiles([row[at] for row in rows[1:]], n=4, method="inclusive")
        result[what] = {"median": middle, "q25": low, "q75": high}
        print(f"{name:42s} {what:12s} +{middle:.3f} [{low:.3f}, {high:.3f}]")
    return result


def inside(runs, stage, spool, variables):
    """What the agent takes from the interpreter's start to its hooks' being in, without torch's own import."""
    command = [sys.executable, "-c", INSIDE, str(stage), str(spool)]
    rows = []
    for _ in range(runs + 1):
        done = subprocess.run(command, env=variables, check=True, capture_output=True, text=True)
        rows.append([float(word) for word in done.stdout.split()])
    result = {}
    for at, what in enumerate(("wall_s", "processor_s")):
        low, middle, high = statistics.quantiles([row[at] for row in rows[1:]], n=4, method="inclusive")
        result[what] = {"median": middle, "q25": low, "q75": high}
        print(f"{'agent, timed inside':42s} {what:12s} {middle:.4f} [{low:.4f}, {high:.4f}]")
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    arguments = parser.parse_args()
    base = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as scratch:
        stage = stage_agent(Path(scratch, "agent"))
        spool = Path(scratch, "spool")
        spool.mkdir()
        agent = environment(base, stage, spool)
        home = {**base, "SUFFICE_HOME": f"{scratch}/home"}
        whole = [sys.executable, "-m", "suffice", "measure", "--no-live", "--", *TRAIN]
        n = arguments.pairs
        report = {
            "command": "python bench/startup.py",
            "pairs": n,
            "load": os.getloadavg(),
            "agent, timed inside": inside(n, stage, spool, base),
            "agent, import torch": differences(
                "agent, import torch", n, lambda: run(IMPORT, agent), lambda: run(IMPORT, base)
            ),
            "agent, a training job": differences(
                "agent, a training job", n, lambda: run(TRAIN, agent), lambda: run(TRAIN, base)
            ),
            "suffice measure, a training job": differences(
                "suffice measure, a training job", n, lambda: run(whole, home), lambda: run(TRAIN, base)
            ),
        }
    path = arguments.out / f"startup_{platform.machine()}_{dt.datetime.now(tz=dt.UTC).date()}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
