"""Searches made by hand: a run before and one after, and trials with every verdict."""

from dataclasses import replace

from suffice.records import Change, Note, Outcome, Risk, Search, Trial, Verdict, measured
from tests.keep.report.made_profiles import empty, on_gpus

METHOD = "paired steps in random order, confidence sequence at 0.95"


def ratio(value, low=None, high=None):
    """A ratio of times with its interval."""
    return measured(value, "x", low=low, high=high, method=METHOD)


def change(name, risk=Risk.EXACT, **settings):
    """A change of that id."""
    return Change(id=name, settings=settings, risk=risk, practice="PERF03-BP05: keep in a cache what is read again")


def trial(name, outcome, value=None, low=None, high=None, *, pairs=24, reason="at least 1.0% faster", spent_s=4.0):
    """A trial of the change of that name."""
    found = None if value is None else ratio(value, low, high)
    verdict = Verdict(outcome=Outcome(outcome), reason=reason, pairs=pairs, ratio=found, total_ratio=value)
    changed_s = (1.0,) * pairs
    return Trial(change=name, verdict=verdict, plain_s=(value or 1.0,) * pairs, changed_s=changed_s, spent_s=spent_s)


TRIALS = (
    trial("null", "undecided", 1.001, 0.991, 1.012, reason="neither a gain nor its absence is proven"),
    trial("sample-cache", "kept", 2.41, 2.30, 2.52, pairs=24, spent_s=3.1),
    trial("fused-optimiser", "kept", 1.083, 1.041, 1.127, pairs=61, spent_s=6.6),
    trial("bf16-autocast", "refused", 0.41, 0.36, 0.47, pairs=18, reason="slower", spent_s=5.2),
    trial("torch-compile", "refused", 1.31, 1.22, 1.40, reason="the gradients of conv1.weight are zero", spent_s=41.0),
    trial("loader-workers", "undecided", 1.02, 0.95, 1.09, pairs=200, reason="all of its 200 pairs are used"),
    trial("channels-last", "undecided", None, pairs=0, reason="the job ended, and no pair was measured", spent_s=0.4),
)
CHANGES = {
    "sample-cache": change("sample-cache", where="memory", bytes=10**9),
    "fused-optimiser": change("fused-optimiser", Risk.NUMERIC),
    "bf16-autocast": change("bf16-autocast", Risk.NUMERIC),
    "torch-compile": change("torch-compile", Risk.NUMERIC, mode="default"),
    "loader-workers": change("loader-workers", Risk.STOCHASTIC, workers=2),
    "channels-last": change("channels-last", Risk.NUMERIC),
}


def found(**changes):
    """A search that kept two changes, with a run before and a run after."""
    before, after = on_gpus(ranks=1), on_gpus(ranks=1, run="20260102-040506-c3d4", slower=0.4)
    made = Search(
        name="20260102-030405-5e6f",
        target=before.target,
        started="2026-01-02T03:04:05+00:00",
        seconds=192.4,
        compile_s=31.0,
        before=before,
        after=after,
        trials=TRIALS,
        changes=CHANGES,
        refused=(("cuda-graphs", "the shapes of the batches differ"), ("allocator", "jemalloc is not installed")),
        total=ratio(2.6, 2.48, 2.71),
        plan="schema = 1\n",
        notes=(Note(text="the search was interrupted: what was proven is kept", level="warning"),),
    )
    return replace(made, **changes)


def nothing_found():
    """A search of a job of which nothing is known, that tried nothing."""
    return Search(name="20260102-030405-0000", target=empty().target, started="2026-01-02", seconds=3.0, before=empty())


def hostile_search(text, profile):
    """A search in which each text that comes from outside is `text`."""
    return found(
        name=text,
        target=profile.target,
        started=text,
        before=profile,
        after=profile,
        trials=(trial(text, "kept", 1.5, 1.4, 1.6, reason=text),),
        changes={text: Change(id=text, settings={text: text}, risk=Risk.EXACT, practice=text)},
        refused=((text, text),),
        plan=text,
        notes=(Note(text=text), Note(text=text, level="warning")),
    )
