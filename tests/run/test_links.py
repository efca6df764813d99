"""Processes that connect by themselves get the same orders, and are missed where they don't answer."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from suffice.errors import RigError
from suffice.run.background import Background
from suffice.run.links import JobEndedError, Links


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Background]:
    """Something that runs on."""
    running = Background(["sleep", "120"], {}, tmp_path / "output.txt")
    yield running
    running.stop()


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """Where ranks connect to."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        yield listener


def rank(path: Path, number: int, world: int = 2, *, here: int | None = None, answers: int = 100) -> None:
    """Answer so many orders with one's own number, in two pieces, then say nothing more until one is let go."""

    def answer() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link, link.makefile("r") as orders:
            link.connect(str(path))
            hello = {"rank": number, "world": world, "world_here": world if here is None else here}
            with suppress(OSError):  # let go
                link.sendall(json.dumps(hello).encode() + b"\n")
                for count, line in enumerate(orders):
                    if count < answers:
                        link.sendall(b'{"rank": ')
                        link.sendall(f'{number}, "of": {line.strip()}}}\n'.encode())

    threading.Thread(target=answer, daemon=True).start()


def test_all_get_the_order_and_answer_by_their_rank(process: Background, tmp_path: Path) -> None:
    """Whoever connected first."""
    path = tmp_path / "s"
    with listening(path) as listener:
        rank(path, 1)
        rank(path, 0)
        with closing(Links(process, listener)) as links:
            for steps in (1, 2):
                told = links.ask(do="run", steps=steps)
                assert [each["rank"] for each in told] == [0, 1]
                assert all(each["of"] == {"do": "run", "steps": steps} for each in told)


def test_a_rank_that_makes_no_step_where_another_does(process: Background, tmp_path: Path) -> None:
    """It is named; nobody waits for ever."""
    path = tmp_path / "s"
    with listening(path) as listener:
        rank(path, 0)
        rank(path, 1, answers=1)
        with closing(Links(process, listener, lag_s=0.3)) as links:
            links.ask(do="run", steps=1)
            with pytest.raises(RigError, match="rank 1 came to none"):
                links.ask(do="run", steps=1)


def test_ranks_on_other_machines_are_refused(process: Background, tmp_path: Path) -> None:
    """What a launcher tells of them is enough to know."""
    path = tmp_path / "s"
    with listening(path) as listener:
        rank(path, 0, world=16, here=8)
        with pytest.raises(RigError, match="16 ranks, 8 of them on this machine"):
            Links(process, listener)


def test_a_rank_that_does_not_train_is_missed(process: Background, tmp_path: Path) -> None:
    """Only after the time that the first step may take."""
    path = tmp_path / "s"
    with listening(path) as listener:
        rank(path, 0)
        with pytest.raises(RigError, match="of 2 ranks 1 began"):
            Links(process, listener, begin_s=0.5)


def test_the_end_of_one_is_the_end_of_all(process: Background, tmp_path: Path) -> None:
    """A rank that is gone answers nothing, and neither does a job that has ended."""
    path = tmp_path / "s"
    with listening(path) as listener:
        rank(path, 0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
            other.connect(str(path))
            other.sendall(b'{"rank": 1, "world": 2, "world_here": 2}\n')
            links = Links(process, listener)
        with pytest.raises(JobEndedError):
            links.ask(do="run", steps=1)
        links.close()
        process.stop()
        with pytest.raises(JobEndedError, match="exit code"):
            Links(process, listener)


def test_what_a_launcher_starts_in_sessions_of_its_own_is_ended_as_well(tmp_path: Path) -> None:
    """As the ranks of `torchrun` are."""
    folder = tmp_path / "pids"
    folder.mkdir()
    script = f'for n in 1 2; do setsid sh -c "echo \\$\\$ > {folder}/$n; sleep 120" & done; wait'
    running = Background(["sh", "-c", script], {"PATH": "/usr/bin:/bin"}, tmp_path / "output.txt")
    while len(told := [path.read_text() for path in folder.iterdir()]) < 2 or not all(told):
        pass
    running.stop()
    for pid in told:
        state = Path(f"/proc/{int(pid)}/stat")
        assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] in "ZX"
