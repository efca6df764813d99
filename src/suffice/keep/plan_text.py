"""A plan -> plan.toml, commented with the proof of each change; that file, as a user may have edited it -> a plan."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from suffice.errors import PlanError
from suffice.keep.plan import PLAN_SCHEMA, MachineFacts, Plan, PlannedChange, Proof, as_fast
from suffice.keep.report.numbers import quantity
from suffice.keep.toml import Form, comment, key, literal
from suffice.records import Change, Figure, Risk, as_json

FILE = "plan.toml"
DIGITS = 6
RISKS = {
    Risk.EXACT: "the same numbers come out",
    Risk.NUMERIC: "rounding differs",
    Risk.STOCHASTIC: "other random draws of the same distribution",
    Risk.SEMANTIC: "another training, which you allowed",
}
Known = Collection[str]
"""The ids that there are; of a mapping, an id's value may be the names of its settings, else any name will do."""

TEXT, NUMBER, TABLE, LIST = (str,), (int, float), (dict,), (list,)
TOP = {"schema": (int,), "command": LIST, "made": TEXT, "machine": TABLE, "proof": TABLE, "change": LIST}
MACHINE = {
    "processor": TEXT,
    "flags": LIST,
    "gpus": LIST,
    "processors_allowed": NUMBER,
    "intra_op_threads": (int,),
    "torch": TEXT,
    "python": TEXT,
    "load": NUMBER,
}
PROOF = {"changes": LIST, "ratio": TABLE, "step_before_s": TABLE, "step_after_s": TABLE, "evidence": LIST}
CHANGE = {"id": TEXT, "settings": TABLE, "risk": TEXT, "practice": TEXT, "proof": TABLE}
CHANGE_PROOF = {"ratio": TABLE, "pairs": (int,), "reason": TEXT, "date": TEXT}


def write(plan: Plan) -> str:
    """The text of plan.toml; figures are rounded to six digits, and what was refused stands in comments alone."""
    blocks = [_head(plan), _machine(plan.machine), _whole(plan), *map(_change, plan.changes), _refused(plan)]
    return "\n\n".join("\n".join(lines) for lines in blocks if lines) + "\n"


def _head(plan: Plan) -> list[str]:
    run = shlex.join(plan.command)
    lines = comment(f"What suffice kept for: {run}")
    if not plan.changes:
        lines += comment("Nothing was kept: no change proved itself.")
    if plan.total is not None:
        lines += comment(f"All of it together: {as_fast(plan.total)}, by steps in pairs, on {plan.made}.")
    lines += [
        *comment(f"Run with it:  suffice measure --plan {FILE} -- {run}"),
        *comment("A [[change]] may be taken out and its settings may be edited; what is edited is no longer proven."),
        "",
        f"schema = {plan.schema}",
        f"command = {literal(plan.command)}",
        f"made = {literal(plan.made)}",
    ]
    return lines


def _machine(facts: MachineFacts) -> list[str]:
    told = {name: value for name, value in asdict(facts).items() if value is not None}
    lines = [f"{name} = {literal(value)}" for name, value in told.items()]
    return [*comment("Where it was proven; on another machine, torch or load it may not hold."), "[machine]", *lines]


def _whole(plan: Plan) -> list[str]:
    figures = {"ratio": plan.total, "step_before_s": plan.step_before_s, "step_after_s": plan.step_after_s}
    lines = [f"{name} = {_figure(figure)}" for name, figure in figures.items() if figure is not None]
    if plan.proven:
        lines.insert(0, f"changes = {literal(plan.proven)}")
    if plan.evidence:
        lines += ["evidence = [", *(f"    {literal(sentence)}," for sentence in plan.evidence), "]"]
    if not lines:
        return []
    steps = (plan.step_before_s, plan.step_after_s)
    said = "What was proven of the whole"
    if steps[0] is not None and steps[1] is not None:
        before, after = (quantity(step.value, "s") for step in steps if step is not None)
        said += f": a step took {before}, and takes {after} (medians of one run each)"
    return [*comment(f"{said}."), "[proof]", *lines]


def _change(planned: PlannedChange) -> list[str]:
    change, proof = planned.change, planned.proof
    lines = comment(f"{_told(proof)} {change.risk.capitalize()}: {RISKS[change.risk]}.")
    lines += ["[[change]]", f"id = {literal(change.id)}"]
    settings = {name: value for name, value in change.settings.items() if value is not None}
    lines += [f"settings.{key(name)} = {literal(value)}" for name, value in settings.items()]
    lines += [f"risk = {literal(change.risk)}", f"practice = {literal(change.practice)}"]
    if proof is None:
        return lines
    lines += [f"proof.ratio = {_figure(proof.ratio)}"] if proof.ratio else []
    return lines + [f"proof.{name} = {literal(getattr(proof, name))}" for name in ("pairs", "reason", "date")]


def _told(proof: Proof | None) -> str:
    if proof is None:
        return "Not proven."
    if proof.ratio is None:
        return f"Kept on {proof.date}, without a ratio."
    of = "processes" if "processes" in (proof.ratio.method or "") else "steps"
    return f"{as_fast(proof.ratio)}, by {proof.pairs} pairs of {of} on {proof.date}."


def _refused(plan: Plan) -> list[str]:
    if not plan.refused:
        return []
    told = (line for name, reason in plan.refused for line in comment(f"{name}: {reason}", indent="  "))
    return [*comment("Not kept:"), *told]


def _figure(figure: Figure) -> str:
    return literal({name: _rounded(value) for name, value in as_json(figure).items()})


def _rounded(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def read(text: str, known: Known | None = None, *, file: str = FILE) -> Plan:
    """The plan in the text of a plan.toml.

    Args:
        text: what the file holds.
        known: the changes that there are; without it any id is taken.
        file: the file's name, for messages.

    Raises:
        PlanError: if it is no TOML, of a newer suffice, or has a name or a value that a plan can't have; the message
            says where.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{file} is no TOML: {error}", hint="https://toml.io tells how it is written") from error
    form = Form(file, text)
    schema = data.get("schema")
    # Before anything else: what a newer suffice writes need not look like ours.
    if type(schema) is int and schema > PLAN_SCHEMA:
        raise PlanError(
            f"{form.at('', 'schema')}: this plan has schema {schema}, this suffice knows {PLAN_SCHEMA} at most",
            hint="update suffice, or make the plan again with `suffice improve`",
        )
    form.check("", data, TOP, required=("schema", "command", "made"))
    machine, proof = data.get("machine", {}), data.get("proof", {})
    form.check("machine", machine, MACHINE)
    form.check("proof", proof, PROOF)
    return Plan(
        schema=data["schema"],
        command=form.texts("", data, "command"),
        made=data["made"],
        machine=_read_machine(form, machine),
        changes=tuple(_read_changes(form, data.get("change", []), known)),
        proven=form.texts("proof", proof, "changes"),
        total=form.figure("proof", proof, "ratio"),
        step_before_s=form.figure("proof", proof, "step_before_s"),
        step_after_s=form.figure("proof", proof, "step_after_s"),
        evidence=form.texts("proof", proof, "evidence"),
    )


def _read_machine(form: Form, table: Mapping[str, Any]) -> MachineFacts:
    gpus = form.texts("machine", table, "gpus") if "gpus" in table else None
    return MachineFacts(**{**table, "flags": form.texts("machine", table, "flags"), "gpus": gpus})


def _read_changes(form: Form, tables: Sequence[Any], known: Known | None) -> Iterator[PlannedChange]:
    seen: dict[str, str] = {}
    for index, table in enumerate(tables):
        section = f"change {index}"
        form.check(section, table, CHANGE, required=("id", "risk"))
        name, settings = table["id"], table.get("settings", {})
        at = form.at(section, "id")
        if name in seen:
            raise PlanError(f"{at}: {name!r} is in the plan already, {seen[name]}", hint="take one of the two out")
        seen[name] = at
        _check_known(form, section, name, settings, known)
        if table["risk"] not in list(Risk):
            allowed = ", ".join(Risk)
            raise PlanError(f"{form.at(section, 'risk')}: there is no risk {table['risk']!r}", hint=f"it is {allowed}")
        change = Change(id=name, settings=settings, risk=Risk(table["risk"]), practice=table.get("practice", ""))
        yield PlannedChange(change=change, proof=_read_proof(form, section, table.get("proof")))


def _check_known(form: Form, section: str, name: str, settings: Mapping[str, Any], known: Known | None) -> None:
    if known is None:
        return
    if name not in known:
        raise PlanError(
            f"{form.at(section, 'id')}: there is no change {name!r}", hint=f"there are {', '.join(sorted(known))}"
        )
    allowed = known[name] if isinstance(known, Mapping) else None
    if not isinstance(allowed, Collection):
        return
    for setting in settings:
        if setting not in allowed:
            hint = f"it has {', '.join(sorted(allowed))}" if allowed else "it has no settings"
            raise PlanError(f"{form.at(section, setting)}: {name} has no setting {setting!r}", hint=hint)


def _read_proof(form: Form, section: str, table: Any) -> Proof | None:
    if table is None:
        return None
    form.check(section, table, CHANGE_PROOF, required=("pairs", "reason", "date"))
    ratio = form.figure(section, table, "ratio")
    return Proof(ratio=ratio, pairs=table["pairs"], reason=table["reason"], date=table["date"])
