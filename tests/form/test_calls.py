"""What a worker does with a form: the tokens that it has a language model write."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from suffice.form.calls import time_tokens
from suffice.form.samples import Batch


class Counter:
    """Its likeliest token is the last one and one more; it keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[list[int]] = []

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """Logits (1, n, 50)."""
        (tokens,) = inputs
        self.given.append(tokens[0].tolist())
        return [np.eye(50, dtype=np.float32)[tokens + 1]]

    def facts(self) -> dict[str, Any]:
        """Nothing."""
        return {}


@pytest.mark.parametrize(("length", "most", "calls"), [(12, 3, 4), (12, 99, 6), (2, 9, 2), (1, 9, 2)])
def test_tokens_are_written_one_after_the_other(length: int, most: int, calls: int) -> None:
    """After half of a sample, and never more than a sample has; one further token at least is timed."""
    session = Counter()
    sample = np.arange(length)[None]
    told = time_tokens({"session": session, "samples": [Batch(inputs=(sample,), labels=None)]}, most)
    half = max(1, length // 2)
    assert session.given == [list(range(half + number)) for number in range(calls)]
    assert len(told["calls"]) == calls - 1
    assert told["first_s"] > 0
