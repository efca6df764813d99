"""What a search keeps, from a played job: the times of its steps are made up, all decisions are the search's own."""

from random import Random

from suffice.prove.search import Search, Terms
from suffice.prove.trial import Arm
from suffice.records import Change, Judgement, Outcome, Risk


def change(name):
    return Change(id=name, settings={}, risk=Risk.EXACT, practice="")


class PlayedRig:
    """A job whose step takes 0.1 s, times the factor of each change that is on; a pair takes as long on `clock`."""

    def __init__(self, factors, noise=0.01, together=None):
        self.factors = factors
        self.noise = noise
        self.of_all = together
        self.work = 1.0
        self.kept = []
        self.now_s = 0.0
        self.rng = Random(1)

    def clock(self):
        return self.now_s

    def _step_s(self, on):
        seconds = 0.1 * self.rng.uniform(1 - self.noise, 1 + self.noise)
        for each in on:
            seconds *= self.factors[each.id]
        self.now_s += seconds
        return seconds

    def prepare(self, _):
        return None

    def pairs(self, candidate, *, seen, **_):
        return self._measure(lambda: self.kept, lambda: [*self.kept, *([candidate] if candidate else [])], seen)

    def together(self, *, seen, **_):
        return self._measure(list, lambda: self.kept, seen, self.of_all)

    def _measure(self, plain, changed, seen, factor=None):
        def measure(_: Arm):
            pair = self._step_s(plain()), self._step_s(changed()) if factor is None else 0.1 * factor
            seen.wall.append(pair)
            seen.processor.append(pair)
            seen.of_all.append((pair[0], pair[1] * self.work))
            return pair

        return measure

    def rest(self):
        pass

    def wake(self):
        pass

    def keep(self, candidate):
        self.kept.append(candidate)

    def drop(self, candidate):
        self.kept = [each for each in self.kept if each != candidate]


class PlayedGate:
    """Every change leaves the numbers as they were; a judgement takes its seconds."""

    steps, longest_s = 20, 1.0

    def __init__(self, rig, seconds=0.0):
        self.rig, self.seconds = rig, seconds

    def judge(self, _kept, _change):
        self.rig.now_s += self.seconds
        return Judgement(met=True, reason="the same")


def search(rig, *, seconds, judging_s=0.0):
    terms = Terms(seconds=seconds)
    return Search(rig, PlayedGate(rig, judging_s), terms, step_s=0.1, clock=rig.clock)


def test_what_is_faster_is_kept_and_what_is_not_is_refused():
    rig = PlayedRig({"good": 0.7, "bad": 1.2, "none": 1.0, "better": 0.5})
    found = search(rig, seconds=300)
    trials = found.each([change(name) for name in rig.factors], {}, {})
    outcomes = {one.id: trial.verdict.outcome for one, trial in trials}
    assert outcomes == {
        "good": Outcome.KEPT,
        "bad": Outcome.REFUSED,
        "none": Outcome.REFUSED,
        "better": Outcome.KEPT,
    }
    *_, last = found.together()
    assert last.kept
    assert [each.id for each in found.kept] == ["good", "better"]


def test_what_was_proven_stays_where_no_time_is_left_to_prove_all_of_it_once_more():
    """The second was proven on top of the first; comparing the numbers has used the budget up."""
    rig = PlayedRig({"good": 0.7, "better": 0.5}, noise=0.2)
    found = search(rig, seconds=40, judging_s=40.0)
    rig.kept = [change("good"), change("better")]
    found.deadline = 0.0
    trials = list(found.together())
    assert [trial.verdict.outcome for trial in trials] in ([Outcome.UNDECIDED], [Outcome.KEPT])
    assert [each.id for each in found.kept] == ["good", "better"]


def test_what_is_no_gain_together_loses_its_latest():
    rig = PlayedRig({"good": 0.7, "better": 0.5}, together=1.3)
    found = search(rig, seconds=300)
    rig.kept = [change("good"), change("better")]
    outcomes = [trial.verdict.outcome for trial in found.together()]
    assert outcomes == [Outcome.REFUSED]
    assert [each.id for each in found.kept] == ["good"]


def test_a_trial_too_short_to_decide_that_saw_a_loss_drops_the_latest():
    rig = PlayedRig({"good": 0.7, "better": 0.5}, together=1.01)
    found = search(rig, seconds=300)
    found.terms = Terms(seconds=300, pairs=3)
    rig.kept = [change("good"), change("better")]
    assert [trial.verdict.outcome for trial in found.together()] == [Outcome.UNDECIDED]
    assert [each.id for each in found.kept] == ["good"]


def test_what_looked_faster_and_was_not_decided_gets_the_time_that_is_left():
    """A gain of 4 % in much noise: its share is too short, and those after it are decided at once."""
    rig = PlayedRig({"small": 0.96, "bad": 2.0, "worse": 2.0, "worst": 2.0}, noise=0.08)
    trials = list(search(rig, seconds=36).each([change(name) for name in rig.factors], {}, {}))
    assert [one.id for one, _ in trials] == ["small", "bad", "worse", "worst", "small"]
    first, last = trials[0][1], trials[-1][1]
    assert first.verdict.outcome is Outcome.UNDECIDED
    assert last.plain_s[: len(first.plain_s)] == first.plain_s
    assert last.kept
    assert last.spent_s > first.spent_s


def test_what_is_faster_by_more_work_is_no_saving_of_energy():
    """Workers that take three times what they save."""
    rig = PlayedRig({"workers": 0.7})
    rig.work = 3.0
    for sparing, outcome in ((False, Outcome.KEPT), (True, Outcome.REFUSED)):
        found = search(rig, seconds=100)
        found.terms = Terms(seconds=100, sparing=sparing)
        rig.kept = []
        trials = [trial for _, trial in found.each([change("workers")], {}, {})]
        assert [trial.verdict.outcome for trial in trials] == [outcome]
    assert "more of the processors" in trials[-1].verdict.reason
