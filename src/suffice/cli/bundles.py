"""`suffice diff A B`: two bundles, side by side."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from suffice.cli.models import batches_of
from suffice.cli.telling import say, write_json


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option(
    "--samples",
    type=click.Path(path_type=Path),
    help="An .npz with an array for each input, and `labels`; else the samples that the bundles came with.",
)
@click.option(
    "--metric",
    type=click.Choice(["accuracy", "error", "perplexity"]),
    help="Else with labels what A was proven by, or what suits them.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Of both; else the processors allowed.")
@click.option("--batches", default="1,8,32", show_default=True, help="Samples of a call that are timed.")
@click.option("--trust", is_flag=True, help="Open machine code too, which runs whatever its writer put there.")
@click.option("--json", "json_path", type=click.Path(), help="Write what was found as JSON; - is the output.")
def diff(
    a: Path,
    b: Path,
    *,
    samples: Path | None,
    metric: str | None,
    threads: int | None,
    batches: str,
    trust: bool,
    json_path: str | None,
) -> None:
    """Compare two bundles on the same samples: how they came about, their answers, quality and speed.

    suffice diff before/ after/ --samples eval.npz
    """
    from rich.console import Console

    from suffice.keep.report.model import print_difference
    from suffice.measure.machine import this_machine
    from suffice.prove.model.difference import DiffTerms, difference

    terms = DiffTerms(
        samples=samples,
        quality=metric,
        threads=threads or max(1, int(this_machine().processors_allowed)),
        batches=batches_of(batches),
        trust=trust,
    )
    say("opening both, asking them the same, and timing them by turns")
    with tempfile.TemporaryDirectory(prefix="suffice-diff-") as place:
        found = difference(a, b, Path(place), terms)
    print_difference(Console(stderr=True, highlight=False), found)
    if json_path is not None:
        write_json(found, json_path)
