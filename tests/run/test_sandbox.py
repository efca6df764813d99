"""A command in a sandbox works as it does alone, and whatever it writes, the user's files stay as they were."""

import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from suffice.errors import SandboxError
from suffice.run.mounts import Layout, Mount, layout, mounts, named
from suffice.run.sandbox import Sandbox, candidates, choose, first_that_works, probe, remove, scratch_in
from tests.conftest import JOBS, TIMEOUT_S

SOURCE = Path(__file__).parents[2] / "src"
LAYERS_OF_LANDLOCK = 16  # which the kernel permits
OVERLAYS, ALL = ("overlay as root", "overlay as user"), ("overlay as root", "overlay as user", "landlock")

SUFFICE = """
import os, sys
from pathlib import Path
from suffice.run.here import run_here
from suffice.run.sandbox import choose, scratch_in
with scratch_in(Path(sys.argv[1])) as scratch:
    sandbox = choose(scratch, folder=Path(sys.argv[2]))
    command, variables = sandbox.wrap(sys.argv[3:], os.environ)
    print(sandbox.kind, sandbox.own_user, flush=True)
    started = lambda pid: print(pid, flush=True)
    ended = run_here(command, variables, on_start=started, on_tick=lambda: None, tick_s=lambda: 0.1)
sys.exit(ended.exit_code)
"""
"""Takes a place for scratch folders, the folder of the command, and the command."""


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A home with a folder as people have it, full of what a job may change."""
    work = tmp_path / "home" / "project"
    (work / "data").mkdir(parents=True)
    (work / "old").mkdir()
    (work / "checkpoints").mkdir()
    for name in ("checkpoints/last.pt", "old.txt", "old/file", "settings.toml", "data/c.bin", "one_of_two_names"):
        (work / name).write_bytes(name.encode() * 10)
    (work / "train.log").write_text("epoch 0\n")
    (work / "data" / "array.bin").write_bytes(bytes(100_000))
    (work / "name, with: all\\sorts").write_text("x")
    os.link(work / "one_of_two_names", work / "the_other_name")
    (work / "link_to_data").symlink_to("data")
    with sqlite3.connect(work / "runs.db") as database:
        database.execute("create table runs (number)")
    database.close()
    return work


@pytest.fixture(params=ALL)
def sandbox(request: pytest.FixtureRequest, user: Path, tmp_path: Path) -> Sandbox:
    """Each way that works on this machine, for commands in the user's folder."""
    (tmp_path / "scratch").mkdir()
    for candidate in candidates(tmp_path / "scratch", folder=user):
        if request.param == candidate.kind + " as " * (candidate.kind == "overlay") + _as_whom(candidate):
            fault = probe(candidate)
            return pytest.skip(f"{candidate.reason}: {fault}") if fault else candidate
    return pytest.skip("only root has this way")


def _as_whom(candidate: Sandbox) -> str:
    return "" if candidate.kind == "landlock" else "user" if candidate.own_user else "root"


only_overlays = pytest.mark.parametrize("sandbox", OVERLAYS, indirect=True)
only_landlock = pytest.mark.parametrize("sandbox", ["landlock"], indirect=True)


def seen(folder: Path) -> dict[str, object]:
    """All that can be told of a tree: kinds, modes, owners, sizes, times, links, contents; not times of access."""
    found: dict[str, object] = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        content: object = None
        if stat.S_ISLNK(status.st_mode):
            content = path.readlink()
        elif stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        facts = (status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns, status.st_nlink)
        found[str(path.relative_to(folder))] = (*facts, status.st_ino, content)
    return found


def run(sandbox: Sandbox, *command: str, **options: object) -> subprocess.CompletedProcess[str]:
    """The command in the sandbox, to its end."""
    words, variables = sandbox.wrap(command, environment(sandbox))
    return subprocess.run(
        words, env=variables, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, **options
    )


def environment(sandbox: Sandbox) -> dict[str, str]:
    """With the home of the fixture."""
    return {**os.environ, "HOME": str(sandbox.folder.parent)}


@only_overlays
def test_whatever_a_job_writes_the_tree_stays(sandbox: Sandbox, user: Path) -> None:
    """The job reads back its own writes of every kind, and the user's tree is byte for byte as before."""
    before = seen(user.parent)
    done = run(sandbox, sys.executable, str(JOBS / "writes.py"))
    assert (done.stdout, done.stderr, done.returncode) == ("read back what was written\n", "", 0)
    assert seen(user.parent) == before
    assert run(sandbox, "cat", "train.log").stdout == "epoch 0\n", "a run saw what another wrote"
    sandbox.empty()
    assert list(sandbox.scratch.iterdir()) == []


def test_the_job_of_these_tests_changes_the_tree(user: Path) -> None:
    """Without a sandbox it does: the comparison above can fail."""
    before = seen(user.parent)
    command = [sys.executable, str(JOBS / "writes.py")]
    subprocess.run(command, cwd=user, env={**os.environ, "HOME": str(user.parent)}, check=True, capture_output=True)
    after = seen(user.parent)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert {
        "cache.txt",
        "project/runs.db",
        "project/data/c.bin",
        "project/data/array.bin",
        "project/old.txt",
    } <= changed


@only_overlays
@pytest.mark.parametrize("after_s", [0.05, 0.2, 0.5])
def test_killed_in_the_middle(sandbox: Sandbox, user: Path, after_s: float) -> None:
    """A job killed while it writes leaves nothing in the user's tree, and no mount."""
    before, mounted = seen(user.parent), Path("/proc/self/mountinfo").read_text()
    words, variables = sandbox.wrap([sys.executable, str(JOBS / "writes.py"), "--again"], environment(sandbox))
    with subprocess.Popen(words, env=variables, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        assert job.stdout.readline()
        time.sleep(after_s)
        assert job.poll() is None
        job.kill()
    assert seen(user.parent) == before
    assert Path("/proc/self/mountinfo").read_text() == mounted
    sandbox.empty()
    assert list(sandbox.scratch.iterdir()) == []


def test_suffice_killed_while_a_job_writes(user: Path, tmp_path: Path) -> None:
    """The job that outlives suffice keeps its scratch and spares the tree; the next suffice clears up after it."""
    place, mounted = tmp_path / "scratches", Path("/proc/self/mountinfo").read_text()
    before = seen(user.parent)
    job = [sys.executable, str(JOBS / "writes.py"), "--again"]
    variables = {**os.environ, "HOME": str(user.parent)}
    command = [sys.executable, "-c", SUFFICE, str(place), str(user), *job]
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if not process.stdout.readline().startswith("overlay"):
            process.kill()
            pytest.skip("no overlay on this machine")
        pid = int(process.stdout.readline())
        assert process.stdout.readline() == "read back what was written\n"
        process.kill()
        process.wait()
        with scratch_in(place):
            assert len(list(place.iterdir())) == 2, "the scratch of a job that runs was taken away"
        os.kill(pid, 0)
        assert seen(user.parent) == before
        os.kill(pid, signal.SIGKILL)
        assert process.stdout.read() == ""
    assert seen(user.parent) == before
    assert Path("/proc/self/mountinfo").read_text() == mounted
    with scratch_in(place) as scratch:
        assert list(place.iterdir()) == [scratch]
    assert list(place.iterdir()) == []


def test_exit_streams_and_process(sandbox: Sandbox, user: Path) -> None:
    """Exit code, standard streams, process id, group, folder, user and what it ignores are those of a command alone."""
    look = (
        "import os, sys; status = open('/proc/self/status').read().splitlines(); "
        "print(os.getpid(), os.getpgrp(), os.getsid(0), os.getcwd(), os.getuid(), os.geteuid(), os.getgid(), "
        "[line for line in status if line.startswith(('SigIgn', 'SigBlk'))], sys.stdin.read()); "
        "print('error', file=sys.stderr); sys.exit(7)"
    )
    words, variables = sandbox.wrap([sys.executable, "-c", look], environment(sandbox))
    found = []
    for command in (words, [sys.executable, "-c", look]):
        with subprocess.Popen(
            command,
            cwd=user,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            stdout, stderr = process.communicate("typed")
            found.append((stdout.replace(str(process.pid), "its own"), stderr, process.returncode))
    assert found[0] == found[1]
    assert found[0][1:] == ("error\n", 7)
    assert found[0][0].startswith("its own ")


def test_sigterm(sandbox: Sandbox) -> None:
    """A signal to the process reaches the command itself, which decides how it ends."""
    caught = "trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.02; done"
    for program, ends in (("echo ready; exec sleep 60", ("", -signal.SIGTERM)), (caught, ("caught\n", 3))):
        words, variables = sandbox.wrap(["sh", "-c", program], environment(sandbox))
        with subprocess.Popen(words, env=variables, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.terminate()
            assert (process.communicate(timeout=TIMEOUT_S)[0], process.returncode) == ends


@pytest.mark.parametrize(("name", "code"), [("no-such-command", 127), ("./train.log", 126)])
def test_a_command_that_cant_be_started(sandbox: Sandbox, name: str, code: int) -> None:
    """It ends as in a shell, with one line that says why."""
    done = run(sandbox, name)
    assert done.returncode == code
    assert done.stderr.startswith("suffice: ")
    assert name in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_stays_open(sandbox: Sandbox, user: Path, tmp_path: Path) -> None:
    """A folder that is to stay open is written in truth, wherever it lies; its neighbours are not."""
    (user / "spool").mkdir()
    (tmp_path / "other").mkdir()
    kept = (user / "spool", tmp_path / "other")
    open_one = Sandbox(
        kind=sandbox.kind,
        own_user=sandbox.own_user,
        reason="",
        scratch=sandbox.scratch,
        folder=user,
        stays_open=kept,
    )
    done = run(open_one, "sh", "-c", f"echo a > spool/a && echo b > {tmp_path}/other/b; echo c > c; echo d > ../d")
    assert done.returncode == 0 or sandbox.kind == "landlock"
    assert ((kept[0] / "a").read_text(), (kept[1] / "b").read_text()) == ("a\n", "b\n")
    assert not (user / "c").exists()
    assert not (user.parent / "d").exists()


@only_overlays
def test_what_lies_outside(sandbox: Sandbox, tmp_path: Path) -> None:
    """A folder that nothing named is not written either; one that the command names is covered and can be written."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    named_one = run(sandbox, "sh", "-c", 'echo x > "$0/x" && cat "$0/x"', str(elsewhere))
    assert named_one.stdout == "x\n"
    run(sandbox, "sh", "-c", f"cd {tmp_path}; cd elsewhere; echo x > x")
    assert list(elsewhere.iterdir()) == []
    places = [place for place in (Path("/"), *Path("/").iterdir()) if str(place) not in {"/dev", "/proc", "/sys"}]
    run(sandbox, "sh", "-c", 'for place; do echo x > "$place/suffice-test"; done', "sh", *map(str, places))
    assert [place for place in places if (place / "suffice-test").exists()] == []


@only_landlock
def test_landlock_refuses(sandbox: Sandbox, user: Path) -> None:
    """Nothing of the user's can be made, changed, renamed or removed; each attempt fails with an error."""
    before = seen(user.parent)
    attempts = (
        "echo x > new",
        "echo x >> train.log",
        "truncate -s 0 train.log",
        "rm old.txt",
        "mv old.txt older.txt",
        "mv old older",
        "mkdir new",
        "rmdir checkpoints",
        "ln -s data soft",
        "ln old.txt hard",
        "mkfifo pipe",
        "ln old.txt $TMPDIR/hard",
        "mv $TMPDIR/../tmp here",
    )
    done = run(sandbox, "sh", "-c", "\n".join(f"({each}) 2>&- && echo done '{each}'" for each in attempts) + "\ntrue")
    assert (done.stdout, done.returncode) == ("", 0)
    assert seen(user.parent) == before


@only_landlock
def test_landlock_leaves_a_place_for_temporary_files_and_caches(sandbox: Sandbox, user: Path) -> None:
    """Temporary files, caches, devices and the hand-over between worker processes work, and lie in the scratch."""
    program = (
        "import multiprocessing as m, os, pathlib, tempfile; "
        "homes = [os.environ[n] for n in ('TMPDIR', 'TORCH_HOME', 'HF_HOME', 'XDG_CACHE_HOME', 'TRITON_CACHE_DIR', "
        "'TORCHINDUCTOR_CACHE_DIR')]; [pathlib.Path(home, 'x').write_text('x') for home in homes]; "
        "open('/dev/null', 'w').write('x'); file = tempfile.NamedTemporaryFile(); "
        "lock = m.Lock(); q = m.Queue(); p = m.Process(target=q.put, args=('handed over',)); p.start(); "
        "print(q.get(), *homes, file.name, sep='\\n'); p.join()"
    )
    done = run(sandbox, sys.executable, "-W", "ignore", "-c", program, cwd=user)
    word, *paths = done.stdout.split()
    assert (word, done.stderr) == ("handed", "")
    assert all(Path(path).is_relative_to(sandbox.scratch) for path in paths[1:])


def nested(sandbox: Sandbox, times: int, command: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    """The command line inside as many sandboxes."""
    words = list(command)
    for _ in range(times):
        words, _ = sandbox.wrap(words, variables)
    return words


CHOOSE = """
import sys
from pathlib import Path
from suffice.errors import SandboxError
from suffice.run.sandbox import choose
try:
    sandbox = choose(Path(sys.argv[1]))
    print(sandbox.kind, sandbox.reason)
except SandboxError as error:
    print("refused", error, error.hint, sep="\\n")
"""


@only_landlock
def test_where_nothing_can_be_mounted(sandbox: Sandbox, tmp_path: Path) -> None:
    """Landlock is taken, and the reason says what the overlay ran into."""
    words = nested(sandbox, 1, [sys.executable, "-c", CHOOSE, "."], os.environ)
    done = subprocess.run(
        inside(words, tmp_path), env=os.environ, capture_output=True, text=True, check=True, timeout=TIMEOUT_S
    )
    assert done.stdout.startswith("landlock Landlock: all but a scratch place is read-only; not an overlay")
    assert "Operation not permitted" in done.stdout


@only_landlock
def test_where_nothing_works(sandbox: Sandbox, tmp_path: Path) -> None:
    """It is refused, with what each way ran into and what would allow one."""
    words = nested(sandbox, LAYERS_OF_LANDLOCK, [sys.executable, "-c", CHOOSE, "."], os.environ)
    done = subprocess.run(
        inside(words, tmp_path), env=os.environ, capture_output=True, text=True, check=True, timeout=TIMEOUT_S
    )
    refused, message, hint = done.stdout.splitlines()
    assert refused == "refused"
    assert message.startswith("a trial would write to your files, and nothing here can keep them as they are: an over")
    assert "Operation not permitted" in message
    assert "Landlock's rules: Argument list too long" in message
    assert "user.max_user_namespaces" in hint
    assert "Linux 6.2" in hint


def inside(words: Sequence[str], tmp_path: Path) -> list[str]:
    """The command with the innermost one in a folder that is open to all of them."""
    found = list(words)
    for index, word in enumerate(found):
        if word.startswith("{"):
            order = json.loads(word)
            found[index] = json.dumps({**order, "open": [*order["open"], str(tmp_path)], "folder": str(tmp_path)})
    return found


ON_TMPFS = """
import os, subprocess, sys
from pathlib import Path
outer = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "none", str(outer)], check=True)
inner = outer / "project" / "inner"
inner.mkdir(parents=True)
subprocess.run(["mount", "-t", "tmpfs", "none", str(inner)], check=True)
(inner / "file").write_text("before")
from suffice.run.sandbox import choose, scratch_in
with scratch_in(outer / "scratches") as scratch:
    sandbox = choose(scratch, folder=inner.parent)
    program = "cat inner/file; echo x > file; echo x > inner/file; cat file"
    words, variables = sandbox.wrap(["sh", "-c", program], os.environ)
    print(sandbox.kind, subprocess.run(words, env=variables, capture_output=True, text=True, check=True).stdout.split())
print(sorted(path.name for path in outer.rglob("*")), (inner / "file").read_text())
"""


def test_another_file_system(tmp_path: Path) -> None:
    """A file system mounted in the user's tree is covered like the tree, and so is one mounted in that one."""
    own = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    (tmp_path / "disk").mkdir()
    command = [*own, sys.executable, "-c", ON_TMPFS, str(tmp_path / "disk")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(done.stderr)
    assert done.stderr == ""
    assert done.stdout == "overlay ['beforex']\n['file', 'inner', 'project', 'scratches'] before\n"


def test_as_another_user(user: Path, tmp_path: Path) -> None:
    """A user without privileges, in a folder below those of others, has the same from the kernel's user namespaces."""
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    python = next((each for each in ("/usr/bin/python3", "/usr/local/bin/python3") if _can_run(nobody, each)), None)
    if python is None:
        pytest.skip("needs root, setpriv, and a Python 3.11 or later that others can reach")
    below = Path("/tmp") / f"suffice-test-{os.getpid()}"
    shutil.copytree(user.parent, below / "home", symlinks=True)
    try:
        below.chmod(0o755)
        shutil.copytree(SOURCE, below / "source", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(JOBS / "writes.py", below)
        for path in (below / "home", *(below / "home").rglob("*")):
            os.chown(path, 65534, 65534, follow_symlinks=False)
        before = seen(below / "home")
        variables = {"PATH": os.defpath, "HOME": str(below / "home"), "PYTHONPATH": str(below / "source")}
        place, work = below / "home" / "scratches", below / "home" / "project"
        command = [*nobody, python, "-B", "-c", SUFFICE, str(place), str(work), python, str(below / "writes.py")]
        done = subprocess.run(
            command, env=variables, capture_output=True, text=True, check=False, timeout=TIMEOUT_S, cwd=below
        )
        if not done.stdout.startswith("overlay"):
            pytest.skip(f"no user namespaces: {done.stdout}{done.stderr}")
        assert (done.stdout.splitlines()[-1], done.stderr, done.returncode) == ("read back what was written", "", 0)
        assert list(place.iterdir()) == []
        place.rmdir()
        after = seen(below / "home")
        assert {name: after[name] for name in after if name != "."} == {n: before[n] for n in before if n != "."}
    finally:
        remove(below)


def _can_run(nobody: Sequence[str], python: str) -> bool:
    if os.geteuid() != 0 or shutil.which("setpriv") is None or not Path(python).exists():
        return False
    command = [*nobody, python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    return subprocess.run(command, check=False, capture_output=True, cwd="/").returncode == 0


def test_removing_a_scratch(tmp_path: Path) -> None:
    """Folders that nobody may read go as well; what a symbolic link points to stays."""
    outside = tmp_path / "outside"
    (outside / "within").mkdir(parents=True)
    outside.chmod(0o750)
    scratch = tmp_path / "scratch"
    (scratch / "closed" / "deep").mkdir(parents=True)
    (scratch / "link").symlink_to(outside)
    (scratch / "closed").chmod(0)
    before = seen(outside)
    remove(scratch)
    assert not scratch.exists()
    assert seen(outside) == before


def test_what_does_not_keep_the_files_is_not_taken(user: Path, tmp_path: Path) -> None:
    """A sandbox whose command's writes appear outside fails its probe, and the trace is taken away again."""
    leaking = Sandbox(kind="overlay", reason="a leak", scratch=tmp_path, folder=user, stays_open=(user,))
    with pytest.raises(SandboxError, match="a leak: what is written inside"):
        first_that_works([leaking])
    assert [path.name for path in user.glob(".suffice-*")] == []


def test_choosing_here(user: Path, tmp_path: Path) -> None:
    """Whatever is chosen works, and says in words what it is."""
    before = seen(user)
    with scratch_in(tmp_path / "scratches") as scratch:
        sandbox = choose(scratch, folder=user)
        assert sandbox.reason
        run(sandbox, "sh", "-c", "echo x > x")
    assert seen(user) == before


def test_mounts_are_read() -> None:
    """Points with blanks are told as they are, the last of several in one place counts, read-only ones are known."""
    text = (
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "23 22 0:5 / /mnt/my\\040data rw - nfs server:/x rw,vers=4\n"
        "24 22 0:6 / /mnt/cd ro - iso9660 /dev/sr0 ro\n"
        "25 23 0:7 / /mnt/my\\040data rw - xfs /dev/sdb ro\n"
    )
    assert mounts(text) == [
        Mount(point="/", kind="ext4", read_only=False),
        Mount(point="/mnt/cd", kind="iso9660", read_only=True),
        Mount(point="/mnt/my data", kind="xfs", read_only=True),
    ]


def test_the_layers_of_a_user(user: Path) -> None:
    """The outermost folder of the user's own above one that matters is laid over; what is mounted in it follows."""
    there = [
        Mount(point="/", kind="ext4", read_only=False),
        Mount(point=str(user / "data"), kind="nfs", read_only=False),
        Mount(point="/proc", kind="proc", read_only=False),
    ]
    plan = layout(there, [str(user), "/proc", "/no/such"], whole=False)
    (layer,) = plan.layers
    assert user.is_relative_to(layer)
    assert plan == Layout(layers=(layer,), rebound=(str(user / "data"),), read_only=("/", str(user / "data")))
    assert layout(there, [str(user), str(user / "data")], whole=False).layers == (layer, str(user / "data"))


def test_the_layers_of_root() -> None:
    """As root every folder at the top and every file system is a layer, but no devices and nothing of the kernel's."""
    there = [
        Mount(point="/", kind="ext4", read_only=False),
        Mount(point="/dev", kind="devtmpfs", read_only=False),
        Mount(point="/usr", kind="squashfs", read_only=True),
    ]
    plan = layout(there, [], whole=True)
    assert {"/tmp", "/etc"} <= set(plan.layers)
    assert not {"/", "/dev", "/proc", "/sys", "/run", "/usr"} & set(plan.layers)
    assert plan.read_only == ("/",)


def test_what_a_command_names(user: Path) -> None:
    """Folders named by full paths in command or environment: alone, in lists, after `=`, as places of files."""
    command = ["train", str(user / "data" / "c.bin"), f"--out={user}/old", "relative/path", "/no/such/thing", "a\0/b"]
    found = named(command, {"LIST": f"{user}/checkpoints:/proc/self/nothing/there"})
    assert found == {str(user / "data"), str(user / "old"), str(user / "checkpoints")}
