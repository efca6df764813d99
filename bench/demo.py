"""The example of the README: plain, with the plan that `suffice improve` found by itself, and tuned by hand, in turn.

    python bench/demo.py [--rounds N] [--epochs E] [--plan plan.toml]

Every run is a process of its own, in an order drawn anew each round. The seconds of an epoch are read off the clock
when its line is printed; the first epoch, in which things are decoded and stored, is told apart. Energy is an estimate
from processor seconds (`suffice report` tells how), so its ratio is that of the processor seconds. The losses and the
accuracy that each run printed are compared as text: the plan's `exact` changes, which run by themselves as well, must
not alter a digit. No run finds anything that an earlier one stored.

Whole runs that follow each other differ by a tenth here with what else the machine does, which is more than the plan
and the version tuned by hand differ. So those two are compared once more by --pairs of processes that take turns: each
makes an epoch while the other is stopped. Each pair's ratio is the median of its epochs'.
"""

import argparse
import contextlib
import datetime as dt
import json
import os
import platform
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "digits" / "train.py"
EXPERT = ROOT / "bench" / "experts" / "digits.py"


def exact_only(plan, folder):
    """The plan without the changes that round."""
    mark = "\n[[change]]\n"
    head, *changes = plan.read_text().split(mark)
    path = folder / "exact.toml"
    path.write_text(mark.join([head, *(each for each in changes if 'risk = "exact"' in each)]))
    return path


def started(command, home, **options):
    """The command's process, which finds nothing that an earlier one stored."""
    environment = {**os.environ, "SUFFICE_HOME": home}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment, **options
    )


def run(command):
    """Seconds of each epoch, processor seconds in all, seconds in all, and the lines that it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = last = time.perf_counter()
    epochs, lines = [], []
    with tempfile.TemporaryDirectory() as home, started(command, home) as process:
        for line in process.stdout:
            now = time.perf_counter()
            lines.append(line.strip())
            if line.startswith("epoch"):
                epochs.append(now - last)
                last = now
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"epochs_s": epochs, "processor_s": processor_s, "wall_s": time.perf_counter() - begun, "lines": lines}


def in_turn(commands, epochs, number):
    """Seconds of the epochs behind the first of two commands whose processes go on in turn."""
    names, processes, seconds = list(commands), {}, {name: [] for name in commands}

    def epoch_of(name):
        begun = time.perf_counter()
        os.killpg(processes[name].pid, signal.SIGCONT)
        while not processes[name].stdout.readline().startswith("epoch"):
            if processes[name].poll() is not None:
                raise RuntimeError(f"{commands[name]} ended with {processes[name].returncode}")
        os.killpg(processes[name].pid, signal.SIGSTOP)
        return time.perf_counter() - begun

    with contextlib.ExitStack() as stack:
        for name in names:
            home = stack.enter_context(tempfile.TemporaryDirectory())
            processes[name] = started(commands[name], home, start_new_session=True)
            stack.callback(kill_group, processes[name])
            epoch_of(name)
        for turn in range(epochs - 2):  # behind the last one the process ends
            for name in names if (number + turn) % 2 else names[::-1]:
                seconds[name].append(epoch_of(name))
        for process in processes.values():
            os.killpg(process.pid, signal.SIGCONT)
            process.communicate()
    return seconds


def kill_group(process):
    """End what is left of a process's group, stopped or not."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def pairs_of(commands, epochs, pairs):
    """The ratio of the first command's epochs to the second's in each pair: median, least, greatest."""
    first, second = commands
    found = [in_turn(commands, epochs, number) for number in range(pairs)]
    ratios = [statistics.median(a / b for a, b in zip(each[first], each[second], strict=True)) for each in found]
    told = {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}
    name = f"{first} / {second}, seconds of a later epoch, in turn"
    print(f"{name:58s} {told['median']:.3f}x [{told['low']:.3f}, {told['high']:.3f}] of {pairs} pairs")
    return {**told, "pairs": found}


def later_epochs(found):
    return statistics.fmean(found["epochs_s"][1:])


def ratio(name, rounds, base, other, value):
    """The ratio of base to other in each round: median, least, greatest."""
    ratios = sorted(value(r[base]) / value(r[other]) for r in rounds)
    told = {"median": statistics.median(ratios), "low": ratios[0], "high": ratios[-1]}
    print(f"{name:58s} {told['median']:.3f}x [{told['low']:.3f}, {told['high']:.3f}] of {len(ratios)} rounds")
    return told


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=5, help="of processes of the plan and the expert that take turns")
    parser.add_argument("--pair-epochs", type=int, default=10)
    parser.add_argument("--data", type=Path, default=ROOT / "examples" / "data" / "digits")
    parser.add_argument("--plan", type=Path, default=ROOT / "plan.toml")
    args = parser.parse_args()
    data, out = ["--data", str(args.data)], ["--out", str(Path(tempfile.mkdtemp()) / "digits.pt")]

    def plain(epochs):
        return [sys.executable, str(EXAMPLE), *data, "--epochs", str(epochs), *out]

    def planned(plan, epochs):
        return [*measure, str(plan), "--", *plain(epochs)]

    def by_hand(epochs):
        return [sys.executable, str(EXPERT), *data, "--epochs", str(epochs)]

    measure = [sys.executable, "-m", "suffice", "measure", "--no-live", "--plan"]
    exact = exact_only(args.plan, Path(tempfile.mkdtemp()))
    commands = {
        "plain": plain(args.epochs),
        "plan": planned(args.plan, args.epochs),
        "plan, exact": planned(exact, args.epochs),
        "expert": by_hand(args.epochs),
        "expert, batched": [*by_hand(args.epochs), "--batched"],
    }
    rounds = []
    for number in range(args.rounds):
        order = list(commands)
        random.Random(number).shuffle(order)
        rounds.append({name: run(commands[name]) for name in order})
        print(number, {n: [round(s, 2) for s in rounds[-1][n]["epochs_s"]] for n in commands}, flush=True)
    results = {
        "epoch": ratio("plain / plan, seconds of a later epoch", rounds, "plain", "plan", later_epochs),
        "first": ratio("plain / plan, the first epoch", rounds, "plain", "plan", lambda r: r["epochs_s"][0]),
        "wall": ratio("plain / plan, the whole run", rounds, "plain", "plan", lambda r: r["wall_s"]),
        "energy": ratio(
            "plain / plan, processor seconds of the run", rounds, "plain", "plan", lambda r: r["processor_s"]
        ),
        "expert": ratio("plain / expert, seconds of a later epoch", rounds, "plain", "expert", later_epochs),
        "of_expert": ratio("expert / plan, seconds of a later epoch", rounds, "expert", "plan", later_epochs),
        "exact": ratio(
            "plain / plan, exact changes alone, a later epoch", rounds, "plain", "plan, exact", later_epochs
        ),
        "batched": ratio("plain / batched expert, a later epoch", rounds, "plain", "expert, batched", later_epochs),
    }
    two = {"expert": by_hand(args.pair_epochs), "plan": planned(args.plan, args.pair_epochs)}
    results["in_turn"] = pairs_of(two, args.pair_epochs, args.pairs)
    alike = {tuple(r["plain"]["lines"]) for r in rounds} == {tuple(r["plan, exact"]["lines"]) for r in rounds}
    print("printed losses and accuracies with the plan's exact changes are those without it:", alike)
    last = {name: [r[name]["lines"][-1] for r in rounds] for name in commands}
    print(last)
    results |= {"printed_alike": alike, "accuracy": last, "rounds": rounds, "command": sys.argv}
    results |= {"machine": platform.processor() or platform.machine(), "python": platform.python_version()}
    name = f"demo_{platform.machine()}_{dt.datetime.now(tz=dt.UTC).date()}.json"
    (ROOT / "bench" / "results" / name).write_text(json.dumps(results, indent=1) + "\n")
    print("wrote", name)


if __name__ == "__main__":
    main()
