"""The command line: one loop, so few verbs; the target says what they mean. A command is given after `--`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from suffice import __version__
from suffice.errors import SufficeError


class Verbs(click.Group):
    """Prints what the user can mend as a message and a hint, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SufficeError as error:
            click.echo(f"suffice: {error}", err=True)
            if error.hint:
                click.echo(f"hint: {error.hint}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="suffice")
def main() -> None:
    """Deep-learning work that uses no more compute, money, energy and carbon than its goal needs, and proves it."""


@main.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--region", help="AWS region that the job runs in, e.g. eu-north-1; it decides the carbon.")
@click.option("--rate", "rate_usd_per_h", type=float, help="What this machine costs you, in USD an hour.")
@click.option("--json", "as_json_", is_flag=True, help="Print the profile as JSON to standard error's place: see docs.")
@click.option("--record", type=click.Path(path_type=Path), help="Copy the raw record to this folder as well.")
@click.option("--no-live", is_flag=True, help="No live line while the job runs.")
def measure(command: tuple[str, ...], as_json_: bool, record: Path | None, no_live: bool, **options: Any) -> None:
    """Run COMMAND unchanged and tell where its time, energy, money and carbon went.

    \b
    suffice measure -- python train.py --epochs 3
    """
    from suffice import loop
    from suffice.goal import read_goal
    from suffice.keep.home import Home
    from suffice.run.here import leave_as

    if not command:
        raise click.UsageError("there is no command; give it after `--`: suffice measure -- python train.py")
    done = loop.measure(command, read_goal(Path.cwd(), **options), Home.of(), record=record)
    from suffice.records import as_json
    import json

    print(json.dumps(as_json(done.profile))[:3000], file=sys.stderr)
    leave_as(done.ended)
