"""The command line: one loop, so few verbs; the target says what they mean. A command is given after `--`.

What suffice says goes to standard error: standard output is the job's own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from suffice import __version__
from suffice.cli.bundles import diff
from suffice.cli.models import MODEL_VERBS, names_a_model
from suffice.cli.telling import say, write_json
from suffice.errors import SufficeError

if TYPE_CHECKING:  # these load what only some verbs need, and the job waits for it
    from suffice.keep.home import Home
    from suffice.keep.ledger import Ledger
    from suffice.keep.plan import Plan
    from suffice.loop.improving import FullProof
    from suffice.measure.observe import Observer
    from suffice.records import Goal, Profile, Trial


class Verbs(click.Group):
    """Prints what the user can mend as a message and a hint, without a traceback; models have verbs of their own."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb, for a command or for a model."""
        if args and args[0] in MODEL_VERBS and names_a_model(args[1:]):
            return args[0], MODEL_VERBS[args[0]], args[1:]
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb."""
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


main.add_command(diff)


@main.command(context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--region", help="AWS region that the job runs in, e.g. eu-north-1: it decides the carbon.")
@click.option("--rate", "rate_usd_per_h", type=float, help="What this machine costs, in USD an hour.")
@click.option("--json", "json_path", type=click.Path(), help="Write the profile as JSON to this file; - is the output.")
@click.option("--record", type=click.Path(path_type=Path), help="Keep the raw record in this folder, to fold again.")
@click.option("--plan", "plan_path", type=click.Path(path_type=Path), help="Run with the changes of this plan.toml.")
@click.option("--live/--no-live", default=True, help="The line at the foot of the terminal while the job runs.")
def measure(
    command: tuple[str, ...],
    *,
    json_path: str | None,
    record: Path | None,
    plan_path: Path | None,
    live: bool,
    **goal: Any,
) -> None:
    """Run COMMAND unchanged, and tell where its time, energy, money and carbon went.

    suffice measure -- python train.py --epochs 3

    suffice measure target.py:classifier --help   tells of models
    """
    from suffice.goal import read_goal
    from suffice.keep.home import Home
    from suffice.keep.report.live import StatusLine
    from suffice.loop.measuring import measure as run_measured

    if not command:
        raise click.UsageError("there is no command; give it after `--`: suffice measure -- python train.py")
    plan = _plan(plan_path) if plan_path is not None else None
    line = StatusLine(sys.stderr)
    try:
        done = run_measured(
            command,
            read_goal(Path.cwd(), **goal),
            Home.of(),
            watch=_watch(line) if live else None,
            on_end=line.close,
            record=record,
            changes=[planned.change for planned in plan.changes] if plan else (),
        )
    finally:
        line.close()
    _print(done.profile)
    if plan is not None:
        _tell_differences(plan, command, done.profile)
    if json_path is not None:
        write_json(done.profile, json_path)
    from suffice.run.here import leave_as

    leave_as(done.ended)


def _plan(path: Path) -> Plan:
    """The plan in a file."""
    from suffice.change.catalog import CATALOG
    from suffice.errors import PlanError
    from suffice.keep.plan_text import read

    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"the plan {path} can't be read: {error}", hint="`suffice improve` writes one") from error
    return read(text, CATALOG, file=str(path))


def _tell_differences(plan: Plan, command: Sequence[str], profile: Profile) -> None:
    """Why the plan's proof may not hold here, and whether the run was slower than proven."""
    from suffice.keep.circumstances import differs, facts_of
    from suffice.keep.report.compare import regressed
    from suffice.measure.machine import this_machine

    for sentence in differs(plan, facts_of(this_machine(), profile), command):
        click.echo(f"suffice: {sentence}", err=True)
    note = regressed(plan, profile)
    if note is not None:
        click.echo(f"suffice: {note.text}", err=True)


@main.command(context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--plan", "plan_path", type=click.Path(path_type=Path), default=Path("plan.toml"), show_default=True)
@click.option("--html", "page_path", type=click.Path(path_type=Path), help="Write the report as a page of its own.")
@click.option("--json", "json_path", type=click.Path(), help="Write the search as JSON to this file; - is the output.")
@click.option(
    "--time",
    "seconds",
    type=click.FloatRange(min=1),
    help="Seconds; else twice those of a measured run, or 300.",
)
@click.option("--trials", type=click.IntRange(min=0), help="Try so many changes at most.")
@click.option("--pairs", type=click.IntRange(min=1), default=200, show_default=True, help="Pairs of steps a trial.")
@click.option(
    "--allow",
    multiple=True,
    type=click.Choice(["stochastic", "semantic"]),
    help="Also keep changes that draw other random numbers, or that change the training.",
)
@click.option(
    "--metric", help="Its quality: a name that it gives to suffice.log, or a regular expression with one group."
)
@click.option("--lower-is-better", is_flag=True, help="The metric should be small.")
@click.option("--floor", type=float, help="What the metric must reach in every whole run with the plan.")
@click.option("--deadline", "deadline_h", type=float, help="Hours that a run may take.")
@click.option("--budget", "budget_usd", type=float, help="USD that a run may cost.")
@click.option(
    "--minimise", type=click.Choice(["time", "energy", "cost", "carbon"]), help="What a run should take least of."
)
@click.option("--margin", type=click.FloatRange(min=0), default=0.01, show_default=True, help="What it may lose.")
@click.option(
    "--prove", type=click.Choice(["short", "full"]), default="short", show_default=True, help="Whole runs too."
)
@click.option("--seeds", type=click.IntRange(min=2), default=3, show_default=True, help="Pairs of whole runs.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the order in which steps are paired.")
@click.option("--region", help="AWS region that the job runs in, e.g. eu-north-1: it decides the carbon.")
@click.option("--rate", "rate_usd_per_h", type=float, help="What this machine costs, in USD an hour.")
def improve(command: tuple[str, ...], **options: Any) -> None:
    """Try changes on short runs of COMMAND in a sandbox, keep those that prove themselves, and write plan.toml.

    suffice improve -- python train.py --epochs 3

    suffice improve target.py:classifier --help   tells of models
    """
    from suffice.goal import read_goal
    from suffice.keep.home import Home
    from suffice.loop.improving import improve as run_search
    from suffice.prove.search import Terms
    from suffice.records import Risk

    if not command:
        raise click.UsageError("there is no command; give it after `--`: suffice improve -- python train.py")
    named = ("region", "rate_usd_per_h", "metric", "floor", "deadline_h", "budget_usd", "minimise")
    goal = read_goal(
        Path.cwd(), lower_is_better=options["lower_is_better"] or None, **{name: options[name] for name in named}
    )
    terms = Terms(
        allow=frozenset({Risk.EXACT, Risk.NUMERIC, *map(Risk, options["allow"])}),
        seconds=options["seconds"] or 0.0,
        pairs=options["pairs"],
        trials=options["trials"],
        seed=options["seed"],
        sparing=goal.minimise in {"energy", "carbon"},
    )
    done = run_search(command, goal, Home.of(), terms, full=_full(options, goal), say=say, on_trial=_tell_trial)
    options["plan_path"].write_text(done.search.plan or "")
    from rich.console import Console

    from suffice.keep.report.search import print_search

    print_search(Console(stderr=True, highlight=False), done.search)
    click.echo(f"wrote {options['plan_path']}", err=True)
    if options["page_path"] is not None:
        from suffice.keep.report.page import write_search_page

        write_search_page(done.search, options["page_path"])
        click.echo(f"wrote {options['page_path']}", err=True)
    if options["json_path"] is not None:
        write_json(done.search, options["json_path"])


def _full(options: dict[str, Any], goal: Goal) -> FullProof | None:
    from suffice.loop.improving import FullProof
    from suffice.prove.criteria import Floor
    from suffice.prove.full import Metric

    if options["prove"] != "full":
        return None
    if goal.metric is None:
        raise click.UsageError("--prove full compares a metric: name it, for example --metric 'accuracy: ([0-9.]+)'")
    higher = not goal.lower_is_better
    metric = Metric.parse(goal.metric, higher_is_better=higher)
    floor = None if goal.floor is None else Floor(metric=metric.name, value=goal.floor, higher_is_better=higher)
    return FullProof(metric=metric, margin=options["margin"], seeds=options["seeds"], floor=floor)


def _tell_trial(trial: Trial) -> None:
    click.echo(f"{trial.verdict.outcome:<9}  {trial.change}: {trial.verdict.reason}  [{trial.spent_s:.0f} s]", err=True)


def _watch(line: Any) -> Callable[[Observer], None]:
    from suffice.keep.report.live import progress
    from suffice.measure.account.bill import power_now
    from suffice.measure.machine import this_machine

    machine = this_machine()

    def watch(observer: Observer) -> None:
        samples = observer.sampler.latest if observer.sampler else ()
        watts = power_now(samples[0], samples[1], machine) if len(samples) > 1 else None
        line.show(progress(observer.reader.records.values(), watts))

    return watch


def _print(profile: Profile) -> None:
    from rich.console import Console

    from suffice.keep.report.text import print_profile

    print_profile(Console(stderr=True, highlight=False), profile)


@main.command()
@click.argument("run", required=False)
@click.argument("other", required=False)
@click.option("--html", "page_path", type=click.Path(path_type=Path), help="Write the report as a page of its own.")
@click.option("--json", "as_json_", is_flag=True, help="Print JSON.")
@click.option("--list", "listed", is_flag=True, help="List the latest runs.")
def report(run: str | None, other: str | None, page_path: Path | None, *, as_json_: bool, listed: bool) -> None:
    """Show RUN, the latest if none is named; with OTHER, the two side by side.

    A run is named as `--list` shows it, by how its name begins, or by `latest` and `previous`; a folder that --record
    wrote is a run too.
    """
    from suffice.keep.home import Home
    from suffice.keep.ledger import Ledger

    home = Home.of()
    ledger = Ledger(home.ledger)
    if listed:
        _list(ledger, as_json_=as_json_)
        return
    first = _find(run, ledger, home)
    second = _find(other, ledger, home) if other else None
    if page_path is not None:
        _write_page(first, second, page_path)
    elif second is not None:
        _show_comparison(first, second, as_json_=as_json_)
    elif as_json_:
        write_json(first, "-")
    else:
        _show(first)


def _find(name: str | None, ledger: Ledger, home: Home) -> Profile:
    """The profile of a run; one that goes on or never ended is folded from its folder."""
    from suffice.measure.peak import Peaks
    from suffice.measure.profile import fold

    if name is not None and (Path(name) / "run.json").is_file():
        return fold(Path(name), Peaks(home.peaks))
    entry = ledger.find(name)
    profile = ledger.profile(entry.name)
    if profile is not None:
        return profile
    if entry.folder is None:
        raise SufficeError(f"run {entry.name} has no profile and no folder: nothing of it was kept")
    return fold(Path(entry.folder), Peaks(home.peaks))


def _show(profile: Profile) -> None:
    from rich.console import Console

    from suffice.keep.report.text import print_profile

    print_profile(Console(highlight=False), profile)


def _show_comparison(first: Profile, second: Profile, *, as_json_: bool) -> None:
    from suffice.keep.report.compare import compare

    comparison = compare(first, second)
    if as_json_:
        write_json(comparison, "-")
        return
    from rich.console import Console

    from suffice.keep.report.text import print_comparison

    print_comparison(Console(highlight=False), comparison)


def _write_page(first: Profile, second: Profile | None, path: Path) -> None:
    from suffice.keep.report.compare import compare
    from suffice.keep.report.page import write_page
    from suffice.records import as_json

    comparison = as_json(compare(first, second)) if second is not None else None
    write_page(first, path, other=second, comparison=comparison)
    click.echo(f"wrote {path}")


def _list(ledger: Ledger, *, as_json_: bool) -> None:
    entries = ledger.entries()
    if as_json_:
        write_json(entries, "-")
        return
    for entry in entries:
        click.echo(f"{entry.name}  {entry.state:<10}  {' '.join(entry.command)}")


@main.command()
@click.option("--python", help="Also try the agent in this interpreter, the one that your jobs run in.")
@click.option("--json", "as_json_", is_flag=True, help="Print JSON.")
def doctor(*, python: str | None, as_json_: bool) -> None:
    """Tell what can be measured on this machine, and what each missing meter would need."""
    from suffice.keep.home import Home
    from suffice.measure.doctor import examine

    checks = examine(python=python, cache=Home.of().agent_cache())
    if as_json_:
        write_json(checks, "-")
        return
    from rich.console import Console

    from suffice.keep.report.text import print_checks

    print_checks(Console(highlight=False), checks)
