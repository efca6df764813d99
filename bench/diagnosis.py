"""Small real jobs with one planted fault each, or none: the rung and the first cure that the ladder names for each.

    python bench/diagnosis.py [--seconds N] [--only NAME …]

Each job of bench/faults/ runs under `suffice measure`, and its profile is diagnosed. What is right was written down
from what was planted, before any run: the rung, and the first cure: one of a set of techniques, or, where no technique
cures it, words of the advice that must stand in the sentence while no technique is offered. A job without a fault must
stand on the last rung with no finding that offers anything. The jobs are for two processors or more; neighbours on the
machine are not kept away, and what they used meanwhile is printed beside each row.
"""

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import psutil
from planted_jobs import JOBS

from suffice.diagnose.ladder import diagnose
from suffice.keep.home import Home
from suffice.measure.peak import Peaks
from suffice.measure.profile import fold

ROOT = Path(__file__).resolve().parent.parent
FAULTS = ROOT / "bench" / "faults"
PYTHON = sys.executable
NEIGHBOUR = "while True: pass"
TRIES = 3
CONTENDED, ALONE = 0.5, 1.0  # processors that neighbours use


def measured(job, seconds, home):
    """Run the job under `suffice measure`: its profile, and the processors that others used meanwhile."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        words = job.program.split()
        at = next(i for i, word in enumerate(words) if word.endswith(".py"))
        command = [PYTHON, *words[:at], str(FAULTS / words[at]), str(job.seconds or seconds), *words[at + 1 :]]
        beside = [subprocess.Popen([PYTHON, "-c", NEIGHBOUR]) for _ in range(job.neighbours)]
        for each in beside:
            stack.callback(each.wait)
            stack.callback(each.kill)
        before, before_s = psutil.cpu_times(), dt.datetime.now(tz=dt.UTC)
        measure = ["-m", "suffice", "measure", "--no-live", "--record", str(folder / "record"), "--", *command]
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_"))}
        done = subprocess.run(
            [PYTHON, *measure],
            env={**variables, "SUFFICE_HOME": str(home), "TMPDIR": str(folder)},
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job.processors]),
        )
        if done.returncode:
            raise SystemExit(f"{job.name} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        took_s = (dt.datetime.now(tz=dt.UTC) - before_s).total_seconds()
        if job.memory_limit is not None:
            limit_memory(folder / "record", job.memory_limit)
        profile = fold(folder / "record", Peaks(Home(folder=home).peaks))
    busy_s = sum(getattr(psutil.cpu_times(), n) - getattr(before, n) for n in ("user", "nice", "system"))
    return profile, max(0.0, busy_s - profile.figures["processor_s"].value) / took_s


def as_planted(job, seconds, home):
    """The same, again if neighbours took the processor whose being free was planted; and how often it was tried."""
    tries, others = 0, float("inf")
    while tries == 0 or (job.free and others > ALONE and tries < TRIES):
        if job.free:
            wait_until_free()
        profile, others = measured(job, seconds, home)
        tries += 1
    return profile, others, tries


def wait_until_free():
    """Wait until the machine has a processor to spare, for a minute or two at most."""
    for _ in range(40):
        if psutil.cpu_percent(interval=3) <= 100 * (1 - 1 / os.cpu_count()):
            return


def limit_memory(record, multiple):
    """Write a limit into the record: so many times what the job took."""
    peak = fold(record, Peaks(Home(folder=record).peaks)).figures["memory_peak_bytes"].value
    path = record / "run.json"
    run = json.loads(path.read_text())
    run["machine"]["memory_limit_gib"] = multiple * peak / 2**30
    path.write_text(json.dumps(run))


def expected(job, others):
    """What is right for the job beside neighbours that use `others` processors: rung, cures and words of the advice."""
    if job.if_contended is not None and others >= CONTENDED:
        return (4 if job.if_contended else 5), job.if_contended, ()
    return job.rung, job.cures, job.advice


def judged(found, rung, cures, advice):
    """Whether rung and first cure are right, and the first cure in a word."""
    first = found.findings[0] if found.findings else None
    cure = first.cures[0] if first and first.cures else None
    named = "nothing" if first is None else cure or f"advice: {first.id}"
    if found.rung != rung:
        return False, named
    if cures:
        return cure in cures, named
    if advice:
        return first is not None and cure is None and any(words in first.sentence for words in advice), named
    return first is None, named


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10, help="that each job trains")
    parser.add_argument("--only", nargs="+", help="names of jobs")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    parser.add_argument("--keep", type=Path, help="a folder for the profiles")
    arguments = parser.parse_args()
    jobs = [job for job in JOBS if not arguments.only or job.name in arguments.only]
    rows = []
    print(f"{'job':34s} right  expected                     found                        bound  neighbours")
    with tempfile.TemporaryDirectory() as home:
        for job in jobs:
            profile, others, tries = as_planted(job, arguments.seconds, Path(home))
            found = diagnose(profile)
            rows.append(row(job, found, others, tries))
            show(rows[-1])
            if arguments.keep:
                keep(profile, arguments.keep / f"{job.program.split('/')[-1].replace(' ', '_')}_{job.neighbours}.json")
    score = sum(r["right"] for r in rows)
    offered = [
        r["job"] for r in rows if not r["expected"]["cures"] and not r["expected"]["advice"] and r["found"] != "nothing"
    ]
    print(f"{score} of {len(rows)} right; a cure where there is no fault: {', '.join(offered) or 'none'}")
    if not arguments.only:
        write(arguments, rows, score)


def row(job, found, others, tries):
    """What is kept of a run of a job."""
    wanted = expected(job, others)
    right, named = judged(found, *wanted)
    return {
        "job": job.name,
        "program": job.program,
        "planted": job.planted,
        "expected": dict(zip(("rung", "cures", "advice"), wanted, strict=True)),
        "rung": found.rung,
        "found": named,
        "right": right,
        "sentence": found.sentence,
        "findings": [{"id": f.id, "bound": round(f.bound, 3), "cures": f.cures} for f in found.findings],
        "neighbours_processors": round(others, 2),
        "tries": tries,
    }


def show(told):
    """One line of the table."""
    right = told["expected"]
    wanted = "/".join(right["cures"]) or "".join(f"advice: {words}" for words in right["advice"][:1]) or "nothing"
    first = told["findings"][0]["bound"] if told["findings"] else 1.0
    print(
        f"{told['job']:34s} {'yes' if told['right'] else 'NO':5s}  {right['rung']} {wanted:26.26s} {told['rung']} "
        f"{told['found']:26.26s} {first:5.2f}  {told['neighbours_processors']:.2f}",
        flush=True,
    )


def keep(profile, path):
    """The profile as JSON."""
    from suffice.records import as_json

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(as_json(profile)))


def write(arguments, rows, score):
    """The result of a whole run."""
    today = dt.datetime.now(tz=dt.UTC).date()
    report = {
        "command": f"python bench/diagnosis.py --seconds {arguments.seconds:g}",
        "versions": {"suffice": version("suffice"), "torch": version("torch"), "python": platform.python_version()},
        "machine": {
            "processors": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "kernel": platform.release(),
            "shared": "neighbours were not kept away; neighbours_processors is what they used during a job",
        },
        "load": os.getloadavg(),
        "right": score,
        "jobs": len(rows),
        "rows": rows,
    }
    path = arguments.out / f"diagnosis_{platform.machine()}_{today}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
