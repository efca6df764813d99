"""The report of a model's forms: one file without scripts, whose text from outside stays text."""

import re
from pathlib import Path

from rich.console import Console

from suffice.keep.report.model import headline, print_model_search
from suffice.keep.report.model_page import model_page, write_model_page
from suffice.records import FormTrial, ModelSearch, Note, Outcome, front, measured

HOSTILE = "<script>alert(1)</script>"


def trial(
    name: str, latency_s: float, quality: float, *, outcome: Outcome = Outcome.KEPT, gain: float = 1.0
) -> FormTrial:
    """A form with these figures."""
    figures = {
        "latency_p50_s": measured(latency_s, "s"),
        "latency_p99_s": measured(2 * latency_s, "s"),
        "throughput_per_s": measured(1 / latency_s, "1/s"),
        "size_bytes": measured(1e6, "B"),
        "memory_bytes": measured(1e8, "B"),
        "quality": measured(quality, "", low=quality - 0.01, high=quality + 0.01),
        "speedup": measured(gain, "x", low=0.9 * gain, high=1.1 * gain),
    }
    return FormTrial(name=name, changes=(), outcome=outcome, reason=f"because of {name}", figures=figures)


def search(*trials: FormTrial, chosen: str) -> ModelSearch:
    """A search of these."""
    return ModelSearch(
        name="20260101",
        target=f"target.py:{HOSTILE}",
        started="2026-01-01T00:00:00+00:00",
        seconds=60.0,
        quality="accuracy",
        floor="-0.5%",
        minimise="latency",
        threads=2,
        chosen=chosen,
        trials=trials,
        refused=(("openvino-bf16", "the processor has no units for it"),),
        batches=(1, 8),
        subject={},
        notes=(Note(level="warning", text="it was broken off"),),
        machine={"processor": "made up", "flags": []},
    )


FOUND = search(
    trial("original", 4e-3, 0.95),
    trial("quick", 1e-3, 0.94, gain=4.0),
    trial(f"broken {HOSTILE}", 5e-4, 0.2, outcome=Outcome.REFUSED),
    chosen="quick",
)


def test_the_page_shows_every_form() -> None:
    """A dot and a row each, the chosen one marked, the refused ones with their reasons."""
    text = model_page(FOUND)
    assert text.count("<circle") == 3
    assert len(re.findall(r"<tr[ >]", text)) == 4
    assert '<circle class="dot chosen"' in text
    assert '<circle class="dot refused"' in text
    assert "the processor has no units for it" in text
    assert "quick is 4.00x as fast with one sample" in text


def test_text_from_outside_stays_text() -> None:
    """Names and reasons are escaped, and the policy lets no script run and nothing be asked for."""
    text = model_page(FOUND)
    assert HOSTILE not in text
    assert "&lt;script&gt;" in text
    assert "default-src 'none'" in text
    assert "script-src" not in text
    assert not re.search(r"(src|href)=.https?:", text)


def test_it_is_written(tmp_path: Path) -> None:
    """As one file."""
    write_model_page(FOUND, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == model_page(FOUND)


def test_the_terminal_has_room_for_it() -> None:
    """Eighty columns hold the table; what was chosen is marked."""
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115 - it goes nowhere
    print_model_search(console, FOUND)
    console.file.close()
    said = console.export_text()
    assert "▸ quick" in said
    assert max(map(len, said.splitlines())) <= 80
    assert "! it was broken off" in said


def test_a_model_that_stays_says_so() -> None:
    """And one that was only measured."""
    original = trial("original", 1e-3, 0.9)
    assert headline(search(original, chosen="original")) == "the model as it is"
    assert "stays as it is" in headline(search(original, trial("slow", 2e-3, 0.9), chosen="original"))


def test_the_front() -> None:
    """What another form beats or equals in everything, and beats in something, is not on it."""
    forms = [trial("a", 1.0, 0.9), trial("b", 2.0, 0.95), trial("c", 2.0, 0.9), trial("d", 1.0, 0.9)]
    assert front(forms, ["latency_p50_s"], ["quality"]) == {"a", "b", "d"}
    unknown = FormTrial(name="e", changes=(), outcome=Outcome.KEPT, reason="")
    assert front([*forms, unknown], ["latency_p50_s"], ["quality"]) == {"a", "b", "d"}
