"""Processors are recognised by what /proc/cpuinfo tells on real machines, and get a power per vCPU."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suffice.tables import find_instance, hosts_of, recognise_processor
from suffice.tables.ranges import read_rows

# The identifying lines of real machines' /proc/cpuinfo, first processor.
RECORDED = {
    "a guest told only AMD EPYC": """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 1
model name\t: AMD EPYC
stepping\t: 1
cpu MHz\t\t: 2445.434
physical id\t: 0
siblings\t: 2
core id\t\t: 0
cpu cores\t: 2
""",
    "EC2 c7a": """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC 9R14
stepping\t: 1
siblings\t: 32
core id\t\t: 0
cpu cores\t: 32
""",
    "EC2 c5.2xlarge": """vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
model name\t: Intel(R) Xeon(R) Platinum 8124M CPU @ 3.00GHz
stepping\t: 4
cpu MHz\t\t: 3364.758
cache size\t: 25344 KB
""",
    "a rented Cascade Lake": """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
model name\t: Intel(R) Xeon(R) Platinum 8269CY CPU @ 2.50GHz
stepping\t: 7
siblings\t: 2
core id\t\t: 0
cpu cores\t: 1
""",
    "EC2 m7i": """cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Platinum 8488C
stepping\t: 8
vendor_id\t: GenuineIntel
""",
    "EC2 c7g": """processor\t: 0
BogoMIPS\t: 2100.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x1
CPU part\t: 0xd40
CPU revision\t: 1

processor\t: 1
""",
    "a laptop": """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 186
model name\t: 13th Gen Intel(R) Core(TM) i7-1355U
stepping\t: 3
siblings\t: 12
cpu cores\t: 10
""",
}


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        ("a guest told only AMD EPYC", "EPYC 3rd generation"),
        ("EC2 c7a", "EPYC 4th generation"),
        ("EC2 c5.2xlarge", "Skylake"),
        ("a rented Cascade Lake", "Cascade Lake"),
        ("EC2 m7i", "Sapphire Rapids"),
        ("EC2 c7g", "Neoverse V1"),
        ("a laptop", "Intel laptop"),
    ],
)
def test_real_machines_are_recognised(machine: str, name: str):
    """Family, model and stepping decide for servers, the name for client parts, the part number for Arm."""
    processor = recognise_processor(RECORDED[machine])
    assert processor.name == name
    assert name in processor.reason


@pytest.mark.parametrize(
    ("model_name", "name"),
    [
        ("AMD Ryzen 7 7840U w/ Radeon 780M Graphics", "AMD laptop"),
        ("AMD Ryzen AI 9 HX 370 w/ Radeon 890M", "AMD laptop"),
        ("AMD Ryzen 9 7950X 16-Core Processor", "AMD desktop"),
        ("Intel(R) Core(TM) i7-14700K", "Intel desktop or workstation"),
        ("13th Gen Intel(R) Core(TM) i9-13900HK", "Intel laptop"),
        ("13th Gen Intel(R) Core(TM) i7-13700KF", "Intel desktop or workstation"),
        ("Intel(R) Core(TM) Ultra 7 155H", "Intel laptop"),
        ("Intel(R) Xeon(R) CPU E3-1270 v6 @ 3.80GHz", "Intel desktop or workstation"),
    ],
)
def test_client_parts_are_told_by_name(model_name: str, name: str):
    """A client's and a server's part can share family and model, so the client's name is looked at first."""
    vendor, family, model = ("AuthenticAMD", 25, 1) if "AMD" in model_name else ("GenuineIntel", 6, 85)
    text = (
        f"vendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t: {model}\nmodel name\t: {model_name}\nstepping\t: 2\n"
    )
    assert recognise_processor(text).name == name


@pytest.mark.parametrize(
    ("implementer", "part", "name"),
    [
        ("0x41", "0xd0c", "Neoverse N1"),
        ("0x41", "0xd4f", "Neoverse V2"),
        ("0x41", "0xd84", "Neoverse V3"),
        ("0xc0", "0xac3", "AmpereOne"),
        ("0x61", "0x022", "Apple"),
        ("0x41", "0xfff", "unknown"),
    ],
)
def test_arm_parts_are_told_by_implementer_and_part(implementer: str, part: str, name: str):
    """An Arm machine gives numbers and no name."""
    assert recognise_processor(f"CPU implementer\t: {implementer}\nCPU part\t: {part}\n").name == name


def test_an_unknown_processor_gets_a_wide_range_and_says_so():
    """What the table does not have is neither an error nor a silent guess."""
    processor = recognise_processor(
        "vendor_id\t: HygonGenuine\ncpu family\t: 24\nmodel\t: 1\nmodel name\t: Hygon C86\n"
    )
    assert processor.name == "unknown"
    assert "'Hygon C86' is not in the table" in processor.reason
    assert processor.full_w.high / processor.full_w.low > 5


@given(st.text())
def test_any_text_gets_an_answer(text: str):
    """A mangled /proc/cpuinfo never raises, and the powers stay ordered."""
    processor = recognise_processor(text)
    assert 0 <= processor.idle_w.low <= processor.idle_w.mid <= processor.idle_w.high
    assert 0 < processor.dynamic_w.low <= processor.dynamic_w.mid <= processor.dynamic_w.high


def test_one_visible_thread_a_core_may_mean_a_whole_core():
    """A guest without visible siblings may hold threads or whole cores, so the range takes in both."""
    shown = recognise_processor(RECORDED["a guest told only AMD EPYC"])
    threads = recognise_processor(RECORDED["a guest told only AMD EPYC"].replace("cpu cores\t: 2", "cpu cores\t: 1"))
    assert "may be a thread or a whole core" in shown.reason
    assert shown.full_w.low == threads.full_w.low
    assert shown.full_w.high == 2 * threads.full_w.high


def test_an_instance_type_tells_what_its_vcpu_is():
    """AWS counts a core of an m7a as a vCPU, and a thread of an m6a."""
    core, thread = hosts_of(find_instance("m7a.large")), hosts_of(find_instance("m6a.large"))
    assert "whole core" in core.reason
    assert "whole core" not in thread.reason
    assert core.full_w.mid > 1.5 * thread.full_w.mid


def test_every_row_is_sourced_and_ordered_and_the_last_one_takes_all():
    """The file keeps low ≤ mid ≤ high for idle, full and the difference, with source and date."""
    rows = read_rows("processors")
    for row in rows:
        idle, full = ([float(row[f"{kind}_w_{part}"]) for part in ("low", "mid", "high")] for kind in ("idle", "full"))
        assert idle == sorted(idle), row["name"]
        assert full == sorted(full), row["name"]
        gaps = [b - a for a, b in zip(idle, full, strict=True)]
        assert gaps == sorted(gaps), row["name"]
        assert gaps[0] > 0
        assert row["source"]
        assert row["date"]
    assert rows[-1]["name"] == "unknown"


def test_ranges_follow_from_the_facts_beside_them():
    """Where a row holds a SPECpower mean and a TDP, the stated rule gives its range."""
    for row in read_rows("processors"):
        if row["spec_full_w"] and row["tdp_w"]:
            full, tdp, spread = (float(row[key]) for key in ("spec_full_w", "tdp_w", "spread"))
            assert float(row["full_w_low"]) == pytest.approx(0.85 * min(full, tdp) / spread, abs=0.006)
            assert float(row["full_w_mid"]) == pytest.approx((full + 1.2 * tdp) / 2, abs=0.006)
            assert float(row["full_w_high"]) == pytest.approx(1.55 * max(full, tdp) * spread, abs=0.006)
