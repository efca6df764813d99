"""The folder of a run folds into its profile: here of a run on a GPU, made by hand, whose sums are known."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from suffice.errors import SufficeError
from suffice.measure.peak import Peaks
from suffice.measure.profile import fold
from suffice.records import Origin, Profile
from tests.recordings.make_gpu import (
    BEGUN_S,
    ENERGY_J,
    HERE,
    HOST_MS,
    LENGTH_S,
    LOOP_S,
    STEPS,
    STREAM_MS,
    THROTTLED_AT,
    WATTS,
    write,
)

PARTS = ("wait_for_data_s", "copy_s", "forward_s", "backward_s", "optimiser_s", "other_s")


@pytest.fixture
def folded(tmp_path: Path) -> Callable[..., Profile]:
    """The profile of a variant of the run."""

    def run(change=lambda _, reading: reading) -> Profile:
        return fold(write(tmp_path / "run", change), Peaks(tmp_path / "peaks.json"))

    return run


def without(*names: str) -> Callable[[int, dict], dict]:
    """GPU 0 does not tell these."""
    return lambda _, reading: {name: value for name, value in reading.items() if name not in names}


def values(profile: Profile, name: str) -> tuple[float, ...]:
    (found,) = [s for s in profile.series if s.name == name]
    return found.values


def test_the_committed_folder_is_what_the_script_makes(tmp_path: Path) -> None:
    """What was made by hand can be made again, byte by byte."""
    fresh = write(tmp_path)
    assert {p.name: p.read_bytes() for p in fresh.iterdir()} == {p.name: p.read_bytes() for p in HERE.iterdir()}


def test_energy_is_what_the_counter_counted(folded: Callable[..., Profile]) -> None:
    """Difference of two readings: measured, and the reading after the end completes it."""
    energy = folded().figures["gpu0_energy_j"]
    assert energy.value == ENERGY_J
    assert energy.origin is Origin.MEASURED
    assert "counter" in str(energy.method)


def test_only_gpus_that_the_job_used_are_counted(folded: Callable[..., Profile]) -> None:
    """The neighbour that idled is a fact of the machine, and no figure of the job."""
    profile = folded()
    assert not [name for name in profile.figures if name.startswith("gpu1")]
    assert [gpu["index"] for gpu in profile.machine["gpus"]] == [0, 1]


def test_without_a_counter_the_power_is_added_up(folded: Callable[..., Profile]) -> None:
    """Readings joined by straight lines come within a reading or two of the counter, and the range holds it."""
    energy = folded(without("energy_j")).figures["gpu0_energy_j"]
    assert "power readings" in str(energy.method)
    assert energy.value == pytest.approx(ENERGY_J, abs=2 * WATTS)
    assert energy.low is not None
    assert energy.high is not None
    assert energy.low <= ENERGY_J <= energy.high


@pytest.mark.parametrize("lost", [1e5, 1e3], ids=["below the start", "above the start"])
def test_a_counter_that_was_reset_is_not_used(folded: Callable[..., Profile], lost: float) -> None:
    """Wherever a counter falls, its difference means nothing: the power is added up."""

    def reset(second: int, reading: dict) -> dict:
        return {**reading, "energy_j": reading["energy_j"] - (lost if second > 10 else 0)}

    energy = folded(reset).figures["gpu0_energy_j"]
    assert energy.value == pytest.approx(ENERGY_J, abs=2 * WATTS)


def test_without_counter_and_power_the_limit_bounds_an_estimate(folded: Callable[..., Profile]) -> None:
    """What a GPU does not tell is estimated from its kind, and called so."""
    energy = folded(without("energy_j", "power_draw")).figures["gpu0_energy_j"]
    assert energy.origin is Origin.ESTIMATED
    assert energy.low is not None
    assert energy.high is not None
    assert energy.low < ENERGY_J < energy.high


def test_gauges_are_of_the_time_in_which_the_job_ran(folded: Callable[..., Profile]) -> None:
    """The reading that is taken when the job has ended enters neither a mean nor a curve."""
    profile = folded()
    busy_s, before_s = LENGTH_S - LOOP_S, LOOP_S - 1  # the first reading has no time before it
    figures = profile.figures
    assert figures["gpu0_utilization_gpu"].value == pytest.approx(90 * busy_s / (busy_s + before_s))
    assert figures["gpu0_memory_used"].value == 5000
    for name, last in (("gpu0_utilization_gpu", 90.0), ("gpu0_power_draw", 300.0), ("memory_gib", 2.0)):
        assert len(values(profile, name)) == LENGTH_S
        assert values(profile, name)[-1] == last
    assert values(profile, "processors_used") == pytest.approx([1.5] * (LENGTH_S - 1))
    assert values(profile, "power_w")[-1] == pytest.approx(values(profile, "power_w")[-2])


def test_what_others_kept_busy_is_told_apart_from_the_job(folded: Callable[..., Profile]) -> None:
    """Two processors of the machine are busy, one and a half by the job."""
    assert folded().figures["processors_used_by_others"].value == pytest.approx(0.5)


def test_memory_is_charged_as_long_as_the_job_held_it(folded: Callable[..., Profile]) -> None:
    """The moment after the end does not lower the mean."""
    assert "the 2 GiB that the job held" in str(folded().figures["memory_energy_j"].method)


def test_the_gpu_has_a_split_of_its_own(folded: Callable[..., Profile]) -> None:
    """The host's split and the stream's stand side by side."""
    (rank,) = folded().ranks
    assert [rank.split[name].value * 1e3 for name in PARTS] == pytest.approx(HOST_MS[:6])
    assert [rank.device_split[name].value * 1e3 for name in PARTS] == pytest.approx(STREAM_MS[:6])
    assert rank.figures["gpu_memory_peak_bytes"].value == 3 * 2**30


def test_throttling_is_told_with_its_reason(folded: Callable[..., Profile]) -> None:
    """How often the clocks were held down and why; that an idle GPU slows down is no news."""
    texts = [note.text for note in folded().notes if "throttled" in note.text]
    assert texts == [f"GPU 0 was throttled in {len(THROTTLED_AT)} of {LENGTH_S} readings: SwPowerCap"]


def test_a_gpu_shared_with_others_is_told(folded: Callable[..., Profile]) -> None:
    """A foreign process on the job's GPU takes part in its figures."""
    notes = folded(lambda _, reading: {**reading, "pids": [*reading["pids"], 77]}).notes
    assert any("GPU 0 also ran processes of others" in note.text for note in notes)


def test_where_the_driver_shows_other_process_ids_all_gpus_count(folded: Callable[..., Profile]) -> None:
    """In a container the job's GPU can't be told from its neighbours, and a note says so."""
    profile = folded(lambda _, reading: {**reading, "pids": []})
    assert {"gpu0_energy_j", "gpu1_energy_j"} <= profile.figures.keys()
    assert any("does not show which process uses which GPU" in note.text for note in profile.notes)


def test_the_parts_sum_up_to_the_run(folded: Callable[..., Profile]) -> None:
    """Start, loop and end are the whole duration."""
    profile = folded()
    assert sum(part.value for part in profile.parts.values()) == pytest.approx(LENGTH_S)
    assert profile.parts["start_up_s"].value == LOOP_S
    assert profile.parts["backward_s"].value == pytest.approx(STEPS * 0.045)
    assert profile.parts["ending_s"].value == pytest.approx(1)
    assert profile.figures["duration_s"].value == LENGTH_S


def test_energy_of_the_run_is_shared_among_its_samples(folded: Callable[..., Profile]) -> None:
    """What a sample took is the run's energy over all samples, with its range."""
    figures = folded().figures
    whole, each = figures["energy_j"], figures["energy_per_sample_j"]
    assert each.value == pytest.approx(whole.value / (32 * STEPS))
    assert each.high == pytest.approx(whole.high / (32 * STEPS))
    assert whole.value > ENERGY_J


def test_a_run_without_an_end_folds_into_what_was_seen(tmp_path: Path) -> None:
    """When suffice was killed, the figures reach to the last thing that was told, and a note says so."""
    folder = write(tmp_path / "run")
    (folder / "ended.json").unlink()
    lines = (folder / "samples.jsonl").read_text().splitlines()
    (folder / "samples.jsonl").write_text("\n".join(lines[:12]) + '\n{"at_s": 10')
    profile = fold(folder, Peaks(tmp_path / "peaks.json"))
    assert profile.state == "unfinished"
    assert profile.figures["duration_s"].value == pytest.approx(19, abs=1.01)
    assert [n.level for n in profile.notes if "this run has no end" in n.text] == ["warning"]
    assert [n.level for n in profile.notes if n.text.startswith("1 samples can't be read")] == ["warning"]


def test_a_run_without_samples_and_without_records_folds(tmp_path: Path) -> None:
    """Where neither agent nor meter told anything, the time is what is left, and why is said."""
    folder = write(tmp_path / "run")
    for path in folder.glob("*.jsonl"):
        path.unlink()
    profile = fold(folder, Peaks(tmp_path / "peaks.json"))
    assert profile.figures["duration_s"].value == LENGTH_S
    assert profile.parts["unseen_s"].value == LENGTH_S
    assert any("no Python started with suffice's agent" in note.text for note in profile.notes)


@pytest.mark.parametrize("text", [None, "", "{}", "[]", '{"run": 1}'])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, text: str | None) -> None:
    """What holds no run is named, whatever it holds."""
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(SufficeError, match="holds no run"):
        fold(tmp_path, Peaks(tmp_path / "peaks.json"))


def test_samples_of_a_newer_suffice_are_refused(tmp_path: Path) -> None:
    """The file's format is told before anything of it is believed."""
    folder = shutil.copytree(HERE, tmp_path / "run")
    (folder / "samples.jsonl").write_text(json.dumps({"format": 99, "begun_s": BEGUN_S}) + "\n")
    with pytest.raises(SufficeError, match="format 99"):
        fold(folder, Peaks(tmp_path / "peaks.json"))
