"""Instance types and prices are looked up, never worked out; devices are told by name."""

import re

import pytest

from suffice.tables import find_instance, find_price, hosts_of, memory, newest_versions, recognise_gpu
from suffice.tables.ranges import read_rows


def test_an_instance_has_its_shape():
    """The shape is the one that AWS describes."""
    p4d = find_instance("p4d.24xlarge")
    assert p4d is not None
    assert (p4d.vcpus, p4d.memory_gib, p4d.accelerator, p4d.accelerators) == (96, 1152.0, "A100", 8)


def test_a_sagemaker_type_is_the_same_machine_at_another_price():
    """`ml.` types run on the hosts of the EC2 type, but their price is not in the table."""
    assert find_instance("ml.g5.xlarge") == find_instance("g5.xlarge")
    assert find_price("ml.g5.xlarge") is None
    assert find_price("g5.xlarge").usd_per_h == 1.006


def test_what_the_tables_lack_is_none():
    """No nearest match, no default."""
    assert find_instance("z9.huge") is None
    assert find_price("z9.huge") is None


def test_every_instance_has_a_known_processor_and_gpu():
    """No row points to nothing; AWS's own accelerators publish no power and have none."""
    for row in read_rows("instances"):
        instance = find_instance(row["type"])
        assert hosts_of(instance).name == instance.microarchitecture
        if instance.accelerator and not re.match("Trainium|Inferentia", instance.accelerator):
            assert recognise_gpu(instance.accelerator), instance.accelerator


def test_every_price_is_of_a_known_type_and_dated():
    """Prices are of one region and one purchase option, and say when."""
    for row in read_rows("prices"):
        assert find_instance(row["type"]), row["type"]
        assert (row["region"], row["purchase"]) == ("us-east-1", "on demand")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", row["date"])
        assert float(row["usd_per_h"]) > 0


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100 SXM"),
        ("NVIDIA A100 80GB PCIe", "A100 PCIe 80 GB"),
        ("NVIDIA A100-PCIE-40GB", "A100 PCIe 40 GB"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H200", "H200 SXM"),
        ("Tesla V100-SXM2-16GB", "V100 SXM2"),
        ("Tesla T4", "T4"),
        ("T4g", "T4"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("RTX PRO Server 6000", "RTX PRO 6000"),
    ],
)
def test_a_gpu_is_told_by_its_name(name: str, row: str):
    """The names are those that NVML and the instance table give."""
    assert recognise_gpu(name).name == row


@pytest.mark.parametrize(
    "name", ["NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA GeForce RTX 4070 Ti", "Quadro P4000", ""]
)
def test_a_gpu_that_only_resembles_one_in_the_table_is_none(name: str):
    """A laptop's card bears a desktop card's name and draws a third of its power."""
    assert recognise_gpu(name) is None


def test_every_gpu_and_the_memory_are_ordered_and_sourced():
    """Idle stays under the limit, with source and date."""
    for row in read_rows("gpus"):
        low, mid, high = (float(row[f"idle_w_{part}"]) for part in ("low", "mid", "high"))
        assert 0 < low <= mid <= high < float(row["tdp_w"])
        assert row["source"]
        assert row["date"]
    idle, full = memory().idle_w_per_gib, memory().full_w_per_gib
    assert all(0 < quiet <= busy for quiet, busy in zip(idle, full, strict=True))


def test_versions_say_when_they_were_the_newest():
    """A version without its day would age unseen."""
    versions = newest_versions()
    assert {"torch", "cuda", "nvidia-driver", "nvidia-ml-py", "psutil"} <= set(versions)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", version.date) for version in versions.values())
