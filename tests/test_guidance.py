"""docs/guidance.md names nothing that is not there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROWS = [line for line in (ROOT / "docs" / "guidance.md").read_text().splitlines() if line.startswith("| ")][1:]


def named(row):
    """The paths that a row of the table names."""
    return re.findall(r"`((?:src|tests|bench)/[^`]+)`", row)


def test_files_that_the_guidance_names_exist():
    """Every source file, test and result of every row is in the repository."""
    missing = [path for row in ROWS for path in named(row) if not (ROOT / path).exists()]
    assert not missing


def test_each_practice_has_code_and_a_test():
    """A practice without code, or without a test that holds it, is not one that suffice follows."""
    assert len(ROWS) >= 5
    for row in ROWS:
        rooms = {path.split("/")[0] for path in named(row)}
        assert {"src", "tests"} <= rooms, row
