"""Programs run unchanged under `suffice measure`, however they are started: same exit, same output, their own steps."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import JOBS, TIMEOUT_S, Measured, steady, suffice_command
from tests.programs.conftest import STEPS, TRAIN, check_split, python, the_rank

LOADER = ("wait_for_data", "forward", "backward", "optimiser")
Run = Callable[..., Measured]


def check(run: Measured, stdout: bytes) -> None:
    """One process trained, made the steps of `TRAIN`, and printed what is printed without suffice."""
    assert run.stdout == stdout, run.stderr
    rank = the_rank(run.profile)
    assert rank.figures["steps"].value == STEPS
    check_split(run.profile, rank, *LOADER)


def test_a_script(under: Run, trained: bytes, program: Path) -> None:
    """A script is measured where it lies: its steps, their parts, and what it trained."""
    run = under(python(program))
    check(run, trained)
    assert run.exit_code == 0
    assert run.profile.state == "finished"
    assert the_rank(run.profile).facts["models"] == ["Sequential"]
    assert the_rank(run.profile).facts["optimisers"] == ["SGD"]
    assert run.profile.target.command == (sys.executable, str(program))


def test_a_command_given_to_python(under: Run, trained: bytes) -> None:
    """`python -c` trains as a script does."""
    check(under(python("-c", TRAIN)), trained)


def test_a_program_from_standard_input(under: Run, trained: bytes) -> None:
    """Python reads its program from standard input, which is the job's own."""
    check(under(python("-"), stdin=TRAIN.encode()), trained)


def test_data_from_standard_input(under: Run, trained: bytes, tmp_path: Path) -> None:
    """A job gets every byte of standard input that it was sent, and its end."""
    path = tmp_path / "read.py"
    path.write_text("import hashlib, sys\nprint(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())\n" + TRAIN)
    sent = os.urandom(3_000_000)
    run = under(python(path), stdin=sent)
    check(run, f"{hashlib.sha256(sent).hexdigest()}\n".encode() + trained)


def test_a_package(under: Run, trained: bytes, tmp_path: Path) -> None:
    """`python -m package` finds the package in the folder that the job was started in."""
    package = tmp_path / "trainer"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(TRAIN)
    check(under(python("-m", "trainer"), cwd=tmp_path), trained)


def test_a_shell_script(under: Run, trained: bytes, program: Path, tmp_path: Path) -> None:
    """A shell script that calls Python between other things is measured through the shell."""
    script = tmp_path / "run.sh"
    script.write_text(f'#!/bin/sh\necho "begin $1"\n"{sys.executable}" "{program}" || exit 9\necho end\nexit 5\n')
    script.chmod(0o755)
    run = under([script, "a b"])
    check(run, b"begin a b\n" + trained + b"end\n")
    assert run.exit_code == 5


def test_its_own_sitecustomize(under: Run, trained: bytes, program: Path, tmp_path: Path) -> None:
    """A sitecustomize of the user's runs once, and what lies beside it on PYTHONPATH can be imported."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text(
        "import builtins, beside_it\nbuiltins.times = getattr(builtins, 'times', 0) + beside_it.ONE\n"
    )
    (own / "beside_it.py").write_text("ONE = 1\n")
    program.write_text("import sitecustomize\nprint(times, sitecustomize.__file__)\n" + TRAIN)
    run = under(python(program), env=steady({**os.environ, "PYTHONPATH": str(own)}))
    check(run, f"1 {own / 'sitecustomize.py'}\n".encode() + trained)


@pytest.mark.slow
def test_a_program_that_forks(under: Run, trained: bytes, tmp_path: Path) -> None:
    """A child that forks before the loop trains on its own, and is told as a process of its own."""
    path = tmp_path / "fork.py"
    path.write_text(
        "import os, sys, torch\n"
        "child = os.fork()\n"
        "if not child:\n    sys.stdout = open(os.devnull, 'w')\n"
        + TRAIN
        + "if child:\n    print(os.waitpid(child, 0)[1])\n"
    )
    run = under(python(path))
    assert run.stdout == trained + b"0\n"
    assert [rank.figures["steps"].value for rank in run.profile.ranks] == [STEPS, STEPS]
    assert len({rank.pid for rank in run.profile.ranks}) == 2


def test_a_program_that_forks_in_its_loop(under: Run, trained: bytes, tmp_path: Path) -> None:
    """A child forked in the middle of the loop, which leaves at once, takes nothing from the parent's record."""
    path = tmp_path / "fork.py"
    path.write_text(
        TRAIN.replace("for x, y", "import os\nfor x, y") + "    if not os.fork():\n        os._exit(0)\n    os.wait()\n"
    )
    check(under(python(path)), trained)


def test_a_program_that_fails(under: Run, trained: bytes, tmp_path: Path) -> None:
    """A crash keeps its exit code and its traceback, and the steps until then are told."""
    path = tmp_path / "crash.py"
    path.write_text(TRAIN + "    raise ValueError('on purpose')\n")
    run = under(python(path))
    assert run.exit_code == 1
    assert run.profile.state == "failed"
    assert the_rank(run.profile).figures["steps"].value == 1
    assert run.stdout == trained[: trained.index(b"\n") + 1]
    plain = subprocess.run(python(path), env=steady(), capture_output=True, timeout=TIMEOUT_S, check=False)
    assert run.stderr.startswith(plain.stderr.decode()), "the traceback is not what it is without suffice"


def test_a_program_that_leaves_with_its_own_code(under: Run, trained: bytes, tmp_path: Path) -> None:
    """Exit code 3 stays 3, and the report says so."""
    path = tmp_path / "three.py"
    path.write_text(TRAIN + "raise SystemExit(3)\n")
    run = under(python(path))
    check(run, trained)
    assert run.exit_code == run.profile.exit_code == 3
    assert run.profile.state == "failed"
    assert "failed in" in run.stderr
    assert "with exit code 3" in run.stderr


def test_much_output(tmp_path: Path) -> None:
    """A hundred megabytes of output arrive byte by byte, in order, through a pipe."""
    path = tmp_path / "loud.py"
    path.write_text(
        "import sys\nfor i in range(2000):\n    sys.stdout.buffer.write((b'%08d' % i) * 6250 + b'\\xff\\x00\\r\\n')\n"
    )
    wanted, found, length = hashlib.sha256(), hashlib.sha256(), 0
    for i in range(2000):
        wanted.update((b"%08d" % i) * 6250 + b"\xff\x00\r\n")
    with subprocess.Popen(
        [*suffice_command(), "measure", "--", *map(str, python(path))],
        env=steady({**os.environ, "SUFFICE_HOME": str(tmp_path / "home")}),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as job:
        assert job.stdout is not None
        while block := job.stdout.read(1 << 20):
            found.update(block)
            length += len(block)
    assert job.returncode == 0
    assert length == 2000 * (8 * 6250 + 4)
    assert found.digest() == wanted.digest()


def test_a_python_of_another_environment(under: Run, trained: bytes, program: Path, tmp_path: Path) -> None:
    """A job's own environment needs torch and nothing of suffice."""
    import torch

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "other"], check=True, timeout=TIMEOUT_S)
    other = tmp_path / "other" / "bin" / "python"
    (site,) = (tmp_path / "other" / "lib").glob("python*/site-packages")
    torch_only = tmp_path / "packages"
    torch_only.mkdir()
    for package in Path(torch.__file__).parents[1].iterdir():
        if not package.name.startswith(("suffice", "_editable_impl_suffice")) and package.suffix != ".pth":
            (torch_only / package.name).symlink_to(package)
    (site / "torch.pth").write_text(f"{torch_only}\n")
    absent = subprocess.run([other, "-c", "import suffice"], capture_output=True, timeout=TIMEOUT_S, check=False)
    assert b"No module named 'suffice'" in absent.stderr

    run = under([other, program])

    check(run, trained)
    assert the_rank(run.profile).facts["python"]


@pytest.mark.slow
def test_batches_cut_by_hand(beside: Run) -> None:
    """A loop in the manner of nanoGPT has no loader: its data are said to be not separable, its evaluation is told."""
    run = beside(python(JOBS / "nanogpt.py"))
    rank = the_rank(run.profile)
    assert rank.figures["steps"].value == 24
    assert rank.facts["optimisers"] == ["AdamW"]
    check_split(run.profile, rank, "forward", "backward", "optimiser")
    assert rank.figures["evaluation_s"].value > 0
    assert any(note.text.startswith("data: not separable") for note in run.profile.notes)


@pytest.mark.slow
def test_two_ranks(beside: Run) -> None:
    """`torchrun` starts two ranks: each has its steps and its split, and they are told apart."""
    torchrun = Path(sys.executable).with_name("torchrun")
    run = beside([torchrun, "--standalone", "--nproc-per-node", "2", JOBS / "ddp.py"])
    assert [rank.rank for rank in run.profile.ranks] == [0, 1]
    for rank in run.profile.ranks:
        assert rank.figures["steps"].value == 24
        check_split(run.profile, rank, *LOADER)
