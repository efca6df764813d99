"""What measuring costs a step: suffice, CodeCarbon and torch.profiler beside nothing, on the same job in one process.

    python bench/overhead.py [--device cpu|cuda] [--rounds N] [--jobs cnn,mlp]

A process differs from the next one by more than any of these tools costs, so all run in one: a round is a block of
steps with each tool and a plain one, in random order, and the ratios to the plain one are taken round by round.
"nothing" is the method's own control: plain against plain. suffice's block has the agent installed by the calls that
its hooks make in a user's job, and the observer watching from a process of its own, which sleeps during the other
blocks. "suffice" is the state that a job is in for nearly all of its time; "suffice, first steps" marks each step in
full, as it does until that has cost 50 ms in all.

Rounds are as noisy as the machine, so suffice is also measured step by step: of each two steps one has the hooks
installed, in random order, and the ratio is that of the two. The other tools can't be switched that fast.
"""

import argparse
import datetime as dt
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ROOT = Path(__file__).resolve().parent.parent
OBSERVER = """
import sys, time
from pathlib import Path
from suffice.measure.observe import Observer, standard_meters
observer = Observer(Path(sys.argv[2]), standard_meters())
observer.started(int(sys.argv[1]))
print("ready", flush=True)
while True:
    observer.tick()
    time.sleep(observer.tick_s())
"""


def cnn_job(device):
    """A convolutional net whose step takes some 25 ms on a core of 2020s make."""
    layers, width = [], 3
    for wide in (16, 32, 32, 64):
        layers += [nn.Conv2d(width, wide, 3, padding=1), nn.BatchNorm2d(wide), nn.ReLU(), nn.MaxPool2d(2)]
        width = wide
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)).to(device)
    batch = 32 if device == "cpu" else 512
    return model, TensorDataset(torch.randn(batch * 10, 3, 48, 48), torch.randint(0, 10, (batch * 10,))), batch


def mlp_job(device):
    """A small net whose step takes about 1 ms."""
    width = 256 if device == "cpu" else 512
    layers = [nn.Linear(256, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)]
    model = nn.Sequential(*layers).to(device)
    return model, TensorDataset(torch.randn(3200, 256), torch.randint(0, 10, (3200,))), 32


class Job:
    """A training loop that can be run for some steps at a time."""

    def __init__(self, make, device):
        self.device = device
        self.model, data, batch = make(device)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        self.loader = DataLoader(data, batch_size=batch, shuffle=True)
        self.iterator = iter(self.loader)

    def batch(self):
        try:
            return next(self.iterator)
        except StopIteration:
            self.iterator = iter(self.loader)
            return next(self.iterator)

    def step(self):
        x, y = (t.to(self.device, non_blocking=True) for t in self.batch())
        self.optimiser.zero_grad()
        loss = nn.functional.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimiser.step()

    def block(self, steps, each=lambda: None):
        """Seconds of wall and of processor for each step of a block; on a GPU the block's end waits for it."""
        wall, processor = [], []
        for _ in range(steps):
            begun = time.perf_counter(), time.process_time()
            self.step()
            each()
            wall.append(time.perf_counter() - begun[0])
            processor.append(time.process_time() - begun[1])
        if self.device == "cuda":
            begun = time.perf_counter()
            torch.cuda.synchronize()
            wall[-1] += time.perf_counter() - begun
        return wall, processor


class Nothing:
    name = "nothing"

    def run(self, job, steps):
        return job.block(steps)

    def close(self):
        pass


class Suffice:
    def __init__(self, allowance_ns, name="suffice"):
        from suffice.run.stage import stage_agent

        self.name, self.allowance_ns, self.left_ns = name, allowance_ns, 0
        self.folder = tempfile.mkdtemp()
        sys.path.insert(0, str(stage_agent(Path(self.folder) / "agent")))
        from suffice_agent import hooks, session

        self.sessions, self.hooks = session, hooks
        self.observer = subprocess.Popen(
            [sys.executable, "-c", OBSERVER, str(os.getpid()), self.folder], stdout=subprocess.PIPE
        )
        self.observer.stdout.readline()
        os.kill(self.observer.pid, signal.SIGSTOP)

    def run(self, job, steps):
        with self.installed(job):
            return job.block(steps)

    @contextmanager
    def installed(self, job):
        """The agent in the process, past its start, and the observer awake beside it."""
        session = self.sessions.Session(torch, self.folder)
        # Finding the modules and counting one step's operations happen once a job; a block stands for its later steps.
        job.iterator = iter(job.loader)
        session.record.flops.refused = "not counted here"
        session.record.pace.allowance_ns = self.allowance_ns
        job.block(3)
        os.kill(self.observer.pid, signal.SIGCONT)
        try:
            yield session
        finally:
            os.kill(self.observer.pid, signal.SIGSTOP)
            if not session.alive:
                raise RuntimeError("the agent stood aside")
            session.alive = False
            session.record.finish()
            session.patches.undo()
            session.roots.remove()
            job.iterator = iter(job.loader)

    def switch(self, session, on):
        """Put the hooks in, or take them out; to the record it is as if the time without them had not been."""
        if on == bool(session.patches.done):
            return
        record = session.record
        if on:
            gone_ns = record.clock.now() - self.left_ns
            record.clock.since += gone_ns
            record.steps.end_ns += gone_ns
            record.passed_at_ns += gone_ns
            self.hooks.install(session.heard, torch, session.patches)
            modules = [call.module() for call in session.roots.calls]
            session.roots.calls = []
            session.roots._wrap(modules)
        else:
            session.patches.undo()
            for call in session.roots.calls:
                call.remove()
            self.left_ns = record.clock.now()

    def close(self):
        self.observer.kill()
        self.observer.wait()


class CodeCarbon:
    name = "codecarbon"

    def __init__(self):
        from codecarbon import OfflineEmissionsTracker

        self.make = lambda: OfflineEmissionsTracker(
            country_iso_code="USA", save_to_file=False, log_level="critical", allow_multiple_runs=True
        )

    def run(self, job, steps):
        tracker = self.make()
        tracker.start()
        try:
            job.block(3)
            return job.block(steps)
        finally:
            tracker.stop()

    def close(self):
        pass


class Profiler:
    name = "torch.profiler 1 of 25"

    def run(self, job, steps):
        activities = [torch.profiler.ProfilerActivity.CPU]
        if job.device == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        schedule = torch.profiler.schedule(wait=23, warmup=1, active=1)
        summed = []
        with torch.profiler.profile(
            activities=activities, schedule=schedule, on_trace_ready=lambda p: summed.append(p.key_averages())
        ) as profiler:
            return job.block(steps, profiler.step)

    def close(self):
        pass


CLOCKS = {"wall": 0, "processor": 1}
STATISTICS = {"median": statistics.median, "mean": statistics.fmean}


def rounds(job, tools, count, steps):
    """For each tool the ratios of its blocks to the plain ones: of median step and mean step, by wall and processor."""
    ratios = {tool.name: {f"{s} step, {c}": [] for s in STATISTICS for c in CLOCKS} for tool in tools}
    plain = Nothing()
    for _ in range(count):
        order = [plain, *tools]
        random.shuffle(order)
        times = {id(each): each.run(job, steps) for each in order}
        for tool in tools:
            for label, statistic in STATISTICS.items():
                for clock, at in CLOCKS.items():
                    ratio = statistic(times[id(tool)][at]) / statistic(times[id(plain)][at])
                    ratios[tool.name][f"{label} step, {clock}"].append(ratio)
    return ratios


def steps_in_turn(job, tool, pairs):
    """The ratio of a step with the hooks to the plain step beside it, for each pair."""
    ratios = []
    with tool.installed(job) as session:
        for _ in range(pairs):
            took = {}
            for on in random.sample((True, False), 2):
                tool.switch(session, on)
                took[on] = job.block(1)[0][0]
            tool.switch(session, on=True)
            ratios.append(took[True] / took[False])
    return ratios


def middle(ratios):
    """The median with its 95 % interval, and the mean of the middle 80 %."""
    ordered, n = sorted(ratios), len(ratios)
    half = 0.98 * n**0.5
    kept = ordered[n // 10 : n - n // 10]
    ends = (ordered[max(0, int(n / 2 - half))], ordered[min(n - 1, int(n / 2 + half))])
    return {"median": statistics.median(ordered), "low": ends[0], "high": ends[1], "mean": statistics.fmean(kept)}


def summary(values):
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    half = 1.96 * statistics.stdev(values) / len(values) ** 0.5
    mean = statistics.fmean(values)
    return {"median": middle, "q25": low, "q75": high, "mean": mean, "mean_low": mean - half, "mean_high": mean + half}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--jobs", default="cnn,mlp")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    tools = [Nothing(), Suffice(0), Suffice(1 << 62, "suffice, first steps"), Profiler()]
    tools += [CodeCarbon()] if _has("codecarbon") else []
    report = {"command": " ".join(sys.argv), "torch": torch.__version__, "load": os.getloadavg(), "jobs": {}}
    for name in arguments.jobs.split(","):
        job = Job({"cnn": cnn_job, "mlp": mlp_job}[name], arguments.device)
        steps = 25 if name == "cnn" else 200
        job.block(steps)
        plain = job.block(steps)[0]
        report["jobs"][name] = {"plain_step_ms": statistics.median(plain) * 1e3, "steps_a_block": steps, "tools": {}}
        print(
            f"{name}: {statistics.median(plain) * 1e3:.2f} ms a step, {arguments.rounds} rounds of {steps} steps a tool"
        )
        for tool, found in rounds(job, tools, arguments.rounds, steps).items():
            report["jobs"][name]["tools"][tool] = ratios = {what: summary(values) for what, values in found.items()}
            for what, each in ratios.items():
                print(f"  {tool:24s} {what:24s} {each['median']:.4f} [{each['q25']:.4f}, {each['q75']:.4f}]")
        for tool in tools[1:3]:
            pairs = arguments.rounds * (30 if name == "cnn" else 500)
            report["jobs"][name]["tools"][tool.name]["step by step"] = found = middle(steps_in_turn(job, tool, pairs))
            print(
                f"  {tool.name:24s} step by step, {pairs} pairs  {found['median']:.4f} "
                f"[{found['low']:.4f}, {found['high']:.4f}], mean of the middle 80 % {found['mean']:.4f}"
            )
    for tool in tools:
        tool.close()
    hardware = torch.cuda.get_device_name().replace(" ", "-") if arguments.device == "cuda" else platform.machine()
    path = arguments.out / f"overhead_{hardware}_{dt.datetime.now(tz=dt.UTC).date()}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"wrote {path.name}")


def _has(module):
    try:
        __import__(module)
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    main()
