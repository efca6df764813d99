"""The report of a search: every trial with its reason, what remains, and savings that are projected and say so."""

import io
from dataclasses import replace

import pytest
from made_profiles import empty, hostile, on_gpus
from rich.console import Console
from tests.keep.made_searches import TRIALS, found, hostile_search, nothing_found, ratio, trial
from tests.keep.test_plan import HERE

from suffice.keep.plan import plan_of
from suffice.keep.report.compare import regressed
from suffice.keep.report.saving import savings
from suffice.keep.report.search import print_search
from suffice.keep.report.told import as_data, tell
from suffice.records import Origin, Search, as_json, measured

WHOLE = on_gpus(ranks=1)


def printed(search: Search, *, width: int = 120, terminal: bool = False) -> str:
    """The report as it is written to a terminal or a file."""
    file = io.StringIO()
    print_search(Console(file=file, width=width, force_terminal=terminal, highlight=False), search)
    return file.getvalue()


def line_of(text: str, label: str) -> str:
    """The line of the report that begins with the label."""
    return next(" ".join(line.split()) for line in text.splitlines() if line.strip().startswith(label))


def test_every_trial_stands_with_its_reason() -> None:
    """Kept, refused, undecided and turned down, each with ratio, interval, pairs and seconds."""
    text = printed(found())
    lines = [" ".join(line.split()) for line in text.splitlines()]
    row = lines.index("sample-cache (bytes=1000000000, where=memory) kept 2.41x 2.30x to 2.52x 24 3.10 s")
    assert lines[row + 1] == "exact: at least 1.0% faster"
    row = lines.index("torch-compile (mode=default) refused 1.310x 1.220x to 1.400x 24 41.0 s")
    assert lines[row + 1] == "numeric: the gradients of conv1.weight are zero"
    assert "channels-last undecided none 0 400 ms" in lines
    assert "no change at all control 1.001x 0.991x to 1.012x 24 4.00 s" in lines
    assert "cuda-graphs the shapes of the batches differ" in lines
    assert "! the search was interrupted: what was proven is kept" in lines


def test_the_answer_comes_first() -> None:
    """The ratio of the whole with its bounds, then how many were tried, then the rest in its order."""
    text = printed(found())
    order = [
        "2.60x as fast (2.48x to 2.71x), with 2 changes kept.",
        "6 changes tried in 3 min 12 s",
        "before and after",
    ]
    order += ["tried\n", "turned down before a trial\n", "what remains\n", "saved (projected, never measured)\n"]
    # Rich fills lines up with blanks.
    places = ["\n".join(line.rstrip() for line in text.splitlines()).index(words) for words in order]
    assert places == sorted(places)
    assert "2 kept, 2 refused, 2 undecided, 2 turned down" in text


def test_before_and_after_are_on_one_scale() -> None:
    """The bars of both runs tell seconds, so the run after has the shorter ones."""
    line = line_of(printed(found()), "backward")
    before, after = (cell.count("█") for cell in line.split("54%")[1:])
    assert before == 14
    assert after == round(0.4 * 14)
    assert line_of(printed(found()), "a step") == "a step 107 ms 42.8 ms"
    assert (
        "after" not in printed(found(after=None, total=None, stays=())).partition("tried")[0].partition("and after")[2]
    )


def test_what_was_kept_and_dropped_later_is_told_apart() -> None:
    """A change that did not hold together with the others is not counted as kept."""
    search = found(stays=("sample-cache",), trials=(*TRIALS, trial("together", "kept", 2.6, 2.48, 2.71)))
    told = tell(search)
    assert "with 1 change kept" in told.headline
    verdicts = {each.name: each.verdict for each in told.tried}
    assert verdicts["fused-optimiser"] == "dropped"
    assert verdicts["all that was kept, together"] == "kept"


def test_what_remains_is_the_diagnosis_of_the_job_as_it_is_now() -> None:
    """Of the run with the plan; of the plain one where nothing stays; of none where that run is missing."""
    slow = replace(on_gpus(ranks=1), ranks=())
    sentence = "nothing to diagnose: no step of a training loop was seen"
    assert tell(found(after=slow)).remains.sentence == sentence
    assert tell(found(before=slow, stays=(), after=None)).remains.sentence == sentence
    assert tell(found(after=None)).remains is None


def test_a_search_that_kept_nothing_says_so() -> None:
    """It claims no saving."""
    text = printed(found(stays=(), total=None, after=None))
    assert "nothing was kept of 6 changes tried, 2 of them undecided: the job stays as it is" in text
    assert "nothing was kept, so nothing is saved" in text
    slower = trial("loader-workers", "undecided", 0.8, reason="it looks slower")
    text = printed(found(stays=(), total=None, after=None, trials=(*TRIALS[:5], slower)))
    assert "nothing was kept of 5 changes tried: the job is as fast as suffice can make it here" in text
    text = printed(nothing_found())
    assert "nothing is worth a try" in text
    assert "nothing to diagnose" in text


def test_savings_of_a_run_are_of_the_time_in_which_it_trained() -> None:
    """42.8 of 82.8 s train; at a ratio of 2 to 4 half to three quarters of that are saved, and in a year as often."""
    saved = savings(found(total=ratio(3.0, 2.0, 4.0), whole_run=WHOLE, runs_per_year=100.0))
    assert saved is not None
    time = saved.rows[0]
    assert saved.per == "a run"
    assert (time.each.low, time.each.value, time.each.high) == pytest.approx((21.4, 28.533, 32.1), rel=1e-3)
    assert time.a_year is not None
    assert time.a_year.value == pytest.approx(2853.3, rel=1e-3)
    energy = next(row.each for row in saved.rows if row.name == "energy")
    whole, share = WHOLE.figures["energy_j"], 42.8 / 82.8
    assert energy.low == pytest.approx(whole.low * share / 2, rel=1e-3)
    assert energy.high == pytest.approx(whole.high * share * 3 / 4, rel=1e-3)


def test_every_saving_is_an_estimate_with_a_range() -> None:
    """Also of what was measured or looked up, and whatever the ratio was: a projection is never called measured."""
    for search in (found(), found(whole_run=WHOLE, runs_per_year=5.0), found(total=ratio(1.0, 0.9, 1.2))):
        saved = savings(search)
        assert saved is not None
        figures = [figure for row in saved.rows for figure in (row.each, row.a_year) if figure]
        assert {figure.origin for figure in figures} == {Origin.ESTIMATED}
        assert all(figure.low < figure.value < figure.high or figure.value == 0 for figure in figures)
    text = printed(found(whole_run=WHOLE, runs_per_year=5.0))
    assert "measured" not in text.partition("saved (projected, never measured)")[2]


def test_a_plan_that_may_cost_time_does_not_hide_it() -> None:
    """Where the ratio's bounds reach below 1, the range of the saving reaches below zero."""
    saved = savings(found(total=ratio(1.05, 0.95, 1.15), whole_run=WHOLE))
    assert saved is not None
    assert all(row.each.low < 0 < row.each.high for row in saved.rows)


def test_without_a_whole_run_savings_are_by_the_hour() -> None:
    """A short look at the job tells no run's length: then there is no year either."""
    for whole in (None, replace(WHOLE, state="stopped"), replace(WHOLE, ranks=())):
        saved = savings(found(whole_run=whole, runs_per_year=100.0, total=ratio(2.0, 1.9, 2.1)))
        assert saved is not None
        assert saved.per == "an hour of the plain job"
        assert saved.year is None
        assert saved.rows[0].each.value == pytest.approx(1800)


def test_without_bounds_or_steps_nothing_is_projected() -> None:
    """The report says why."""
    for search, words in (
        (found(total=ratio(2.0)), "no ratio with bounds"),
        (found(total=None), "no ratio with bounds"),
        (found(before=empty()), "no training step of the plain job was seen"),
    ):
        assert savings(search) is None
        assert words in printed(search)


def test_what_is_not_known_of_the_plain_job_says_why() -> None:
    """Without a rate there is no money, and the note that told so is repeated."""
    figures = {name: figure for name, figure in WHOLE.figures.items() if name != "cost_usd"}
    notes = tuple(replace(note, text="money: no cost: give your own rate", level="info") for note in WHOLE.notes)
    text = printed(found(whole_run=replace(WHOLE, figures=figures, notes=notes)))
    assert line_of(text, "money") == "money not known: no cost: give your own rate"


def test_the_search_is_paid_back() -> None:
    """After so many runs, or hours."""
    assert "paid back after 7.3 runs" in printed(found(whole_run=WHOLE))
    assert "paid back after the first run" in printed(found(whole_run=WHOLE, seconds=9.0))
    assert "paid back after 5 min 13 s of what was the plain job's training" in printed(found())
    assert "paid back" not in printed(found(total=ratio(0.9, 0.8, 0.95)))


@pytest.mark.parametrize("width", [20, 80, 200])
@pytest.mark.parametrize("text", ["[red]alert[/red]", "[/]", "\x1b[2J\x1b]0;title\x07", "a\nb\r\tc", "名前 🚀"])
def test_hostile_names(text: str, width: int) -> None:
    """Markup is shown as it stands, and no control character of a name reaches the terminal."""
    shown = printed(hostile_search(text, hostile(text)), width=width)
    assert not [c for c in shown if (ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160]
    if text.isprintable() and width == 200:
        assert text in shown


def test_a_report_in_a_file_has_no_colour_and_keeps_its_width() -> None:
    """What goes to a file is plain text, even on eighty columns."""
    text = printed(found(whole_run=WHOLE, runs_per_year=5.0), width=80)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b[32mkept" in printed(found(), terminal=True)


def test_the_page_gets_the_same_words() -> None:
    """What the terminal says is in the page's data, figure by figure."""
    search = found(whole_run=WHOLE)
    data = as_data(search)
    assert data["headline"] == tell(search).headline
    assert [each["name"] for each in data["tried"]] == [each.name for each in tell(search).tried]
    assert data["savings"] == as_json(savings(search))
    assert data["plan"] == search.plan


PLAN = plan_of(found(), HERE, made="2026-01-02")


def test_a_run_as_fast_as_proven_has_not_regressed() -> None:
    """Nor has one that is a little slower, as runs of the same program are, nor one that is faster."""
    for slower in (0.2, 0.4, 0.43):
        assert regressed(PLAN, on_gpus(ranks=1, slower=slower)) is None


def test_a_run_that_is_slower_than_proven_says_regressed_with_the_interval() -> None:
    """And that it is slower than without the plan, where it is; the interval is wider with an earlier run's noise."""
    note = regressed(PLAN, on_gpus(ranks=1, slower=0.6))
    assert note is not None
    assert note.level == "warning"
    assert note.text.startswith("regressed: a step takes 64.")
    assert "1.50 times the 42.8 ms of 2026-01-02 when the plan was proven (95 % interval 1.46 to 1.54)" in note.text
    assert "without the plan" not in note.text
    assert note.text.endswith("to prove it anew: suffice improve -- torchrun --nproc-per-node=1 train.py --name 'a b'")
    wider = regressed(PLAN, on_gpus(ranks=1, slower=0.6), on_gpus(ranks=1, slower=0.4))
    assert wider is not None
    assert "(95 % interval 1.44 to 1.56)" in wider.text
    worse = regressed(PLAN, on_gpus(ranks=1, slower=1.3))
    assert worse is not None
    assert "; without the plan it took 107 ms;" in worse.text


@pytest.mark.parametrize(
    ("hits", "misses", "told"), [(0, 0, True), (300, 100, True), (100, 300, False)], ids=["none", "warm", "cold"]
)
def test_a_run_that_fills_a_cache_has_not_regressed(hits: int, misses: int, told: object) -> None:
    """What a cache is worth is not to be seen before it is filled."""
    run = on_gpus(ranks=1, slower=0.6)
    facts = {"changes": {"sample-cache": {"hits": hits, "misses": misses}}}
    run = replace(run, ranks=tuple(replace(rank, facts={**rank.facts, **facts}) for rank in run.ranks))
    assert (regressed(PLAN, run) is not None) is told


def test_a_regression_beside_busier_neighbours_names_them() -> None:
    """A plan may be as good as ever on a machine that others use."""
    run = on_gpus(ranks=1, slower=0.6)
    busy = replace(run, figures={"processors_used_by_others": measured(40.0, "processors")})
    note = regressed(PLAN, busy)
    assert note is not None
    assert "; other programs keep 40.0 processors busy, 0.1 when the plan was proven" in note.text
    assert "other programs" not in regressed(PLAN, run).text


def test_the_proven_step_follows_from_the_ratio_where_none_was_measured() -> None:
    """107 ms at a ratio of 2.6 are 41.2 ms."""
    note = regressed(replace(PLAN, step_after_s=None), on_gpus(ranks=1, slower=0.6))
    assert note is not None
    assert "the 41.2 ms of" in note.text


def test_what_can_not_be_told_is_no_regression() -> None:
    """An edited plan is not what was proven; a plan without a step time, or few steps, tell nothing."""
    slow = on_gpus(ranks=1, slower=2.0)
    assert regressed(replace(PLAN, changes=PLAN.changes[:1]), slow) is None
    assert regressed(replace(PLAN, step_after_s=None, total=None), slow) is None
    assert regressed(PLAN, on_gpus(ranks=1, steps=6, slower=2.0)) is None
    assert regressed(PLAN, empty()) is None
    broken = replace(PLAN, step_after_s=measured(0.0, "s"))
    assert regressed(broken, slow) is None
