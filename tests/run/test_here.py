"""A command under suffice ends as it ends alone, gets each signal once, and keeps its streams and its terminal."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from suffice.records import Profile
from tests.conftest import TIMEOUT_S, steady, suffice_command
from tests.terminal import Terminal

COUNTING = """
import signal, sys, time
got = []
signal.signal(signal.{name}, lambda number, frame: got.append(number))
print("ready", flush=True)
end = time.monotonic() + 60
while not got and time.monotonic() < end:
    time.sleep(0.01)
time.sleep(0.6)
print("got", len(got), flush=True)
sys.exit(7)
"""
"""Ends with 7, and tells how often it got the signal."""

COUNTING_TWICE = """
import signal, time
got = []
signal.signal(signal.SIGUSR1, lambda number, frame: (got.append(number), print("got", len(got), flush=True)))
print("ready", flush=True)
end = time.monotonic() + 60
while len(got) < 2 and time.monotonic() < end:
    time.sleep(0.01)
"""

ENDLESS = """
import sys, time
import torch
torch.set_num_threads(1)
model = torch.nn.Linear(4, 1)
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(int(sys.argv[1])):
    model(torch.randn(8, 4)).mean().backward()
    optimiser.step()
    time.sleep(0.01)
    print("step", step, flush=True)
print("end", flush=True)
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment with a home of its own."""
    return steady({**os.environ, "SUFFICE_HOME": str(tmp_path / "home")})


def under(*command: str, flags: tuple[str, ...] = ()) -> list[str]:
    """The command under suffice."""
    return [*suffice_command(), "measure", *flags, "--", *command]


@pytest.fixture
def start(env: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a Python program under suffice, in a process group of its own, and wait for its first line."""
    started = []

    def begin(program: str, *arguments: str, flags: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            under(sys.executable, "-c", program, *arguments, flags=flags),
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline()
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("code", [0, 3, 255])
def test_the_exit_code_passes_through(env: dict[str, str], code: int) -> None:
    """Whatever code the command ends with, suffice ends with it."""
    assert subprocess.run(under("sh", "-c", f"exit {code}"), env=env, check=False, timeout=TIMEOUT_S).returncode == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGSEGV, signal.SIGKILL, signal.SIGPIPE])
def test_a_command_killed_by_a_signal(env: dict[str, str], number: signal.Signals) -> None:
    """It ends suffice by the same signal, so a shell sees 128 + n; the ledger holds the run."""
    command = under("sh", "-c", f"kill -{int(number)} $$")
    assert subprocess.run(command, env=env, check=False, timeout=TIMEOUT_S).returncode == -number
    shell = subprocess.run(
        ["sh", "-c", '"$@"; echo $?', "sh", *command],
        env=env,
        check=True,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert shell.stdout == f"{128 + number}\n"
    profile = reported(env)
    assert (profile.state, profile.exit_code) == ("stopped", 128 + number)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_a_signal_to_suffice_reaches_the_command_once(start: Callable[..., subprocess.Popen[str]], name: str) -> None:
    """Who knows only suffice's process can signal the job through it; the job decides how it ends."""
    process = start(COUNTING.format(name=name))
    process.send_signal(getattr(signal, name))
    stdout, _ = process.communicate(timeout=TIMEOUT_S)
    assert (stdout, process.returncode) == ("got 1\n", 7)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_a_signal_to_the_group_reaches_the_command_once(start: Callable[..., subprocess.Popen[str]], name: str) -> None:
    """Batch systems and `timeout` signal all of a group: the job has it then, and suffice does not send it again."""
    process = start(COUNTING.format(name=name))
    os.killpg(process.pid, getattr(signal, name))
    stdout, _ = process.communicate(timeout=TIMEOUT_S)
    assert (stdout, process.returncode) == ("got 1\n", 7)


def test_timeout_around_suffice(env: dict[str, str]) -> None:
    """`timeout` signals suffice first and its group afterwards; the job gets that once."""
    command = ["timeout", "--preserve-status", "5", *under(sys.executable, "-c", COUNTING.format(name="SIGTERM"))]
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.stdout == "ready\ngot 1\n"


def test_a_later_signal_for_suffice_alone_is_still_sent_on(start: Callable[..., subprocess.Popen[str]]) -> None:
    """What the whole group got once is not taken for what suffice gets afterwards."""
    process = start(COUNTING_TWICE)
    os.killpg(process.pid, signal.SIGUSR1)
    assert process.stdout is not None
    assert process.stdout.readline() == "got 1\n"
    time.sleep(1.5)
    process.send_signal(signal.SIGUSR1)
    stdout, _ = process.communicate(timeout=TIMEOUT_S)
    assert stdout == "got 2\n"


def test_ctrl_c(env: dict[str, str], tmp_path: Path) -> None:
    """Ctrl-C reaches the job once, from the terminal; it ends as it does alone, and what was measured is reported."""
    path = tmp_path / "profile.json"
    job = [sys.executable, "-c", ENDLESS, "100000"]
    with Terminal(job, env=env) as alone, Terminal(under(*job, flags=("--json", str(path))), env=env) as terminal:
        for each in (alone, terminal):
            each.read(lambda seen: b"step 20\r" in seen.raw)
            each.type(b"\x03")
        assert terminal.end() == alone.end() != 0
        assert terminal.raw.count(b"KeyboardInterrupt") == alone.raw.count(b"KeyboardInterrupt") == 1
        assert b", stopped in " in terminal.raw
    profile = Profile.from_json(json.loads(path.read_text()))
    assert profile.state == "stopped"
    assert profile.ranks[0].figures["steps"].value >= 20


def test_a_terminal_stays_a_terminal(env: dict[str, str]) -> None:
    """The job's three streams are the user's own terminal, with its size and its process group in front."""
    look = (
        "import os; print('seen', [os.isatty(n) for n in (0, 1, 2)], *os.get_terminal_size(), "
        "os.tcgetpgrp(0) == os.getpgrp(), input())"
    )
    with Terminal(under(sys.executable, "-c", look), env=env, columns=93, lines=31) as terminal:
        terminal.type(b"typed\n")
        assert terminal.end() == 0
        assert b"seen [True, True, True] 93 31 True typed\r\n" in terminal.raw


def test_streams_that_are_none_stay_none(env: dict[str, str], tmp_path: Path) -> None:
    """A file stays the same file, and what stands in it stays."""
    out = tmp_path / "out"
    out.write_text("before\n")
    look = "import os; print(os.readlink('/proc/self/fd/1'), os.readlink('/proc/self/fd/0'))"
    with out.open("a") as file:
        subprocess.run(
            under(sys.executable, "-c", look),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.DEVNULL,
            check=True,
            timeout=TIMEOUT_S,
        )
    assert out.read_text() == f"before\n{out} /dev/null\n"


def test_stopped_and_continued(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    """Whether the group is stopped or suffice alone, it goes on where it was, and no signal is made up."""
    path = tmp_path / "profile.json"
    process = start(ENDLESS, "60", flags=("--json", str(path)))
    os.killpg(process.pid, signal.SIGSTOP)
    (job,) = children(process.pid)
    wait_for(lambda: state(process.pid) == "T" and state(job) == "T")
    os.killpg(process.pid, signal.SIGCONT)
    os.kill(process.pid, signal.SIGSTOP)
    wait_for(lambda: state(process.pid) == "T" and state(job) == "Z")
    os.kill(process.pid, signal.SIGCONT)
    stdout, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    assert stdout.endswith("step 59\nend\n")
    profile = Profile.from_json(json.loads(path.read_text()))
    assert profile.state == "finished"
    assert profile.ranks[0].figures["steps"].value == 60


def test_suffice_killed(start: Callable[..., subprocess.Popen[str]], env: dict[str, str]) -> None:
    """The job goes on when suffice is killed, and what was seen of it can be reported afterwards."""
    process = start(ENDLESS, "200")
    (job,) = children(process.pid)
    process.kill()
    process.wait(timeout=TIMEOUT_S)
    assert state(job) not in {"", "Z"}
    stdout, _ = process.communicate(timeout=TIMEOUT_S)
    assert stdout.endswith("step 199\nend\n")
    wait_for(lambda: state(job) in {"", "Z"})
    profile = reported(env)
    assert profile.state == "unfinished"
    assert profile.ranks[0].figures["steps"].value == 200
    assert any("suffice itself was killed" in note.text for note in profile.notes)


def reported(env: dict[str, str]) -> Profile:
    """The latest run."""
    command = [*suffice_command(), "report", "--json"]
    done = subprocess.run(command, env=env, check=True, capture_output=True, timeout=TIMEOUT_S)
    return Profile.from_json(json.loads(done.stdout))


def children(pid: int) -> list[int]:
    """The programs that a process has started; not what shares its own command line."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(word) for word in found if words(int(word)) != words(pid)]


def words(pid: int) -> bytes:
    """The command line of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def state(pid: int) -> str:
    """The letter that the kernel gives a process; nothing if it has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
