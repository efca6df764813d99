"""Programs in the manner of public ones: plain, with the plan that suffice found, and with what people try by hand.

    python bench/public.py [--programs NAME …] [--rounds N] [--hand-rounds N] [--search-seconds S] [--twice]

Each program of bench/programs/, and a training command that a package installs, is measured once under suffice, then
improved, and then run to its end in rounds whose order is drawn anew: plain, with the plan, and with each of three
common measures alone, which the programs take as `--by-hand`: torch.compile, bf16 autocast, as many workers as cores. A
ratio is that of the wall seconds of whole runs within one round, start-up included: the median, the least and the
greatest. Where a measure is not applicable or fails, a person would stay with the plain program: it counts as 1 in the
means, and so does a plan that fails, which is told. One that takes more than 1.5 times as long as the measured run is
ended then: its ratio is at most what is shown, with "<". The cache of torch.compile is that of the program's folder, so
only its first round compiles from nothing. --hand-rounds: the measures by hand are run in so many rounds.

The plan's run should take no longer than the best of plain and the three, within 2 %. With --twice each program is
improved a second time from the same beginnings, with another seed: do both searches keep the same?

The result is written after every program; a later call on the same day adds to it.
"""

import argparse
import datetime as dt
import itertools
import json
import math
import os
import platform
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from importlib.metadata import version
from pathlib import Path

from public_programs import ALL, BY_HAND, PYTHON

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
SUFFICE = [str(PYTHON), "-m", "suffice"]
TOLERANCE = 1.02
LONGEST = 1.5
LAST_WORDS = 3000


def without_folders(text):
    """The text with files named from where they are known: what this machine calls its folders is nobody's business."""
    return re.sub(r'(?<=["\s])/[^"\s]*/(site-packages|python3\.\d+|bench)/', r"\1/", text)


class Bench:
    """A folder for one program: where it works, where suffice and the compiler keep what is theirs."""

    def __init__(self, folder, program, data):
        self.program, self.folder = program, folder
        self.command = program.command(data)
        for name in ("work", "tmp"):
            (folder / name).mkdir(parents=True)
        self.home = folder / "home"

    def run(self, command, home=None, limit_s=math.inf):
        """Run a command to its end: how it ended, its seconds on the clock and of processors, its laps, its metric.

        After `limit_s` it is ended, as `stopped` tells.
        """
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_"))}
        own = {"SUFFICE_HOME": str(home or self.home), "TMPDIR": str(self.folder / "tmp"), "PYTHONUNBUFFERED": "1"}
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        laps, lines = [], []
        with (
            (self.folder / "errors.txt").open("w+", errors="replace") as errors,
            subprocess.Popen(
                command,
                cwd=self.folder / "work",
                env={**inherited, **own},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                errors="replace",
            ) as process,
        ):
            timer = threading.Timer(min(limit_s, threading.TIMEOUT_MAX), process.kill)
            timer.start()
            for line in process.stdout:
                lines.append(line)
                if re.search(self.program.lap, line):
                    laps.append(time.perf_counter())
            exit_code = process.wait()
            wall_s = time.perf_counter() - began
            timer.cancel()
            errors.seek(0)
            said = "".join(lines) + errors.read()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        metrics = re.findall(self.program.metric, said)
        found = {"exit": exit_code, "wall_s": wall_s, "metric": float(metrics[-1]) if metrics else None}
        if wall_s > limit_s:
            return found | {"exit": 0, "stopped": True}
        found["notes"] = [line for line in said.splitlines() if line.startswith("suffice: ")]
        found["processor_s"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if len(laps) > 1:
            found["lap_s"] = statistics.median(b - a for a, b in itertools.pairwise(laps))
        return found if exit_code == 0 else found | {"last_words": without_folders(said)[-LAST_WORDS:]}

    def search(self, home, name, options):
        """Improve the program: how that ended, its seconds, what it kept, and the outcome of each trial."""
        plan, told = self.folder / f"{name}.toml", self.folder / f"{name}.json"
        words = [*SUFFICE, "improve", "--plan", str(plan), "--json", str(told), *options, "--", *self.command]
        ended = self.run(words, home)
        found = {key: ended[key] for key in ("exit", "wall_s", "last_words") if key in ended}
        planned = tomllib.loads(plan.read_text()).get("change", []) if plan.exists() else []
        found["kept"] = [named(change) for change in planned]
        if told.exists():
            record = json.loads(told.read_text())
            found["promised"] = record.get("total")
            found["trials"] = [
                {"change": trial["change"], "spent_s": trial["spent_s"], **trial["verdict"]}
                for trial in record["trials"]
            ]
        return found

    def ways(self):
        """Each way to run the program. Without a plan, for the search failed, a user would run the plain program."""
        plan = self.folder / "plan.toml"
        with_plan = [*SUFFICE, "measure", "--no-live", "--plan", str(plan), "--"] if plan.exists() else []
        by_hand = {name: [*self.command, *words.split()] for name, words in self.program.by_hand.items()}
        return {"plain": self.command, "plan": [*with_plan, *self.command], **by_hand}


def named(change):
    """A change of a plan with its settings, in a line."""
    settings = ", ".join(f"{key}={value}" for key, value in sorted(change.get("settings", {}).items()))
    return f"{change['id']} ({settings})" if settings else change["id"]


def try_program(name, folder, data, args):
    """All that is found of one program."""
    bench = Bench(folder, ALL[name], data)
    measured = bench.run([*SUFFICE, "measure", "--no-live", "--", *bench.command])
    if measured["exit"]:
        raise RuntimeError(f"{name} failed under `suffice measure`:\n{measured['last_words']}")
    other_home = shutil.copytree(bench.home, folder / "other_home")
    budget = [] if args.search_seconds is None else ["--time", str(args.search_seconds)]
    found = {"measured": measured, "search": bench.search(bench.home, "plan", budget)}
    if args.twice:
        found["second_search"] = bench.search(other_home, "other", [*budget, "--seed", "1"])
        found["agree"] = sorted(found["search"]["kept"]) == sorted(found["second_search"]["kept"])
    ways, found["rounds"] = bench.ways(), []
    for number in range(args.rounds):
        order = [way for way in ways if way not in BY_HAND or number < args.hand_rounds]
        random.Random(f"{name} {number}").shuffle(order)
        limits_s = dict.fromkeys(BY_HAND, LONGEST * measured["wall_s"])
        found["rounds"].append({way: bench.run(ways[way], limit_s=limits_s.get(way, math.inf)) for way in order})
    return found | judged(found["rounds"])


def judged(rounds):
    """The ratios of a program's rounds, and what follows from them."""
    if any(each["plain"]["exit"] for each in rounds):
        raise RuntimeError(f"the plain program failed: {[each['plain'] for each in rounds]}")
    ways = {way: ratio(rounds, "plain", way) for way in rounds[0] if way != "plain"}
    hand = {way: found for way, found in ways.items() if way != "plan" and found is not None}
    rivals = ["plain", *hand]
    against = {way: ratio(rounds, way, "plan") for way in rivals}
    metrics = {way: [each[way]["metric"] for each in rounds] for way in ("plain", "plan")}
    ran = ways["plan"] is not None
    return {
        "plain_s": statistics.median(each["plain"]["wall_s"] for each in rounds),
        "ratios": ways,
        "best_by_hand": max([1.0, *(found["median"] for found in hand.values())]),
        "plan_against": against,
        "never_slower": ran and against["plain"]["median"] >= 1 / TOLERANCE,
        "as_fast_as_best": ran and all(found["median"] >= 1 / TOLERANCE for found in against.values()),
        "metrics": metrics,
        "metric_alike": metrics["plain"] == metrics["plan"],
    }


def ratio(rounds, base, other):
    """The ratio of base to other in each round: median, least, greatest; None where the other failed."""
    rounds = [each for each in rounds if base in each and other in each]
    if any(each[other]["exit"] for each in rounds):
        return None
    ratios = sorted(each[base]["wall_s"] / each[other]["wall_s"] for each in rounds)
    stopped = any(each[other].get("stopped") for each in rounds)
    return {"median": statistics.median(ratios), "low": ratios[0], "high": ratios[-1], "at_most": stopped}


def show(name, found):
    """A line of the table, and what was kept."""
    search = found["search"]
    hand = "".join(f"{told(found['ratios'], way):>22s}" for way in BY_HAND)
    verdict = f"{'yes' if found['never_slower'] else 'NO':>9s}{'yes' if found['as_fast_as_best'] else 'NO':>9s}"
    print(f"{name:22s}{found['plain_s']:7.1f}{told(found['ratios'], 'plan'):>22s}{hand}{verdict}")
    kept = ", ".join(search["kept"]) or "nothing"
    ended = f", which failed with {search['exit']}" if search["exit"] else ""
    print(f"    kept {kept}, in a search of {search['wall_s']:.0f} s{ended}")
    metrics = {way: sorted(set(map(str, values))) for way, values in found["metrics"].items()}
    print(f"    metric {', '.join(metrics['plain'])} plain, {', '.join(metrics['plan'])} with the plan")
    if "agree" in found:
        second = ", ".join(found["second_search"]["kept"]) or "nothing"
        print(f"    another search kept {second}: {'the same' if found['agree'] else 'NOT the same'}")
    sys.stdout.flush()


def told(ratios, way):
    """A ratio with its range as text."""
    if way not in ratios:
        return "-"
    found = ratios[way]
    if not found:
        return "failed"
    sign = "<" if found["at_most"] else ""
    return f"{sign}{found['median']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def summary(programs):
    """The geometric mean of each column, and how many programs hold what is asked."""
    columns = {
        way: [(p["ratios"].get(way) or {"median": 1.0})["median"] for p in programs] for way in ("plan", *BY_HAND)
    }
    columns["best by hand"] = [p["best_by_hand"] for p in programs]
    means = {way: math.exp(statistics.fmean(map(math.log, values))) for way, values in columns.items()}
    counts = {key: sum(p[key] for p in programs) for key in ("never_slower", "as_fast_as_best", "metric_alike")}
    twice = [p["agree"] for p in programs if "agree" in p]
    return {
        "geometric_means": means,
        "programs": len(programs),
        **counts,
        "tried_twice": len(twice),
        "agree": sum(twice),
    }


def write(path, rows, args):
    """The results of the day so far, each with the options that it was found with."""
    versions = {
        name: version(name) for name in ("suffice", "torch", "lightning", "accelerate", "transformers", "chemprop")
    }
    machine = {"machine": platform.machine(), "processors": os.cpu_count(), "python": platform.python_version()}
    earlier = json.loads(path.read_text())["rows"] if path.exists() else {}
    options = {"rounds": args.rounds, "search_seconds": args.search_seconds, "load": os.getloadavg()}
    rows = earlier | {name: {"options": options, **found} for name, found in rows.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "command": sys.argv,
        **machine,
        "versions": versions,
        "summary": summary(list(rows.values())),
        "rows": rows,
    }
    path.write_text(json.dumps(record, indent=1) + "\n")
    return record["summary"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", nargs="+", choices=list(ALL), default=list(ALL))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hand-rounds", type=int, default=3, help="rounds with the measures by hand, 1 at least")
    parser.add_argument("--search-seconds", type=float, help="of each search; else what suffice takes by itself")
    parser.add_argument("--twice", action="store_true", help="improve a second time, with another seed")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    path = args.out / f"public_{platform.machine()}_{dt.datetime.now(tz=dt.UTC).date()}.json"
    heads = "".join(f"{'plain/' + way:>22s}" for way in ("plan", *BY_HAND))
    print(f"{'program':22s}{'plain s':>7s}{heads}{'≤ plain':>9s}{'≤ best':>9s}")
    overall, failed = None, []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.programs:
            try:
                found = try_program(name, Path(folder) / name, Path(folder) / "data", args)
            except RuntimeError as error:
                print(f"{name}: {error}", flush=True)
                failed.append(name)
            else:
                show(name, found)
                overall = write(path, {name: found}, args)
    if overall is not None:
        means = ", ".join(f"{way} {mean:.3f}x" for way, mean in overall.pop("geometric_means").items())
        print(f"geometric means: {means}\n{overall}\nwrote {path}")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
