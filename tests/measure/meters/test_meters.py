"""One contract for all meters: plain JSON, cheap, counters that never fall, and silence where there is nothing."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from suffice.errors import SufficeError
from suffice.measure.meters.gpus import GpuMeter
from suffice.measure.meters.network import NetworkMeter
from suffice.measure.meters.pressure import PressureMeter
from suffice.measure.meters.processes import ProcessMeter
from suffice.measure.meters.rapl import RaplMeter
from suffice.measure.meters.recording import Replay, read_recording
from suffice.measure.meters.sampler import Meter, Sampler
from suffice.measure.meters.tree import ProcessTree
from suffice.measure.observe import standard_meters
from tests.recordings.make_gpu import HERE

JOULES = ("package-0", "core", "dram")


class NvmlError(Exception):
    """What NVML raises."""


class Nvml:
    """A hand-written NVML of one GPU; `asked` counts its readings, and what is in `missing` it does not answer."""

    NVMLError = NvmlError
    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_GRAPHICS, NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_CLOCK_VIDEO = range(4)
    nvmlClocksEventReasonSwPowerCap = 4  # noqa: N815 - NVML's own name
    nvmlClocksEventReasonNone = 0  # noqa: N815 - the same

    def __init__(self, count: int = 1, missing: tuple[str, ...] = (), *, fails: bool = False) -> None:
        self.count, self.missing, self.fails, self.asked = count, missing, fails, 0
        self.answers: dict[str, Any] = {
            "DeviceGetName": b"Made GPU",
            "DeviceGetUUID": "GPU-1",
            "DeviceGetUtilizationRates": SimpleNamespace(gpu=50, memory=20),
            "DeviceGetMemoryInfo": SimpleNamespace(total=1 << 30, used=1 << 20, free=0),
            "DeviceGetPowerUsage": 250_000,
            "DeviceGetEnforcedPowerLimit": 300_000,
            "DeviceGetTemperature": 40,
            "DeviceGetFanSpeed": 30,
            "DeviceGetClockInfo": 1000,
            "DeviceGetCurrPcieLinkGeneration": 5,
            "DeviceGetCurrPcieLinkWidth": 16,
            "DeviceGetCurrentClocksEventReasons": 4,
            "DeviceGetComputeRunningProcesses": [SimpleNamespace(pid=9), SimpleNamespace(pid=3)],
        }

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's own name
        if self.fails:
            raise NvmlError("Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - the same
        return self.count

    def __getattr__(self, name: str) -> Any:
        question = name.removeprefix("nvml")

        def answer(*_: Any) -> Any:
            if question in self.missing or question.startswith("Gpm"):
                raise NvmlError("Not Supported")
            if question == "DeviceGetTotalEnergyConsumption":
                self.asked += 1
                return 5_000 * self.asked
            return self.answers.get(question, 0)

        if not name.startswith("nvml"):
            raise AttributeError(name)
        return answer


def make_rapl(folder: Path) -> Path:
    for number, name in enumerate(JOULES):
        zone = folder / ("intel-rapl:0" if number == 0 else f"intel-rapl:0:{number}")
        zone.mkdir(parents=True)
        (zone / "name").write_text(name + "\n")
        (zone / "energy_uj").write_text("1000000\n")
        (zone / "max_energy_range_uj").write_text("10000000\n")
    return folder


def make_pressure(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("cpu", "memory", "io"):
        (folder / name).write_text("some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull total=9\n")
    return folder


# Each meter where its source is, and where it is missing.
PRESENT: dict[str, Callable[[Path], Meter]] = {
    "job": lambda _: ProcessMeter(),
    "gpus": lambda _: GpuMeter(Nvml()),
    "rapl": lambda folder: RaplMeter(make_rapl(folder / "powercap")),
    "pressure": lambda folder: PressureMeter(make_pressure(folder / "pressure")),
    "network": lambda _: NetworkMeter(),
    "replay": lambda _: Replay(read_recording(HERE / "samples.jsonl"), "gpus"),
}
ABSENT: dict[str, Callable[[Path], Meter]] = {
    "gpus without a driver": lambda _: GpuMeter(Nvml(fails=True)),
    "gpus without a GPU": lambda _: GpuMeter(Nvml(count=0)),
    "rapl": lambda folder: RaplMeter(folder / "none"),
    "rapl without permission": lambda folder: RaplMeter(_unreadable(folder / "powercap")),
    "pressure": lambda folder: PressureMeter(folder / "none"),
    "pressure of another form": lambda folder: PressureMeter(_other_form(folder / "pressure")),
    "replay": lambda _: Replay(read_recording(HERE / "samples.jsonl"), "rapl"),
    "replay of nothing": lambda folder: Replay(read_recording(folder / "none"), "gpus"),
}


def _unreadable(folder: Path) -> Path:
    for zone in make_rapl(folder).iterdir():
        (zone / "energy_uj").unlink()
    return folder


def _other_form(folder: Path) -> Path:
    for path in make_pressure(folder).iterdir():
        path.write_text("nothing that is known\n")
    return folder


@pytest.fixture
def job() -> Iterator[ProcessTree]:
    """A job of two processes that computes, writes, and talks to itself."""
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(flush=True)\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    process.stdout.readline()
    yield ProcessTree(process.pid)
    os.killpg(process.pid, 9)
    process.communicate()


def rises(before: Any, after: Any) -> bool:
    names = [n for n in before if n.endswith(("_s", "_j", "_bytes")) and n != "memory_bytes"]
    return all(after[name] >= before[name] for name in names)


@pytest.mark.parametrize("make", PRESENT.values(), ids=PRESENT)
def test_a_reading_is_plain_json_and_never_falls(
    tmp_path: Path, job: ProcessTree, make: Callable[[Path], Meter]
) -> None:
    """Readings survive JSON as they are, keep their names, and what counts up does."""
    meter = make(tmp_path)
    assert meter.unavailable is None
    first = meter.read(job)
    second = meter.read(job)
    assert first
    assert json.loads(json.dumps(second)) == second
    pairs = zip(first, second, strict=True) if isinstance(first, list) else [(first, second)]
    for before, after in pairs:
        assert before.keys() == after.keys()
        assert rises(before, after)


@pytest.mark.parametrize("make", PRESENT.values(), ids=PRESENT)
def test_reading_is_cheap(tmp_path: Path, job: ProcessTree, make: Callable[[Path], Meter]) -> None:
    """A reading takes no more than looking fifty times at a process, which is what tools of this kind do to each."""
    meter, ourselves = make(tmp_path), psutil.Process()
    took_s = median_s(lambda: meter.read(job))
    assert took_s < 50 * median_s(lambda: ourselves.as_dict(["cpu_times", "memory_info", "io_counters"]))


def median_s(call: Callable[[], object]) -> float:
    took_s = []
    for _ in range(31):
        begun_s = time.perf_counter()
        call()
        took_s.append(time.perf_counter() - begun_s)
    return sorted(took_s)[len(took_s) // 2]


@pytest.mark.parametrize("make", [*PRESENT.values(), *ABSENT.values()], ids=[*PRESENT, *ABSENT])
def test_a_meter_never_raises_for_what_is_not_there(tmp_path: Path, make: Callable[[Path], Meter]) -> None:
    """The job has gone, or the source: a sampler takes a sample all the same, and keeps no failure."""
    process = subprocess.Popen(["true"])
    tree = ProcessTree(process.pid)
    process.wait()
    sampler = Sampler([make(tmp_path)], tmp_path / "samples.jsonl", begun_s=0.0)
    sampler.sample(tree, 1.0)
    sampler.close()
    assert sampler.failures == {}


@pytest.mark.parametrize("make", ABSENT.values(), ids=ABSENT)
def test_a_missing_source_is_told(tmp_path: Path, job: ProcessTree, make: Callable[[Path], Meter]) -> None:
    """The reason is a sentence, stands in the recording, and the meter is not read."""
    meter = make(tmp_path)
    assert len(str(meter.unavailable).split()) > 3
    sampler = Sampler([meter], tmp_path / "samples.jsonl", begun_s=0.0)
    sampler.sample(job, 1.0)
    sampler.close()
    recording = read_recording(tmp_path / "samples.jsonl")
    assert recording.unavailable == {meter.key: meter.unavailable}
    assert [s.keys() for s in recording.samples] == [{"at_s"}]


@pytest.mark.parametrize("make", PRESENT.values(), ids=PRESENT)
def test_a_recording_plays_back_what_was_read(tmp_path: Path, job: ProcessTree, make: Callable[[Path], Meter]) -> None:
    """Samples come back from the file equal, and a replay gives them one by one; the last one stays."""
    meter = make(tmp_path)
    sampler = Sampler([meter], tmp_path / "samples.jsonl", begun_s=10.0)
    taken = []
    for i in range(3):
        sampler.sample(job, 10.0 + i)
        taken.append(sampler.latest[-1])
    sampler.close()

    recording = read_recording(tmp_path / "samples.jsonl")

    assert list(recording.samples) == taken
    assert (recording.begun_s, recording.damaged_lines, recording.failures) == (10.0, 0, {})
    replay = Replay(recording, meter.key)
    assert [replay.read(job) for _ in range(4)] == [s[meter.key] for s in [*taken, taken[-1]]]


def test_a_run_reads_every_meter_under_a_key_of_its_own() -> None:
    """No two meters share a key, and this machine's own can be made."""
    keys = [meter.key for meter in standard_meters()]
    assert sorted(keys) == ["gpus", "job", "network", "pressure", "rapl"]


def test_the_job_meter_counts_the_tree_and_not_the_machine(job: ProcessTree) -> None:
    """Processor time, memory and processes are of the job's tree."""
    meter = ProcessMeter()
    before, at_s = meter.read(job), time.monotonic()
    time.sleep(0.5)
    after = meter.read(job)
    assert after["processes"] == 2
    assert 0 < after["processor_s"] - before["processor_s"] <= time.monotonic() - at_s + 0.05
    assert after["machine_busy_s"] >= before["machine_busy_s"]
    assert 1 << 20 < after["memory_bytes"] < 1 << 28


def test_what_an_ended_job_counted_stays(job: ProcessTree) -> None:
    """Counters hold when the last process has gone; memory does not."""
    meter = ProcessMeter()
    before = meter.read(job)
    os.killpg(next(iter(job.known)), 9)
    os.waitpid(next(iter(job.known)), 0)
    time.sleep(0.05)
    after = meter.read(job)
    assert after["processor_s"] >= before["processor_s"] > 0
    assert (after["memory_bytes"], after["processes"], after["pids"]) == (0, 0, [])


def test_a_counter_of_rapl_that_wraps_around_is_carried_on(tmp_path: Path, job: ProcessTree) -> None:
    """Packages and memory count, cores are within their package, and the range is added once."""
    folder = make_rapl(tmp_path / "powercap")
    meter = RaplMeter(folder)
    for microjoules in (4_000_000, 9_000_000, 2_000_000):
        for zone in folder.iterdir():
            (zone / "energy_uj").write_text(str(microjoules))
        reading = meter.read(job)
    assert reading == pytest.approx({"package_j": 11.0, "dram_j": 11.0})


def test_a_gpu_tells_what_it_can(job: ProcessTree) -> None:
    """Units are the ones that users know, and a question without an answer is left out."""
    (reading,) = GpuMeter(Nvml()).read(job)
    assert reading["name"] == "Made GPU"
    assert (reading["utilization_gpu"], reading["power_draw"], reading["energy_j"]) == (50.0, 250.0, 5.0)
    assert (reading["memory_total"], reading["memory_used"]) == (1024.0, 1.0)
    assert (reading["throttle_reasons"], reading["pids"]) == (["SwPowerCap"], [3, 9])
    (less,) = GpuMeter(Nvml(missing=("DeviceGetTotalEnergyConsumption", "DeviceGetFanSpeed"))).read(job)
    assert reading.keys() - less.keys() == {"energy_j", "fan_speed"}


def test_loopback_is_told_apart() -> None:
    """What a process sends to itself is no traffic with others, and counts once."""
    meter, tree = NetworkMeter(), ProcessTree(os.getpid())
    if meter.unavailable:
        pytest.skip(meter.unavailable)
    before = meter.read(tree)
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        end, _ = server.accept()
        client.sendall(b"x" * 100_000)
        got = 0
        while got < 100_000:
            got += len(end.recv(1 << 16))
        meter.next_look_s = 0.0
        during = meter.read(tree)
        client.close()
        end.close()
    assert during["loopback_bytes"] - before["loopback_bytes"] == pytest.approx(100_000, abs=10)
    assert during["sent_bytes"] == before["sent_bytes"]
    meter.next_look_s = 0.0
    assert meter.read(tree)["loopback_bytes"] >= during["loopback_bytes"]


class Failing:
    """A meter that reads once and then raises."""

    key, unavailable = "failing", None

    def __init__(self) -> None:
        self.left = 1

    def read(self, tree: ProcessTree) -> dict[str, int]:  # noqa: ARG002 - the meters' signature
        """One reading, then none."""
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("broken")
        return {"x": 1}


def test_a_meter_that_fails_is_not_asked_again(tmp_path: Path, job: ProcessTree) -> None:
    """The others go on, and the reason is in the recording."""
    sampler = Sampler([Failing(), ProcessMeter()], tmp_path / "samples.jsonl", begun_s=0.0)
    for at_s in (0.0, 1.0, 2.0):
        sampler.sample(job, at_s)
    sampler.close()
    recording = read_recording(tmp_path / "samples.jsonl")
    assert ["failing" in s for s in recording.samples] == [True, False, False]
    assert all("job" in s for s in recording.samples)
    assert recording.failures == {"failing": "it failed after 1 s: RuntimeError('broken')"}


def test_long_runs_are_read_less_often(tmp_path: Path, job: ProcessTree) -> None:
    """Once a second at first; the number of readings grows with the logarithm of the run's length."""
    sampler = Sampler([], tmp_path / "samples.jsonl", begun_s=0.0)
    day_s, readings = 86_400, []
    while not readings or readings[-1] < 10 * day_s:
        readings.append(sampler.next_s)
        sampler.sample(job, sampler.next_s)
    sampler.close()
    assert readings[:3] == [0.0, 1.0, 2.0]
    first = sum(at_s <= day_s for at_s in readings)
    assert first < 12_000
    assert len(readings) - first < 6_000


def test_samples_that_can_not_be_written_are_told(tmp_path: Path, job: ProcessTree) -> None:
    """A file that can't be made costs the record, not the run; the latest samples are there all the same."""
    sampler = Sampler([ProcessMeter()], tmp_path / "none" / "samples.jsonl", begun_s=0.0)
    sampler.sample(job, 1.0)
    sampler.close()
    assert "can't be written" in sampler.failures["samples"]
    assert "job" in sampler.latest[-1]


def test_damaged_lines_of_a_recording_are_counted(tmp_path: Path) -> None:
    """A torn line, noise, and JSON that is no sample."""
    path = tmp_path / "samples.jsonl"
    path.write_bytes(b'{"format": 1, "begun_s": 5}\n{"at_s": 6}\n\xff\n[1]\n{"at_s": 7}\n{"at_s":')
    recording = read_recording(path)
    assert [s["at_s"] for s in recording.samples] == [6, 7]
    assert recording.damaged_lines == 3


def test_a_recording_of_a_newer_suffice_is_refused(tmp_path: Path) -> None:
    """Its format may mean something else."""
    (tmp_path / "samples.jsonl").write_text('{"format": 2}\n')
    with pytest.raises(SufficeError, match="format 2, this suffice knows 1"):
        read_recording(tmp_path / "samples.jsonl")


def test_the_tree_follows_children_that_lost_their_parent() -> None:
    """A process that was seen stays part of the job when the one that started it has ended."""
    code = "import subprocess; p = subprocess.Popen(['sleep', '60'], stdout=-3); print(p.pid, flush=True); input()"
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        tree = ProcessTree(parent.pid)
        assert {p.pid for p in tree.refresh()} == {parent.pid, child}
        parent.communicate("\n")
        assert {p.pid for p in tree.refresh()} == {child}
    finally:
        os.kill(child, 9)
