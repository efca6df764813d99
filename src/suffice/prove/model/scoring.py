"""In a worker: the answers of a form, or the form itself -> a score for each sample, where more is better.

accuracy      1 where the largest output is the label's
agreement     the cosine between the output and the original's
same-class    1 where the largest output is the original's
neighbours    1 where the nearest other sample, by the cosine of the outputs, is the original's
perplexity    minus the cross-entropy of the next tokens, which are the labels, or else the inputs moved by one
error         minus the squared error
function      the user's, on blocks of samples
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from suffice.errors import ModelError
from suffice.form.calls import answers
from suffice.form.samples import Batch, in_batches, read_samples
from suffice.prove.model.quality import FEWEST_IN_BLOCK

BLOCKS = 20

Array = Any


def scores(
    kept: dict[str, Any],  # noqa: ARG001 - a worker's functions share their first argument
    quality: str,
    samples: str,
    split: str,
    *,
    answers: str,
    reference: str,
) -> list[float]:
    """The score of each sample of a part, by the answers that a form and the original wrote.

    Raises:
        ModelError: if there is no such quality, or it needs labels and there are none.
    """
    judge = KNOWN.get(quality)
    if judge is None:
        raise ModelError(f"there is no quality {quality!r}", hint=f"known: {', '.join(KNOWN)}, or a function")
    found: list[float] = []
    with np.load(answers, allow_pickle=False) as ours, np.load(reference, allow_pickle=False) as original:
        for number, group in enumerate(read_samples(Path(samples), split)):
            judged = np.asarray(judge(ours[f"{number}.0"], original[f"{number}.0"], group), dtype=float)
            if not np.isfinite(judged).all():
                raise ModelError(f"its {quality} is not finite for every sample")
            found += judged.tolist()
    return found


def distances(kept: dict[str, Any], answers: str, reference: str) -> dict[str, float]:  # noqa: ARG001 - as above
    """How far a form's answers are from the original's.

    The worst `cosine`, the largest `error` in the original's scale, and how many times the `length` is the other's.
    """
    worst, largest, length, finite = 1.0, 0.0, 1.0, True
    for _, ours, theirs in _pairs(answers, reference):
        finite &= bool(np.isfinite(ours).all())
        worst = min(worst, float(_cosines(ours, theirs).min()))
        scale = float(np.abs(theirs).max()) or 1.0
        norms = [float(np.linalg.norm(each.astype(float))) for each in (ours, theirs)]
        length = max(length, max(norms) / min(norms) if min(norms) else 1.0)
        largest = max(largest, float(np.abs(ours.astype(float) - theirs).max()) / scale)
    return {"cosine": worst, "error": largest, "length": length, "finite": float(finite)}


def gaps(kept: dict[str, Any], answers: str, reference: str) -> list[dict[str, Any]]:  # noqa: ARG001 - as above
    """For each output, as an `OutputGap`, how far a form's answers are from the other's."""
    outputs: dict[int, list[tuple[Array, Array]]] = {}
    for name, ours, theirs in _pairs(answers, reference):
        outputs.setdefault(int(name.partition(".")[2]), []).append((ours, theirs))
    return [{"output": place, **_gap(pairs)} for place, pairs in sorted(outputs.items())]


def _gap(pairs: list[tuple[Array, Array]]) -> dict[str, Any]:
    """Of all samples that both answer with numbers."""
    finite = [[np.isfinite(each).reshape(len(each), -1).all(axis=1) for each in pair] for pair in pairs]
    missed = [int(sum((~each[side]).sum() for each in finite)) for side in (0, 1)]
    both = [
        (ours[one & other], theirs[one & other]) for (ours, theirs), (one, other) in zip(pairs, finite, strict=True)
    ]
    both = [pair for pair in both if pair[0].size]
    told: dict[str, Any] = {"not_finite_a": missed[1], "not_finite_b": missed[0]}
    if not both:
        return told
    told["largest"] = max(float(np.abs(ours.astype(float) - theirs).max()) for ours, theirs in both)
    told["cosine"] = float(np.concatenate([_cosines(*pair) for pair in both]).mean())
    if all(ours.ndim > 1 and ours.shape[-1] > 1 for ours, _ in both):
        same = [_by_sample(_classes(ours) == _classes(theirs)) for ours, theirs in both]
        told["same_class"] = float(np.concatenate(same).mean())
    return told


def _pairs(answers: str, reference: str) -> Iterator[tuple[str, Array, Array]]:
    """The name of each array that a form wrote, with the original's for the same samples."""
    with np.load(answers, allow_pickle=False) as ours, np.load(reference, allow_pickle=False) as original:
        if set(ours.files) != set(original.files):
            raise ModelError(f"the form gives {len(ours.files)} outputs, the original {len(original.files)}")
        for name in original.files:
            found, theirs = ours[name], original[name][: len(ours[name])]
            if found.shape != theirs.shape:
                raise ModelError(f"the form's output has the shape {found.shape}, the original's {theirs.shape}")
            yield name, found, theirs


def function_scores(kept: dict[str, Any], target: str, samples: str, split: str) -> list[float]:
    """What the user's function says of the form that this worker has opened, block by block of the samples."""
    import torch  # noqa: PLC0415 - the other qualities do without

    from suffice.form.target import load_target  # noqa: PLC0415 - as above

    judge = load_target(target).quality
    if not callable(judge):
        raise ModelError(f"{target} has no function for its quality any more")

    def model(*inputs: Any) -> Any:
        asked = Batch(inputs=tuple(each.numpy(force=True) for each in inputs), labels=None)
        found = answers(kept["session"], asked, len(asked), fixed=kept["batch"])
        tensors = tuple(torch.from_numpy(each) for each in found.values())
        return tensors[0] if len(tensors) == 1 else tensors

    return [
        float(judge(model, (_inputs(block), _labels(block)))) for block in _blocks(read_samples(Path(samples), split))
    ]


def _blocks(groups: list[Batch]) -> Iterator[Batch]:
    total = sum(map(len, groups))
    return in_batches(groups, max(FEWEST_IN_BLOCK, total // BLOCKS))


def _inputs(block: Batch) -> Any:
    import torch  # noqa: PLC0415 - as above

    tensors = tuple(torch.from_numpy(each) for each in block.inputs)
    return tensors[0] if len(tensors) == 1 else tensors


def _labels(block: Batch) -> Any:
    import torch  # noqa: PLC0415 - as above

    return None if block.labels is None else torch.from_numpy(block.labels)


def _labels_of(group: Batch) -> Array:
    if group.labels is None:
        raise ModelError("this quality needs labels, and the samples have none")
    return group.labels


def _by_sample(values: Array) -> Array:
    return values.reshape(len(values), -1).mean(axis=1)


def _cosines(ours: Array, theirs: Array) -> Array:
    first, second = (each.reshape(len(each), -1).astype(float) for each in (ours, theirs))
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    both_zero = np.where(np.abs(first - second).sum(axis=1) == 0, 1.0, 0.0)
    return np.divide((first * second).sum(axis=1), norms, out=both_zero, where=norms > 0)


def _classes(outputs: Array) -> Array:
    """The place of the largest output."""
    if outputs.ndim < 2 or outputs.shape[-1] < 2:
        raise ModelError(f"classes need an output each on the last axis, found the shape {outputs.shape}")
    return outputs.argmax(axis=-1)


def _accuracy(ours: Array, theirs: Array, group: Batch) -> Array:  # noqa: ARG001 - judges share one signature
    named, labels = _classes(ours), _labels_of(group)
    if labels.size != named.size:
        raise ModelError(f"labels of the shape {labels.shape} don't fit classes of the shape {named.shape}")
    return _by_sample(named == labels.reshape(named.shape))


def _agreement(ours: Array, theirs: Array, group: Batch) -> Array:  # noqa: ARG001 - as above
    if ours.dtype.kind in "iub":
        return _by_sample(ours == theirs)
    if theirs[:1].size > 1:
        return _cosines(ours, theirs)
    spread = float(theirs.std()) or 1.0
    return 1 - np.minimum(1.0, _by_sample(np.abs(ours.astype(float) - theirs)) / spread)


def _same_class(ours: Array, theirs: Array, group: Batch) -> Array:  # noqa: ARG001 - as above
    return _by_sample(_classes(ours) == _classes(theirs))


def _neighbours(ours: Array, theirs: Array, group: Batch) -> Array:  # noqa: ARG001 - as above
    return _nearest(ours) == _nearest(theirs)


def _nearest(outputs: Array) -> Array:
    flat = outputs.reshape(len(outputs), -1)
    unit = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    alike = unit @ unit.T
    np.fill_diagonal(alike, -np.inf)
    return alike.argmax(axis=1)


def _perplexity(ours: Array, theirs: Array, group: Batch) -> Array:  # noqa: ARG001 - as above
    labels = group.labels
    if labels is None:
        ours, labels = ours[:, :-1], group.inputs[0][:, 1:]
    counted = labels >= 0  # a label below zero means that nothing is asked there
    shifted = ours.astype(float) - ours.max(axis=-1, keepdims=True)
    logs = np.log(np.exp(shifted).sum(axis=-1))
    chosen = np.take_along_axis(shifted, np.where(counted, labels, 0)[..., None].astype(int), axis=-1)[..., 0]
    told = np.where(counted, chosen - logs, 0.0).reshape(len(labels), -1)
    return told.sum(axis=1) / np.maximum(1, counted.reshape(len(labels), -1).sum(axis=1))


def _error(ours: Array, theirs: Array, group: Batch) -> Array:  # noqa: ARG001 - as above
    labels = _labels_of(group).astype(float)
    return -_by_sample((ours.astype(float).reshape(labels.shape) - labels) ** 2)


KNOWN: dict[str, Callable[[Array, Array, Batch], Array]] = {
    "accuracy": _accuracy,
    "agreement": _agreement,
    "same-class": _same_class,
    "neighbours": _neighbours,
    "perplexity": _perplexity,
    "error": _error,
}
