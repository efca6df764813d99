"""Changes of the training in a live job: time is told by the sample, and a job that can't take one is left alone."""

from collections.abc import Callable
from statistics import median

import pytest

from suffice.errors import RigError
from suffice.prove.rig import Pairs, Rig
from suffice.prove.trial import Arm
from suffice.records import Change, Risk

LARGER = Change(id="larger-batch", settings={"times": 4}, risk=Risk.SEMANTIC, practice="")
BUCKETS = Change(id="sequence-bucketing", settings={"pool": 50}, risk=Risk.SEMANTIC, practice="")
JOB = """
import time, torch
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
loader = DataLoader(TensorDataset(torch.randn(640, 3), torch.randn(640, 1)), 4, shuffle=True)
model = torch.nn.Linear(3, 1)
optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 0.999**step)
for epoch in range(100):
    for x, y in loader:
        PLACE
        optimiser.zero_grad()
        (model(x) - y).square().mean().backward()
        optimiser.step()
        schedule.step()
"""


def test_a_larger_batch_is_timed_by_its_samples(live: Callable[[str], Rig]) -> None:
    """A step that takes 20 ms whatever it holds is four times as fast with four times the samples."""
    rig, seen = live(JOB.replace("PLACE", "time.sleep(0.02)")), Pairs()
    assert rig.prepare(LARGER) is None
    measure = rig.pairs(LARGER, clock="wall", block=4, warm_up=1, seen=seen)
    for first in (Arm.PLAIN, Arm.CHANGED, Arm.PLAIN, Arm.CHANGED, Arm.PLAIN):
        assert measure(first) is not None
    assert median(plain / changed for plain, changed in seen.wall) == pytest.approx(4, rel=0.25)
    assert rig.facts()["larger-batch"]["given_up"] is None


@pytest.mark.slow
def test_a_job_that_fails_with_it_is_told_and_goes_on_without(live: Callable[[str], Rig]) -> None:
    """A batch size that is written into the model: the reason is the job's own last line."""
    rig = live(JOB.replace("PLACE", "x = x.reshape(4, 3)"))
    assert rig.prepare(LARGER) is None
    measure = rig.pairs(LARGER, clock="wall", block=2, warm_up=0, seen=Pairs())
    with pytest.raises(RigError, match="with it the job fails: RuntimeError: shape"):
        measure(Arm.PLAIN)
    rig.drop(LARGER)
    again = rig.pairs(None, clock="wall", block=1, warm_up=0, seen=Pairs())
    assert again(Arm.PLAIN) is not None


TEXTS = """
import time, torch
from torch.utils.data import DataLoader

class Texts(torch.utils.data.Dataset):
    def __len__(self):
        return 4000
    def __getitem__(self, index):
        return torch.ones(10 if index % 4 else 100)

def collate(samples):
    return torch.nn.utils.rnn.pad_sequence(samples, batch_first=True)

torch.manual_seed(0)
loader = DataLoader(Texts(), 4, shuffle=True, collate_fn=collate)
model = torch.nn.Linear(1, 1)
optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
for epoch in range(100):
    for x in loader:
        time.sleep(0.0002 * x.shape[1])
        optimiser.zero_grad()
        model(x[..., None]).mean().backward()
        optimiser.step()
"""


@pytest.mark.slow
def test_batches_of_like_length_take_the_time_of_their_samples(live: Callable[[str], Rig]) -> None:
    """A batch of four is long where one of them is: 68 % of them by chance, 25 % by length, so 2.2 times as fast."""
    rig, seen = live(TEXTS), Pairs()
    assert rig.prepare(BUCKETS) is None
    measure = rig.pairs(BUCKETS, clock="wall", block=50, warm_up=0, seen=seen)
    for first in (Arm.PLAIN, Arm.CHANGED, Arm.CHANGED, Arm.PLAIN, Arm.PLAIN, Arm.CHANGED):
        assert measure(first) is not None
    plain_s, changed_s = map(sum, zip(*seen.wall, strict=True))
    assert plain_s / changed_s == pytest.approx(2.2, rel=0.25)
