"""What the verbs say while they work, on standard error, and records as JSON where it was asked for."""

from __future__ import annotations

import json
from typing import Any

import click


def say(what: str) -> None:
    """What is being done."""
    click.echo(f"… {what}", err=True)


def write_json(record: Any, path: str) -> None:
    """Write a record to the file at `path`; `-` is standard output."""
    from suffice.records import as_json

    with click.open_file(path, "w") as file:
        json.dump(as_json(record), file, indent=2)
        file.write("\n")
