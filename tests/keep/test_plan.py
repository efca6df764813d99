"""plan.toml: what is written comes back, what a user edits is understood, and what is wrong is told with its line."""

import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suffice.errors import PlanError
from suffice.keep.circumstances import differs, facts_of
from suffice.keep.plan import MachineFacts, Plan, PlannedChange, Proof, plan_of
from suffice.keep.plan_text import read, write
from suffice.measure.machine import Machine
from suffice.records import Change, Risk, estimated, measured
from tests.keep.made_searches import CHANGES, found, nothing_found, ratio, trial
from tests.keep.report.made_profiles import empty, on_gpus

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SIX_DIGITS = st.floats(1e-9, 1e9).map(lambda value: float(f"{value:.6g}"))
RATIOS = st.tuples(SIX_DIGITS, SIX_DIGITS, SIX_DIGITS).map(
    lambda ends: measured(sorted(ends)[1], "x", low=min(ends), high=max(ends), method="m")
)
VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
CHANGED = st.builds(
    PlannedChange,
    change=st.builds(
        Change,
        id=TEXT,
        settings=st.dictionaries(TEXT, VALUES, max_size=3),
        risk=st.sampled_from(Risk),
        practice=TEXT,
    ),
    proof=st.none() | st.builds(Proof, ratio=st.none() | RATIOS, pairs=st.integers(0, 10**6), reason=TEXT, date=TEXT),
)
SOME = st.lists(TEXT, max_size=3).map(tuple)
PLANS = st.builds(
    Plan,
    command=SOME,
    made=TEXT,
    machine=st.builds(
        MachineFacts,
        processor=st.none() | TEXT,
        flags=SOME,
        gpus=st.none() | SOME,
        processors_allowed=st.none() | SIX_DIGITS,
        intra_op_threads=st.none() | st.integers(1, 256),
        torch=st.none() | TEXT,
        python=st.none() | TEXT,
        load=st.none() | SIX_DIGITS,
    ),
    changes=st.lists(CHANGED, max_size=3, unique_by=lambda planned: planned.change.id).map(tuple),
    proven=SOME,
    total=st.none() | RATIOS,
    step_before_s=st.none() | RATIOS,
    step_after_s=st.none() | RATIOS,
    evidence=SOME,
    refused=st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple),
)
KNOWN = {"sample-cache": ["where", "bytes"], "fused-optimiser": [], "channels-last": object()}
HERE = MachineFacts(
    processor="AMD EPYC, EPYC 3rd generation",
    flags=("avx2", "fma"),
    gpus=(),
    processors_allowed=2.0,
    intra_op_threads=2,
    torch="2.13.0",
    python="3.12.3",
    load=0.1,
)
MACHINE = Machine(
    hostname="node",
    kernel="6.8",
    processors=4,
    processors_allowed=2.0,
    memory_gib=8.0,
    memory_limit_gib=8.0,
    cpuinfo="processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n"
    "stepping\t: 1\nflags\t\t: fpu sse avx2 fma amx_bf16",
)


@pytest.fixture
def plan():
    """The plan of a search that kept two changes."""
    return plan_of(found(), HERE, made="2026-01-02", evidence=["the losses of 20 steps are bitwise equal"])


@given(PLANS)
def test_a_plan_comes_back_equal(plan):
    """Whatever texts and settings it holds; only what was refused stays behind, in comments."""
    assert read(write(plan)) == replace(plan, refused=())


@given(RATIOS, st.floats(1.0, 1.5))
def test_figures_are_written_with_six_digits_and_keep_their_order(figure, factor):
    """Rounding moves no value out of its range, and writing again changes nothing more."""
    rough = measured(figure.value * factor, "x", low=figure.low * factor, high=figure.high * factor)
    back = read(write(Plan(command=("a",), made="2026", machine=HERE, total=rough)))
    assert back.total.value == pytest.approx(rough.value, rel=1e-5)
    assert read(write(back)) == back


def test_the_file_tells_each_proof_in_a_sentence(plan):
    """Above each change stand ratio, interval, pairs and date; below its id, its settings."""
    lines = write(plan).splitlines()
    at = lines.index('id = "sample-cache"')
    assert lines[at - 2] == (
        "# 2.41x as fast (2.30x to 2.52x), by 24 pairs of steps on 2026-01-02. Exact: the same numbers come out."
    )
    assert lines[at + 1 : at + 3] == ['settings.where = "memory"', "settings.bytes = 1000000000"]
    assert "# All of it together: 2.60x as fast (2.48x to 2.71x), by steps in pairs, on 2026-01-02." in lines
    assert "#   cuda-graphs: the shapes of the batches differ" in lines
    assert "#   torch-compile (mode=default): refused, the gradients of conv1.weight are zero" in lines
    assert max(len(line) for line in lines if line.startswith("#")) <= 120


def test_the_plan_of_a_search_holds_what_stays(plan):
    """Kept changes with their proofs and steps; what was not kept, and the null candidate, are in it nowhere else."""
    assert [planned.change.id for planned in plan.changes] == ["sample-cache", "fused-optimiser"]
    assert plan.changes[0].proof == Proof(
        ratio=ratio(2.41, 2.30, 2.52), pairs=24, reason="at least 1.0% faster", date="2026-01-02"
    )
    assert plan.step_after_s.value == pytest.approx(0.4 * plan.step_before_s.value)
    assert [name for name, _ in plan.refused] == [
        "cuda-graphs",
        "allocator",
        "bf16-autocast",
        "torch-compile (mode=default)",
        "loader-workers (workers=2)",
        "channels-last",
    ]
    only = plan_of(found(), HERE, made="2026-01-02", stays=["sample-cache"])
    assert [planned.change.id for planned in only.changes] == ["sample-cache"]
    assert ("fused-optimiser", "kept, at least 1.0% faster") in only.refused


def test_a_search_that_kept_nothing_gives_a_plan_that_says_so():
    """An empty plan can be written and read."""
    text = write(plan_of(nothing_found(), MachineFacts(), made="2026-01-02"))
    assert "# Nothing was kept" in text
    assert read(text).changes == ()


def test_settings_are_as_they_come_back():
    """A tuple is a list and None is left out, so that a plan that nobody touched is not taken for an edited one."""
    changes = {**CHANGES, "sample-cache": replace(CHANGES["sample-cache"], settings={"sizes": (1, 2), "most": None})}
    plan = plan_of(found(changes=changes), HERE, made="2026-01-02")
    assert read(write(plan)).edits == []


@pytest.mark.parametrize(
    "text", ["a\nb = 1", 'say "x"\\', "\x00\x1b[2J", "\u202eabc", "\ud800", "é 名 🚀", "]]\n[[change]]"]
)
def test_text_from_outside_stays_text(plan, text):
    """No name or reason makes a key or a table, and nothing that can't be seen is in the file."""
    odd = replace(plan, command=(text,), refused=((text, text),), evidence=(text,))
    written = write(odd)
    assert set(tomllib.loads(written)) == {"schema", "command", "made", "machine", "proof", "change"}
    assert not [c for c in written if c != "\n" and not c.isprintable()]
    assert read(written).evidence == (text.encode("utf-8", "replace").decode(),)


def test_a_setting_that_toml_does_not_have_is_named(plan):
    """The message says which value it was."""
    bad = PlannedChange(change=replace(CHANGES["sample-cache"], settings={"where": [None]}))
    with pytest.raises(TypeError, match="TOML has no NoneType"):
        write(replace(plan, changes=(bad,)))


def test_a_change_may_be_taken_out_and_edited(plan):
    """What is left is read, and the plan knows that it is not what was proven."""
    text = write(plan)
    head, _, optimiser = text.partition("# Not kept")[0].split("\n[[change]]\n")
    without = read(head + "\n[[change]]\n" + optimiser)
    assert [planned.change.id for planned in without.changes] == ["fused-optimiser"]
    (told,) = without.edits
    assert "sample-cache (bytes=1000000000, where=memory) was proven as part of it and is not in it any more" in told

    edited = read(text.replace('"memory"', '"file"'), KNOWN)
    assert len(edited.edits) == 2
    assert read(text).edits == []


def test_a_change_without_a_proof_is_taken(plan):
    """A user may write one in by hand."""
    added = read(write(plan) + '[[change]]\nid = "channels-last"\nrisk = "numeric"\n', KNOWN)
    assert added.changes[2] == PlannedChange(
        change=Change(id="channels-last", settings={}, risk=Risk.NUMERIC, practice="")
    )
    assert "channels-last was written into the plan without a proof" in " ".join(differs(added, HERE))
    assert "# Not proven." in write(added)


BROKEN = {
    "no TOML": ("schema = 1", "schema = ", r"plan\.toml is no TOML.*line {line}", "toml.io"),
    "newer": (
        "schema = 1",
        "schema = 2",
        r"line {line}: this plan has schema 2, this suffice knows 1",
        "update suffice",
    ),
    "no schema": ("schema = 1", "", "the plan lacks 'schema'", "schema, command, made"),
    "unknown key": (
        'made = "',
        'colour = "red"\nmade = "',
        "line {line}: a plan has no 'colour'",
        "machine, proof, change",
    ),
    "unknown id": ('id = "sample-cache"', 'id = "cache"', "line {line}: there is no change 'cache'", "sample-cache"),
    "unknown setting": ("settings.where", "settings.were", "line {line}: sample-cache has no setting 'were'", "where"),
    "no settings": (
        'id = "fused-optimiser"',
        'id = "fused-optimiser"\nsettings.a = 1',
        "has no setting 'a'",
        "no settings",
    ),
    "unknown risk": ('risk = "exact"', 'risk = "small"', "line {line}: there is no risk 'small'", "exact, numeric"),
    "no risk": ('risk = "exact"', "", r"line \d+: the change lacks 'risk'", "id, settings, risk"),
    "unknown fact": ('torch = "', 'torhc = "', "line {line}: a machine has no 'torhc'", "torch"),
    "kind": (
        "processors_allowed = 2.0",
        "processors_allowed = true",
        "line {line}: .* must be a whole number or a number",
        None,
    ),
    "list": ('flags = ["avx2", "fma"]', 'flags = ["avx2", 2]', "line {line}: flags is a list of texts, found 2", None),
    "figure": (
        "proof.ratio = { value = 2.41",
        "proof.ratio = { worth = 2.41",
        "line {line}: ratio is no figure",
        "value, unit",
    ),
    "range": (
        "low = 2.3,",
        "low = 9.0,",
        "line {line}: ratio is no figure: 2.41 x is outside its own range",
        "low, high",
    ),
    "twice": (
        'id = "fused-optimiser"',
        'id = "sample-cache"',
        "line {line}: 'sample-cache' is in the plan already.*line \\d+",
        "take one",
    ),
    "no table": ("[machine]\n", "machine = 1\n[other]\n", "machine must be a table, found 1", None),
}


@pytest.mark.parametrize(("old", "new", "words", "hint"), BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_is_told_with_its_line(plan, old, new, words, hint):
    """The message says where and what, and the hint what is allowed."""
    text = write(plan)
    line = text[: text.index(old)].count("\n") + 1
    with pytest.raises(PlanError, match=words.replace("{line}", str(line))) as error:
        read(text.replace(old, new, 1), KNOWN)
    assert hint is None or hint in error.value.hint


def test_the_line_is_left_out_where_it_can_not_be_told(plan):
    """Tables written on one line have no heads to count; the message names the file then."""
    with pytest.raises(PlanError, match=r"^mine\.toml: there is no change 'x'"):
        read('schema = 1\ncommand = []\nmade = ""\nchange = [{id = "x", risk = "exact"}]', KNOWN, file="mine.toml")
    with pytest.raises(PlanError, match=r"^mine\.toml: a change is a table, found 3"):
        read('schema = 1\ncommand = []\nmade = ""\nchange = [3]', KNOWN, file="mine.toml")


def test_a_plan_holds_where_it_was_proven(plan):
    """On the same machine with the same command there is nothing to say."""
    assert differs(plan, HERE, found().target.command) == []
    assert differs(plan, MachineFacts()) == []


@pytest.mark.parametrize(
    ("here", "words"),
    [
        ({"processor": "Intel Xeon"}, "this is a Intel Xeon"),
        ({"flags": ("avx2",)}, "has fma, which this one lacks"),
        ({"flags": ("avx2", "amx_bf16", "fma")}, "this processor has amx_bf16"),
        ({"gpus": ("H100", "H100")}, "proven with no GPU, here are 2 x H100"),
        ({"processors_allowed": 1.0}, "proven on 2 processors, here the job may use 1"),
        ({"torch": "2.6.0"}, "proven with torch 2.13.0, this is 2.6.0"),
        ({"python": "3.9.1"}, "proven with Python 3.12.3, this is 3.9.1"),
        ({"intra_op_threads": 8}, "2 threads when the plan was proven, here it has 8"),
        ({"load": 1.7}, "keep 1.70 processors busy, 0.1 when the plan was proven"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_thing_that_differs_is_a_sentence(plan, here, words):
    """One sentence says what differs, the last how to prove the plan here."""
    *reasons, last = differs(plan, replace(HERE, **here))
    assert len(reasons) == 1
    assert words in reasons[0]
    assert last.startswith("to prove it here: suffice improve -- torchrun")


@pytest.mark.parametrize("here", [{"load": 0.5}, {"python": "3.12.9"}, {"processors_allowed": 2.001}], ids=str)
def test_what_is_as_good_as_equal_is_no_difference(plan, here):
    """Some load, a patch release and rounding are no reason to doubt a plan."""
    assert differs(plan, replace(HERE, **here)) == []


def test_another_command_and_an_edit_are_reasons_as_well(plan):
    """The proof is of the command and of the changes that were tried; a secret in the command is no difference."""
    other = differs(plan, HERE, ["python", "other.py", "--token", "abc"])
    assert "another command: torchrun" in other[0]
    assert other[-1].endswith("python other.py --token '•••'")
    edited = replace(plan, changes=plan.changes[:1])
    assert "the plan was edited: fused-optimiser was proven" in differs(edited, HERE)[0]
    secret = replace(plan, command=("train", "--token", "•••"))
    assert differs(secret, HERE, ["train", "--token", "abc"]) == []


def test_the_facts_are_those_of_the_machine_and_of_the_run():
    """Without a run, what only a run can tell is not known."""
    alone = facts_of(MACHINE)
    assert alone == MachineFacts(
        processor="AMD EPYC, EPYC 3rd generation", flags=("amx_bf16", "avx2", "fma"), processors_allowed=2.0
    )
    run = on_gpus(ranks=1)
    rank = replace(run.ranks[0], facts={**run.ranks[0].facts, "intra_op_threads": 4})
    others = {"processors_used_by_others": estimated(0.5, "processors", low=0, high=1, method="m")}
    facts = facts_of(MACHINE, replace(run, ranks=(rank,), figures=others))
    assert (facts.torch, facts.python, facts.intra_op_threads, facts.load) == ("2.13.0", "3.12.3", 4, 0.5)
    assert facts.gpus == ("NVIDIA H100 80GB HBM3",)
    assert facts_of(MACHINE, empty()).load is None


def test_a_trial_that_has_no_bounds_says_so(plan):
    """A ratio without an interval is not told as one with."""
    search = found(trials=(trial("sample-cache", "kept", 1.5),), total=None)
    assert "# 1.500x as fast (no bounds were reached), by 24 pairs" in write(plan_of(search, HERE, made="2026-01-02"))


def test_ids_alone_are_enough_to_check_by(plan):
    """Without names of settings, any setting is taken."""
    assert read(write(plan), ["sample-cache", "fused-optimiser"]).edits == []
    with pytest.raises(PlanError, match="there is no change 'fused-optimiser'"):
        read(write(plan), ["sample-cache"])
