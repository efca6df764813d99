"""Changes that break a training job, and harmless ones: which test refuses each, with the numbers.

    python bench/breakage.py [--seeds N]

Every change is made in the small image classifier of tests/jobs/breakage.py, and judged as what it claims to be: 20
steps of one seed (exact and numeric changes), and 160 steps over several seeds (all). A row is right where a fault was
refused and a harmless change was not. The last half alone is judged too: short courses find what it does not.
"""

import argparse
import datetime as dt
import json
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.prove.breakage import COMPILE, HARMLESS, PLANTED, Bench, course_of  # noqa: E402 - found by the line above

from suffice.prove.faults import FIRST, SOON, relative_errors, rms  # noqa: E402


def measured(bench, each):
    """A row of the table: what each test found of one change."""
    judged = bench.judge(each)
    baseline, _, _, changed = (course_of(path, each.name) for path in bench.short(each))
    errors = relative_errors(baseline, changed)
    long = bench.judge_last_half(each) if not each.base else None
    tests = [fault.test for fault in bench.faults(each)] if each.risk != "stochastic" else []
    return {
        "change": each.name,
        "claims to be": each.risk,
        "harmless": each.test is None,
        "met": judged.met,
        "right": judged.met is (each.test is None),
        "refused by": list(dict.fromkeys(tests)),
        "reason": judged.reason,
        "loss at first": rms(errors[:FIRST]),
        "loss later": rms(errors[:SOON]),
        "worst gradient": max(changed.gradient_errors.values(), default=None),
        "worst state": max(changed.state_errors.values(), default=None),
        "last half met": None if long is None else long.met,
        "last half": None if long is None else long.reason,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    arguments = parser.parse_args()
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), [*PLANTED, COMPILE, *HARMLESS], range(arguments.seeds))
        rows = [measured(bench, each) for each in (*PLANTED, COMPILE, *HARMLESS)]
    print(f"{'change':<22}{'claims':<12}{'verdict':<10}{'last half alone':<17}reason")
    words = {True: "passed", False: "refused", None: "undecided"}
    for row in rows:
        alone = words[row["last half met"]] if row["last half"] else "-"
        mark = "" if row["right"] else "  WRONG"
        print(f"{row['change']:<22}{row['claims to be']:<12}{words[row['met']]:<10}{alone:<17}{row['reason']}{mark}")
    planted = [row for row in rows if not row["harmless"]]
    harmless = [row for row in rows if row["harmless"]]
    caught, passed = (sum(row["right"] for row in some) for some in (planted, harmless))
    alone = sum(row["last half met"] is False for row in planted)
    print(f"{caught} of {len(planted)} planted faults refused, {passed} of {len(harmless)} harmless changes passed")
    print(f"the last half over {arguments.seeds} seeds alone refuses {alone} of {len(planted)}")
    today = dt.datetime.now(tz=dt.UTC).date()
    report = {
        "claim": "every planted breakage is refused, and no harmless change is",
        "command": "python bench/breakage.py",
        "date": today.isoformat(),
        "versions": {"python": platform.python_version(), "torch": version("torch")},
        "load": load,
        "seeds": arguments.seeds,
        "refused": caught,
        "planted": len(planted),
        "passed": passed,
        "harmless": len(harmless),
        "refused by the last half alone": alone,
        "rows": rows,
    }
    path = arguments.out / f"breakage_{platform.machine()}_{today}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
