"""What stands around the calls of modules: within the agent's marks, around the outermost alone, and gone when off."""

import copy
import io
import threading

import pytest
import torch
from torch import nn

from suffice.agent.rig.job import Job
from suffice.agent.rig.nested import each_tensor
from suffice.agent.roots import RootCall


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Linear(2, 2)

    def forward(self, x):
        return self.second(self.first(x))


class Heard:
    """Notes whose calls it stands around."""

    def __init__(self, name="") -> None:
        self.name, self.modules = name, []

    def __call__(self, module, call, args, kwargs):
        self.modules.append(self.name or module)
        return call(*args, **kwargs)


X = torch.ones(1, 2)


def around(modules, manner, **options):
    calls = Job(torch, "").calls(modules, manner, **options)
    calls.on()
    return calls


def test_only_the_outermost_call_has_it():
    """The root is called: what lies below it is let go, and stays so when it is put in again."""
    net, heard = Net(), Heard()
    calls = around([net], heard)
    for _ in range(2):
        calls.on()
        net(X)
        calls.off()
        net(X)
    assert heard.modules == [net, net]
    assert calls.called() == [net]
    assert not any("_compiled_call_impl" in module.__dict__ for module in net.modules())


def test_parts_have_it_where_the_root_is_never_called():
    """As Lightning calls the parts of its module; a root that is called later has it then, and its parts no more."""
    net, heard = Net(), Heard()
    around([net], heard)
    net.second(net.first(X))
    net(X)
    assert heard.modules == [net.first, net.second, net]


def test_a_call_that_has_begun_passes_without_it():
    """Put in while the root is being called, by a hook: not its parts but the root's next call has it."""
    net, heard = Net(), Heard()
    calls = Job(torch, "").calls([net], heard)
    handle = net.register_forward_pre_hook(lambda *_: calls.on())
    net(X)
    handle.remove()
    assert heard.modules == []
    net(X)
    assert heard.modules == [net]


@pytest.mark.parametrize("marked_first", [True, False])
def test_the_agents_marks_stay_outermost(marked_first):
    """Whichever came first, and whichever goes first, the other stays where it is."""
    net, order, heard = nn.Linear(2, 2), [], Heard("around")

    def marks():
        mark = RootCall(net, lambda *_: order.append("mark") or False, lambda: None, lambda: False)
        net.__dict__["_compiled_call_impl"] = mark
        return mark

    heard.modules = order
    mark = marks() if marked_first else None
    calls = around([net], heard)
    mark = mark or marks()
    net(X)
    assert order == ["mark", "around"]
    calls.off()
    net(X)
    assert order == ["mark", "around", "mark"]
    calls.on()
    mark.remove()
    net(X)
    assert order == ["mark", "around", "mark", "around"]
    calls.off()
    assert "_compiled_call_impl" not in net.__dict__


def test_the_innermost_stands_within_the_others():
    """Whichever was put in first."""
    net, order = nn.Linear(2, 2), []
    inner, outer = Heard("inner"), Heard("outer")
    inner.modules = outer.modules = order
    first, second = around([net], inner, innermost=True), around([net], outer)
    net(X)
    second.off()
    first.off()
    second.on()
    first.on()
    net(X)
    assert order == ["outer", "inner"] * 2


def test_the_jobs_own_compiled_call_is_called_within():
    """What `Module.compile` has put there stays, and comes back."""
    net, heard = nn.Linear(2, 2), Heard()
    net.compile(backend="eager")
    own = net.__dict__["_compiled_call_impl"]
    calls = around([net], heard)
    assert net.__dict__["_compiled_call_impl"].inner is own
    calls.off()
    assert net.__dict__["_compiled_call_impl"] is own


def test_what_somebody_else_has_put_in_its_place_is_left():
    """Taking it out then changes nothing."""
    net = nn.Linear(2, 2)
    calls = around([net], Heard())
    net.__dict__["_compiled_call_impl"] = own = lambda *_: "own"
    calls.off()
    assert net.__dict__["_compiled_call_impl"] is own


def test_copies_and_files_know_nothing_of_it():
    """A model is copied and saved as without it, and a copy is called without it."""
    net, heard = Net(), Heard()
    around([net], heard)
    copied = copy.deepcopy(net)
    copied(X)
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    torch.load(file, weights_only=False)(X)
    assert heard.modules == []


def test_an_exception_passes_through():
    """And the next call has it again."""
    net, heard = nn.Linear(2, 2), Heard()
    around([net], heard)
    with pytest.raises(RuntimeError):
        net(torch.ones(1, 3))
    net(X)
    assert heard.modules == [net, net]


def test_another_thread_has_its_own_outermost_call():
    """A call in another thread, made within a call in this one, is an outermost call as well."""
    outer, other, heard = nn.Sequential(nn.Linear(2, 2)), nn.Linear(2, 2), Heard()

    def within(module, args):
        thread = threading.Thread(target=other, args=(X,))
        thread.start()
        thread.join()

    outer.register_forward_pre_hook(within)
    around([outer, other], heard)
    outer(X)
    assert heard.modules == [outer, other]


def test_nothing_is_kept_alive():
    """A model that the job lets go is gone."""
    net = Net()
    calls = around([net], Heard("it"))
    del net
    calls.off()
    calls.on()
    assert calls.called() == []
    assert not [each for each in calls.arounds if each.module() is not None]


def test_a_container_of_which_nothing_changes_is_the_same_object():
    """No copy of what has no tensor, or none that is changed; and what is copied leaves the original as it was."""
    tensor = torch.ones(1)
    for thing in (3, "text", None, [1, {"a": (2,)}], {"a": tensor}, (tensor, [tensor])):
        assert each_tensor(torch, lambda each: each, thing) is thing
    original = {"a": [tensor, 1], "b": 2}
    changed = each_tensor(torch, lambda each: each + 1, original)
    assert changed["a"][0].item() == 2
    assert original == {"a": [tensor, 1], "b": 2}


def test_a_list_within_itself_comes_to_an_end():
    """What lies too deep is left as it is."""
    endless: list = [torch.ones(1)]
    endless.append(endless)
    assert each_tensor(torch, lambda each: each + 1, endless)[0].item() == 2
