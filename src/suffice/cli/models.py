"""`suffice improve` and `suffice measure` where the target is a model: `file.py:factory`, or a file of weights."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from suffice.cli.telling import say, write_json

if TYPE_CHECKING:
    from suffice.records import FormTrial, ModelSearch

MODEL = re.compile(r"\.py:[A-Za-z_]\w*$|\.(onnx|pt2|pt|pth|ts|torchscript)$")
FROM_RUN = "--from-run"
MIB, GIB = 2**20, 2**30
MEMORY_SHARE = 0.8
"""Of what may be used, the most that a build or a form may hold."""


def names_a_model(arguments: Sequence[str]) -> bool:
    """Whether the first of them that is no option, nor an option's value, names a model."""
    if "--" in arguments:
        return False
    for place, each in enumerate(arguments):
        after_option = place > 0 and arguments[place - 1].startswith("-")
        if MODEL.search(each) or each.partition("=")[0] == FROM_RUN:
            return True
        if not each.startswith("-") and not after_option:
            return False
    return False


def _target_options(command: Any) -> Any:
    """The options that name the model, its samples and the machine's share."""
    for option in reversed(
        (
            click.option("--samples", help="For a file: an .npz with an array for each input, and `labels`."),
            click.option("--metric", help="accuracy, agreement, same-class, neighbours, perplexity or error."),
            click.option("--threads", type=click.IntRange(min=1), help="Of every form; else the processors allowed."),
            click.option("--batches", default="1,8,32", show_default=True, help="Samples of a call that are timed."),
            click.option("--region", help="AWS region that it runs in, e.g. eu-north-1: it decides the carbon."),
            click.option("--trust", is_flag=True, help="Load pickle too, which runs code that the file brings."),
            click.option(
                "--json", "json_path", type=click.Path(), help="Write what was found as JSON; - is the output."
            ),
        )
    ):
        command = option(command)
    return command


@click.command()
@click.argument("target")
@_target_options
def measure(target: str, **options: Any) -> None:
    """Measure a model as it is: latency, throughput, memory and quality.

    suffice measure target.py:classifier
    """
    _tell(_search(target, options, bundle=None), options["json_path"])


@click.command()
@click.argument("target", required=False)
@_target_options
@click.option(
    FROM_RUN, "run", help="Instead of a target: the model that a measured run's job saved, by the run's name."
)
@click.option(
    "--floor",
    default="-0.5%",
    show_default=True,
    help="The least quality: a value, or what may be lost of the model's own (-0.005, -2%).",
)
@click.option(
    "--minimise",
    type=click.Choice(["latency", "throughput", "energy", "size", "memory"]),
    default="latency",
    show_default=True,
    help="What should be best: latency or energy of one sample, samples a second, or bytes.",
)
@click.option(
    "--for",
    "purpose",
    type=click.Choice(["edge"]),
    help="Least size, then cold start; with an AWS Greengrass component.",
)
@click.option("--memory-limit", "memory_mib", type=click.FloatRange(min=1), help="MiB that a form for edge may hold.")
@click.option("--allow", multiple=True, type=click.Choice(["semantic"]), help="Also try other models: fewer layers.")
@click.option("--fine-tune-steps", type=click.IntRange(min=1), default=300, show_default=True, help="Of such a model.")
@click.option("--time", "seconds", type=click.FloatRange(min=1), default=600, show_default=True, help="Seconds.")
@click.option("--build-time", "build_s", type=click.FloatRange(min=1), default=300, show_default=True)
@click.option(
    "--build-memory",
    "build_gib",
    type=click.FloatRange(min=0.1),
    help="GiB that a build or a form may hold; else 0.8 of what there is.",
)
@click.option("--html", "page_path", type=click.Path(path_type=Path), help="Write the report as a page of its own.")
@click.option("--bundle", type=click.Path(path_type=Path), default=Path("bundle"), show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the order in which forms are timed.")
def improve(target: str | None, *, bundle: Path, run: str | None, **options: Any) -> None:
    """Find the cheapest form of a model that keeps its quality here, and write it as a bundle.

    suffice improve target.py:classifier --floor -0.005
    """
    if (target is None) == (run is None):
        raise click.UsageError(f"name a target, or a run with {FROM_RUN}, and not both")
    found = _search(target or _saved_by(str(run)), _for_edge(options), bundle=bundle)
    _tell(found, options["json_path"])
    if options["page_path"] is not None:
        from suffice.keep.report.model_page import write_model_page

        write_model_page(found, options["page_path"])
        click.echo(f"wrote {options['page_path']}", err=True)
    if found.chosen == "original":
        click.echo("the model stays as it is: no bundle was written", err=True)
    else:
        click.echo(f"wrote {bundle}: suffice.load({str(bundle)!r}{_trust(bundle)}) gives a callable", err=True)
        if options["purpose"] == "edge":
            from suffice.keep.greengrass import component_of

            click.echo(f"wrote {component_of(bundle)}: put your bucket and name into its recipe.json", err=True)


def _saved_by(run: str) -> str:
    """The file of the model that a run's job saved."""
    from suffice.keep.home import Home
    from suffice.keep.ledger import Ledger
    from suffice.loop.saved_model import saved_model

    path = saved_model(run, Ledger(Home.of().ledger))
    click.echo(f"the model of run {run} is {path}", err=True)
    return str(path)


def _for_edge(options: dict[str, Any]) -> dict[str, Any]:
    """The options, where a purpose says what is to be small."""
    if options["purpose"] is None:
        if options["memory_mib"] is not None:
            raise click.UsageError(
                "--memory-limit goes with --for edge; --build-memory limits what a form may hold here"
            )
        return options
    source = click.get_current_context().get_parameter_source("minimise")
    if source is not None and source is not click.core.ParameterSource.DEFAULT:
        raise click.UsageError("--for edge says what should be small: leave --minimise out")
    return {**options, "minimise": options["purpose"]}


def _trust(bundle: Path) -> str:
    """What loading it needs beside its name."""
    from suffice.form.backends import MACHINE_CODE
    from suffice.form.description import Form

    return ", trust=True" if Form.read(bundle).backend in MACHINE_CODE else ""


MODEL_VERBS: dict[str, click.Command] = {"improve": improve, "measure": measure}


def _search(target: str, options: dict[str, Any], bundle: Path | None) -> ModelSearch:
    from suffice.goal import read_goal
    from suffice.keep.home import Home
    from suffice.loop.improving_model import ModelTarget, improve_model
    from suffice.measure.machine import this_machine
    from suffice.prove.model.forms import Limits
    from suffice.prove.model.quality import Bar
    from suffice.prove.model.search import ModelTerms
    from suffice.records import Risk

    batches, machine = batches_of(options["batches"]), this_machine()
    terms = ModelTerms(
        bar=Bar.parse(options.get("floor", "-0.5%")),
        minimise=options.get("minimise", "latency"),
        allow=frozenset({Risk.EXACT, Risk.NUMERIC, *map(Risk, options.get("allow", ()))}),
        fine_tune_steps=options.get("fine_tune_steps", 0),
        seconds=options.get("seconds", 0.0),
        batches=batches,
        seed=options.get("seed", 0),
        memory_bytes=(options.get("memory_mib") or math.inf) * MIB,
    )
    limits = Limits(
        seconds=options.get("build_s", 300.0),
        memory_bytes=(options.get("build_gib") or MEMORY_SHARE * machine.memory_limit_gib) * GIB,
        threads=options["threads"] or max(1, int(machine.processors_allowed)),
    )
    named = ModelTarget(name=target, samples=options["samples"], quality=options["metric"], trust=options["trust"])
    goal = read_goal(Path.cwd(), region=options["region"])
    return improve_model(named, terms, limits, goal, Home.of(), bundle=bundle, say=say, on_trial=_tell_trial)


def batches_of(text: str) -> tuple[int, ...]:
    """The sizes of calls that a user named, 1 among them.

    Raises:
        UsageError: if they are no numbers.
    """
    try:
        sizes = sorted({1, *map(int, text.split(","))})
    except ValueError:
        raise click.UsageError(f"--batches are numbers with commas between them, found {text!r}") from None
    if sizes[0] < 1:
        raise click.UsageError(f"a batch has 1 sample at least, found {text!r}")
    return tuple(sizes)


def _tell_trial(trial: FormTrial) -> None:
    gain = trial.figures.get("speedup")
    told = f"{gain.value:.2f}x, " if gain else ""
    click.echo(f"{trial.outcome:<9}  {trial.name}: {told}{trial.reason}  [{trial.spent_s:.0f} s]", err=True)


def _tell(found: ModelSearch, json_path: str | None) -> None:
    from rich.console import Console

    from suffice.keep.report.model import print_model_search

    print_model_search(Console(stderr=True, highlight=False), found)
    if json_path is not None:
        write_json(found, json_path)
