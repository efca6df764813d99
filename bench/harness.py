"""Forms of a model in their folders -> the times of their calls: each in a process of its own, all by turns."""

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from suffice.form.description import Form
from suffice.measure.model.timing import by_turns
from suffice.run.worker import Worker


def timed(folders, samples, size, *, threads, rounds, rng):
    """Of all forms that take so many samples a call, {name: Times}."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    fitting = {
        way: each for way, each in folders.items() if size == 1 or isinstance(Form.read(each).inputs[0].shape[0], str)
    }
    with ExitStack() as stack, tempfile.TemporaryDirectory() as scratch:
        workers = {}
        for number, (way, folder) in enumerate(fitting.items()):
            place = Path(scratch, str(number))
            place.mkdir()
            worker = stack.enter_context(Worker(place, environment=environment))
            worker.call("suffice.form.calls:open_here", str(folder), str(samples), threads=threads)
            workers[way] = worker
        return by_turns(workers, size, rounds=rounds, rng=rng)
