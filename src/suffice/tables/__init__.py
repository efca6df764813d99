"""Dated facts in, typed rows out: regions, processors, GPUs, memory, instances, prices and versions.

Each fact is a row of a CSV file beside this one, with its source and date; docs/reference/tables.md tells where each
comes from, under which licence, and how to refresh it. The readers are pure and know no clock and no network.
"""

from suffice.tables.devices import Gpu, Memory, memory, recognise_gpu
from suffice.tables.instances import Instance, Price, find_instance, find_price
from suffice.tables.processors import Processor, hosts_of, processor_fields, recognise_processor
from suffice.tables.ranges import Range
from suffice.tables.regions import Region, find_region, regions, world
from suffice.tables.versions import Version, newest_versions

__all__ = [
    "Gpu",
    "Instance",
    "Memory",
    "Price",
    "Processor",
    "Range",
    "Region",
    "Version",
    "find_instance",
    "find_price",
    "find_region",
    "hosts_of",
    "memory",
    "newest_versions",
    "processor_fields",
    "recognise_gpu",
    "recognise_processor",
    "regions",
    "world",
]
