"""One sentence says where the time went, and no more than what was measured."""

from dataclasses import replace

import pytest
from made_profiles import empty, on_gpus

from suffice.keep.report.headline import headline, shares
from suffice.records import Note, Profile, measured


def with_figures(**seconds: float) -> Profile:
    """A run whose rank has these figures as well."""
    made = on_gpus(ranks=1)
    figures = {name: measured(value, "s") for name, value in seconds.items()}
    return replace(made, ranks=(replace(made.ranks[0], figures={**made.ranks[0].figures, **figures}),))


def test_the_largest_part_is_named() -> None:
    """The sentence begins with the part of a step that takes most."""
    assert headline(on_gpus()).startswith("54% of a training step is backward")


def test_shares_sum_to_one() -> None:
    """The parts of a step are all of it."""
    assert sum(share for _, _, share in shares(on_gpus().ranks[0])) == pytest.approx(1.0)


def test_even_steps_need_no_word() -> None:
    """Where the mean is near the median, only the share is told."""
    assert "few long steps" not in headline(with_figures(step_s=0.100, mean_step_s=0.150))


def test_few_long_steps_are_told() -> None:
    """A split by means is that of the long steps, if few of them take most of the time; the sentence says so."""
    assert headline(with_figures(step_s=0.004, mean_step_s=0.050)).endswith(
        "few long steps decide: the mean is 50.0 ms, the median 4.00 ms"
    )


def test_a_run_without_steps_says_why() -> None:
    """The note that gives the reason is the headline."""
    reason = Note(level="warning", text="no steps: the job never imported torch")
    assert headline(replace(empty(), notes=(reason,))) == reason.text
    assert headline(empty()) == "no steps were seen"
