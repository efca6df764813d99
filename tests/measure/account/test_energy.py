"""Energy is counted where a counter is, else estimated with a range that the method explains."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from suffice.measure.account.energy import (
    Use,
    gpu_counter_energy,
    gpu_limit_energy,
    gpu_sampled_energy,
    in_kwh,
    memory_energy,
    overhead_energy,
    processor_energy,
    rapl_energy,
    total_energy,
)
from suffice.records import Figure, Origin, measured
from suffice.tables import Processor, Range, memory, recognise_gpu, recognise_processor
from suffice.tables.ranges import read_rows

PLAIN = Processor(
    name="plain",
    threads_per_core=1,
    idle_w=Range(1.0, 1.0, 1.0),
    full_w=Range(3.0, 3.0, 3.0),
    reason="a processor with physics known by hand",
    source="this test",
    date="2026-11-21",
)
SECONDS = st.floats(0, 1e6)
NUMBERS = st.floats(0, 1e4)


@st.composite
def uses(draw) -> Use:
    """Any consistent use of a machine: the job's time is part of the machine's, and fits the processors it may use."""
    machine_vcpus = draw(st.integers(1, 512))
    vcpus = draw(st.integers(1, machine_vcpus))
    duration_s = draw(SECONDS)
    cpu_s = draw(st.floats(0, 1)) * vcpus * duration_s
    busy_s = draw(st.none() | st.floats(0, 1).map(lambda part: cpu_s + part * (machine_vcpus * duration_s - cpu_s)))
    limit_gib = draw(NUMBERS)
    return Use(
        duration_s=duration_s,
        cpu_s=cpu_s,
        vcpus=vcpus,
        machine_vcpus=machine_vcpus,
        machine_busy_s=busy_s,
        memory_gib=draw(st.floats(0, 1)) * limit_gib,
        memory_limit_gib=limit_gib,
    )


@st.composite
def processors(draw) -> Processor:
    """Any row of the table, as a machine would be told of it."""
    row = draw(st.sampled_from([row for row in read_rows("processors") if row["family"]]))
    stepping = row["steppings"].split(" ")[0]
    cores = draw(st.sampled_from(["1", "2"]))
    return recognise_processor(
        f"vendor_id : {row['vendor_id']}\ncpu family : {row['family']}\nmodel : {row['models'].split()[0]}\n"
        f"stepping : {stepping}\nsiblings : 2\ncpu cores : {cores}\n"
    )


def is_ordered(figure: Figure) -> bool:
    """All three numbers are finite, not negative, and in order (but for rounding)."""
    low, mid, high = figure.low, figure.value, figure.high
    return (
        all(math.isfinite(x) and x >= 0 for x in (low, mid, high)) and low <= mid * 1.000001 and mid <= high * 1.000001
    )


def test_a_job_alone_on_a_busy_machine():
    """100 s on 2 vCPUs, both busy: 2 x 3 W x 100 s; without the idle watt of each, 2 x 2 W x 100 s."""
    use = Use(duration_s=100, cpu_s=200, vcpus=2, machine_vcpus=2, machine_busy_s=200)
    energy = processor_energy(use, PLAIN)
    assert (energy.low, energy.value, energy.high) == (400, 600, 600)
    assert energy.origin is Origin.ESTIMATED


def test_a_job_that_shares_a_machine_pays_its_share_of_the_idle_power():
    """A quarter of the machine's work is charged a quarter of the idle power of its 4 vCPUs: 50 x 2 + 100 J."""
    use = Use(duration_s=100, cpu_s=50, vcpus=4, machine_vcpus=4, machine_busy_s=200)
    energy = processor_energy(use, PLAIN)
    assert (energy.low, energy.value) == (100, 200)
    assert "25%" in energy.method


def test_a_job_never_pays_for_processors_that_it_could_not_use():
    """One vCPU of an otherwise idle machine of 64: the idle power of one at most."""
    use = Use(duration_s=100, cpu_s=100, vcpus=1, machine_vcpus=64, machine_busy_s=100)
    energy = processor_energy(use, PLAIN)
    assert (energy.value, energy.high) == (300, 300)


def test_a_job_that_only_waits_is_charged_from_nothing_to_the_idle_machine():
    """Nothing of its own, or all of the machine that was kept for it."""
    energy = processor_energy(Use(duration_s=100, cpu_s=0, vcpus=2, machine_vcpus=2), PLAIN)
    assert (energy.low, energy.value, energy.high) == (0, 200, 200)


@given(uses(), processors())
def test_processor_ranges_are_ordered_and_finite(use: Use, processor: Processor):
    """Whatever was used of whatever processor, low ≤ value ≤ high, none of them NaN."""
    assert is_ordered(processor_energy(use, processor))


@given(uses(), processors(), st.floats(0, 1))
def test_more_processor_seconds_never_cost_less(use: Use, processor: Processor, part: float):
    """Low, value and high grow with the job's own processor seconds."""
    less = Use(
        duration_s=use.duration_s,
        cpu_s=part * use.cpu_s,
        vcpus=use.vcpus,
        machine_vcpus=use.machine_vcpus,
        machine_busy_s=use.machine_busy_s,
    )
    few, many = processor_energy(less, processor), processor_energy(use, processor)
    tolerance = 1e-9 * (1 + many.high)
    assert few.low <= many.low + tolerance
    assert few.high <= many.high + tolerance
    if use.machine_busy_s is not None and part > 0:
        assert few.value <= many.value + tolerance


@given(uses())
def test_memory_ranges_are_ordered_and_finite(use: Use):
    """From the memory that the job held to all that it could hold."""
    assert is_ordered(memory_energy(use, memory()))


def test_memory_held_by_hand():
    """10 GiB of 100 held for 10 s by an idle job alone: 10 x 0.13 W up to 100 x 0.4 W."""
    use = Use(duration_s=10, cpu_s=0, vcpus=1, machine_vcpus=1, memory_gib=10, memory_limit_gib=100)
    energy = memory_energy(use, memory())
    assert energy.low == pytest.approx(13)
    assert energy.high == pytest.approx(400)


def test_rapl_is_shared_by_busy_time():
    """The counter sees the whole machine; a job with a quarter of the busy time answers for a quarter, or for all."""
    use = Use(duration_s=10, cpu_s=5, vcpus=4, machine_vcpus=4, machine_busy_s=20)
    energy = rapl_energy(80, use, dram_j=20)
    assert (energy.low, energy.value, energy.high) == (25, 25, 100)
    assert energy.origin is Origin.ESTIMATED


@pytest.mark.parametrize("joules", [-1.0, math.nan, math.inf])
def test_a_counter_that_went_backwards_is_refused(joules: float):
    """A reset counter is told, not turned into energy."""
    with pytest.raises(ValueError, match="a counter only grows: it was reset"):
        gpu_counter_energy(joules)
    with pytest.raises(ValueError, match="a counter only grows: it was reset"):
        rapl_energy(joules, Use(duration_s=1, cpu_s=1, vcpus=1, machine_vcpus=1))


def test_a_gpu_counter_is_measured():
    """The difference of two readings needs no model, only its sensor's tolerance."""
    energy = gpu_counter_energy(1000)
    assert (energy.origin, energy.value, energy.low, energy.high) == (Origin.MEASURED, 1000, 950, 1050)


def test_power_readings_are_integrated():
    """100 W to 300 W over 2 s is 400 J, and 200 J to 600 J if each second is taken at its lower or higher end."""
    energy = gpu_sampled_energy([0, 2], [100, 300])
    assert (energy.origin, energy.value) == (Origin.MEASURED, 400)
    assert (energy.low, energy.high) == (pytest.approx(190), pytest.approx(630))


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 2000)), min_size=2, max_size=50))
def test_integrated_power_stays_between_its_extremes(readings):
    """No integral lies outside the least and the greatest reading times the duration."""
    at_s, now_s = [], 0.0
    for gap_s, _ in readings:
        now_s += gap_s
        at_s.append(now_s)
    power_w = [watts for _, watts in readings]
    energy, span_s = gpu_sampled_energy(at_s, power_w), at_s[-1] - at_s[0]
    assert is_ordered(energy)
    assert min(power_w) * span_s * 0.999 - 1e-6 <= energy.value <= max(power_w) * span_s * 1.001 + 1e-6


@pytest.mark.parametrize(("at_s", "power_w"), [([0], [1]), ([], []), ([0, 1], [1]), ([1, 0], [5, 5])])
def test_power_readings_that_span_no_time_are_refused(at_s, power_w):
    """One reading, or a clock that runs backwards, has no energy."""
    with pytest.raises(ValueError, match=r"two power readings or more|must increase"):
        gpu_sampled_energy(at_s, power_w)


@given(st.none() | st.floats(0, 1), SECONDS)
def test_a_silent_gpu_lies_between_idle_and_its_limit(busy: float | None, duration_s: float):
    """Without energy or power, the range stays between the idle power and just over the limit."""
    gpu = recognise_gpu("NVIDIA A100-SXM4-80GB")
    energy = gpu_limit_energy(gpu, duration_s, busy)
    assert is_ordered(energy)
    assert energy.low >= gpu.idle_w.low * duration_s * 0.999
    assert energy.high <= 1.06 * gpu.tdp_w * duration_s
    assert energy.origin is Origin.ESTIMATED


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_busier_gpu_never_draws_less(a: float, b: float):
    """All three numbers grow with utilisation."""
    assume(a <= b)
    gpu = recognise_gpu("NVIDIA L4")
    less, more = gpu_limit_energy(gpu, 1, a), gpu_limit_energy(gpu, 1, b)
    assert (less.low, less.value, less.high) <= (more.low, more.value, more.high)
    assert less.high <= more.high


def test_the_overhead_of_counted_parts_is_an_estimate():
    """Counters do not see the power supply, the board and the fans."""
    overhead = overhead_energy(gpu_counter_energy(1000))
    assert overhead.origin is Origin.ESTIMATED
    assert overhead.low < 0.1 * 1000 < overhead.value < overhead.high


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=6))
def test_sums_add_up(parts):
    """Values add to the value and ends to the ends."""
    figures = [measured(a + b, "J", low=a, high=a + b + c) for a, b, c in parts]
    total = total_energy(*figures)
    assert total.value == pytest.approx(sum(figure.value for figure in figures))
    assert total.low == pytest.approx(sum(figure.low for figure in figures))
    assert total.high == pytest.approx(sum(figure.high for figure in figures))


def test_a_sum_is_as_weak_as_its_weakest_part():
    """What was counted stays measured only among its like."""
    counted = gpu_counter_energy(10)
    estimate = processor_energy(Use(duration_s=1, cpu_s=1, vcpus=1, machine_vcpus=1), PLAIN)
    assert total_energy(counted, counted).origin is Origin.MEASURED
    mixed = total_energy(counted, estimate)
    assert mixed.origin is Origin.ESTIMATED
    assert mixed.source == "this test"


@pytest.mark.parametrize("parts", [(), (measured(1, "kWh"),)])
def test_a_sum_of_nothing_or_of_other_units_is_refused(parts):
    """A total of nothing would look like a measured zero."""
    with pytest.raises(ValueError, match="needs parts in J"):
        total_energy(*parts)


def test_a_kilowatt_hour_is_3_6_megajoules():
    """The range and the origin go with the unit."""
    energy = in_kwh(measured(7.2e6, "J", low=3.6e6, high=7.2e6))
    assert (energy.unit, energy.origin) == ("kWh", Origin.MEASURED)
    assert (energy.low, energy.value) == (pytest.approx(1), pytest.approx(2))


@pytest.mark.parametrize("name", ["duration_s", "cpu_s", "vcpus", "machine_busy_s", "memory_gib"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_a_use_that_cannot_be_is_refused(name: str, value: float):
    """NaN and negative numbers stop where they come in."""
    plain = {"duration_s": 1.0, "cpu_s": 1.0, "vcpus": 1.0, "machine_vcpus": 1.0}
    with pytest.raises(ValueError, match=f"{name} must be finite and not negative"):
        Use(**{**plain, name: value})
