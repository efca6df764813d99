"""The house's rules that a program can hold: who imports whom, sizes, names, docstrings, and nobody's own folders."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "suffice"
# Each imports only those behind it; those of one step know each other not at all.
ROOMS = (
    "cli",
    "loop",
    "keep",
    "prove",
    "change",
    "diagnose",
    "measure",
    "run",
    "form",
    "agent",
    "aws",
    "tables",
    "goal",
    "records",
    "errors",
)
OWNERS = {
    "boto3": ("aws/",),
    "botocore": ("aws/",),
    "torch": ("agent/", "form/", *("change/model/", "measure/model/", "prove/model/")),
}
# The name under which the agent is staged.
STAGED = "suffice_agent"
OF_ALL, OF_THE_PACKAGE = {"suffice.__version__"}, ("__init__", "form")
FILE_LINES, FUNCTION_LINES, MODULES = 400, 50, 12
OWN_OF_CHANGE = {"change/__init__.py", "change/catalog.py", "change/models.py"}
OF_MODELS = "change/model/"
# The agent is staged into the user's process as one flat package, so it can't split into rooms of its own.
MODULES_OF = {"agent": 18}
EMPTY_WORDS = {"utils", "util", "common", "core", "base", "helpers", "helper", "manager", "misc"}
OWN_FOLDER = re.compile(r"(?<![\w.~$}])/(work|root|Users)/")
TEXT = {".py", ".md", ".toml", ".csv", ".json", ".jsonl", ".txt", ".html", ".css", ".js", ".yml", ".yaml", ""}

Checker = Callable[[str, ast.Module], Iterator[str]]


def room_of(path: str) -> str:
    """The room of a file, given its path under src/suffice."""
    return path.split("/", maxsplit=1)[0].removesuffix(".py")


def imported(tree: ast.Module, path: str) -> Iterator[tuple[int, str]]:
    """Line and full name of what a file imports, wherever in it; relative names are resolved."""
    package = ["suffice", *path.split("/")[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def imports_upwards(path: str, tree: ast.Module) -> Iterator[str]:
    """A room imports itself and those below it; the bare package gives its version to the command line alone."""
    ours = room_of(path)
    for line, name in imported(tree, path):
        words = name.split(".")
        theirs = words[1] if len(words) > 1 else "suffice itself"
        if words[0] != "suffice" or ours == "__main__" or name in OF_ALL or (ours, theirs) == OF_THE_PACKAGE:
            continue
        if theirs not in ROOMS:
            yield f"{path}:{line} imports {name}, which is no room"
        elif ours not in ROOMS:
            yield f"{path}:{line}: {ours} is no room: add it to ROOMS, in its place"
        elif ROOMS.index(theirs) < ROOMS.index(ours):
            yield f"{path}:{line}: {ours} imports {theirs}, which lies above it"


def imports_of_others(path: str, tree: ast.Module) -> Iterator[str]:
    """boto3 is for aws, torch for the agent and for what runs beside a model in a process of its own."""
    for line, name in imported(tree, path):
        owners = OWNERS.get(name.split(".")[0])
        if owners is not None and not path.startswith(owners):
            yield f"{path}:{line} imports {name}, which only {', '.join(owners)} may"


def rides_along(path: str) -> bool:
    """Whether the file is staged into the user's process: the agent, and the techniques but not their catalogue."""
    if path in OWN_OF_CHANGE or path.startswith(OF_MODELS):
        return False
    return room_of(path) in {"agent", "change"}


def only_for_types(tree: ast.Module) -> set[ast.AST]:
    """What lies below `if TYPE_CHECKING`, which no interpreter runs."""
    tests = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    return {within for node in tests for within in ast.walk(node)}


def imports_into_the_job(path: str, tree: ast.Module) -> Iterator[str]:
    """What is staged imports the standard library, torch, and itself by relative names: there it has another name."""
    if not rides_along(path):
        return
    spared = only_for_types(tree)
    for node in ast.walk(tree):
        if node in spared:
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [] if 0 < node.level <= path.count("/") else [str(node.module)]
        for name in names:
            if name.split(".")[0] not in {"torch", STAGED, *sys.stdlib_module_names}:
                yield f"{path}:{node.lineno} imports {name} into the user's job"


def syntax_of_later_pythons(path: str, tree: ast.Module) -> Iterator[str]:
    """What is staged parses as Python 3.9."""
    if not rides_along(path):
        return
    try:
        ast.parse(ast.unparse(tree), feature_version=(3, 9))
    except SyntaxError as error:
        yield f"{path}: {error.msg}"


def long_functions(path: str, tree: ast.Module) -> Iterator[str]:
    """A function has 50 lines at most."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{path}:{node.lineno} {node.name} has {lines} lines, {FUNCTION_LINES} are allowed"


def missing_docstrings(path: str, tree: ast.Module) -> Iterator[str]:
    """Modules and public classes have a docstring, and outside the agent public functions and methods as well."""
    if path != "__init__.py" and not ast.get_docstring(tree):
        yield f"{path} has no docstring: what goes in, what comes out?"
    yield from _undocumented(path, tree)


def _undocumented(path: str, within: ast.Module | ast.ClassDef) -> Iterator[str]:
    for node in within.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        owed = isinstance(node, ast.ClassDef) or room_of(path) != "agent"
        if owed and not ast.get_docstring(node):
            yield f"{path}:{node.lineno} {node.name} has no docstring"
        if isinstance(node, ast.ClassDef):
            yield from _undocumented(path, node)


CHECKERS: tuple[Checker, ...] = (
    imports_upwards,
    imports_of_others,
    imports_into_the_job,
    syntax_of_later_pythons,
    long_functions,
    missing_docstrings,
)


def sizes_and_names(files: dict[str, str]) -> Iterator[str]:
    """Files to 400 lines, rooms to 12 modules, and no name that says nothing."""
    rooms: dict[str, int] = {}
    for path, text in files.items():
        lines = len(text.splitlines())
        if lines > FILE_LINES:
            yield f"{path} has {lines} lines, {FILE_LINES} are allowed"
        *folders, name = path.removesuffix(".py").split("/")
        yield from (f"{path}: {word} says nothing" for word in (*folders, name) if word in EMPTY_WORDS)
        if name != "__init__" and folders:
            room = "/".join(folders)
            rooms[room] = rooms.get(room, 0) + 1
    for room, count in rooms.items():
        if count > MODULES_OF.get(room, MODULES):
            yield f"{room} has {count} modules, {MODULES_OF.get(room, MODULES)} are allowed: split it"


def own_folders(name: str, text: str) -> Iterator[str]:
    """Folders that only one machine has are no part of the product."""
    for number, line in enumerate(text.splitlines(), start=1):
        if found := OWN_FOLDER.search(line):
            yield f"{name}:{number} names a folder of one machine: …{line[found.start() : found.end() + 20]}"


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    """Every module of the product: path under src/suffice, and its text."""
    found = {str(path.relative_to(SOURCE)): path.read_text() for path in sorted(SOURCE.rglob("*.py"))}
    assert len(found) > 50, "the sources were not found"
    return found


@pytest.mark.parametrize("checker", CHECKERS, ids=lambda checker: checker.__name__)
def test_the_sources_keep_the_rule(checker: Checker, files: dict[str, str]) -> None:
    """No file of the product breaks the rule."""
    assert [fault for path, text in files.items() for fault in checker(path, ast.parse(text))] == []


def test_sizes_and_names_are_kept(files: dict[str, str]) -> None:
    """No file and no room is too large, and every name says something."""
    assert list(sizes_and_names(files)) == []


def test_every_room_is_in_the_order(files: dict[str, str]) -> None:
    """The order names the rooms that there are, as CONTRIBUTING.md does."""
    rooms = {room_of(path) for path in files} - {"__init__", "__main__"}
    assert rooms == set(ROOMS)
    assert " > ".join(ROOMS) in (ROOT / "CONTRIBUTING.md").read_text()


def test_no_committed_text_names_a_folder_of_one_machine() -> None:
    """What is committed speaks of the product alone."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout: which files are committed can't be told")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in names.split("\0") if name and Path(name).suffix in TEXT]
    texts = [(str(p.relative_to(ROOT)), p.read_text(errors="replace")) for p in paths if p.is_file()]
    assert [fault for name, text in texts for fault in own_folders(name, text)] == []


LONG = "def long():\n" + "    x = 1\n" * 50

VIOLATIONS = [
    (imports_upwards, "tables/x.py", "from suffice.measure.job import TREE"),
    (imports_upwards, "records/figures.py", "def f():\n    import suffice.cli"),
    (imports_upwards, "agent/x.py", "from ..measure import job"),
    (imports_upwards, "cli.py", "from suffice import measure_it"),
    (imports_upwards, "cli.py", "import suffice"),
    (imports_upwards, "attic/x.py", "import suffice.records"),
    (imports_of_others, "loop.py", "import boto3"),
    (imports_of_others, "keep/x.py", "from botocore.client import Config"),
    (imports_of_others, "measure/x.py", "def f():\n    from torch import nn"),
    (imports_into_the_job, "agent/x.py", "import numpy"),
    (imports_into_the_job, "agent/x.py", "from suffice.agent import phases"),
    (imports_into_the_job, "agent/x.py", "from ..errors import SufficeError"),
    (syntax_of_later_pythons, "agent/x.py", "match 1:\n    case 1:\n        pass"),
    (long_functions, "loop.py", LONG),
    (missing_docstrings, "loop.py", "X = 1"),
    (missing_docstrings, "loop.py", '"""A."""\ndef f(): pass'),
    (missing_docstrings, "agent/x.py", '"""A."""\nclass C: pass'),
    (missing_docstrings, "loop.py", '"""A."""\nclass C:\n    """C."""\n    def f(self): pass'),
]
ALLOWED = [
    (imports_upwards, "measure/x.py", "from suffice.agent.phases import NAMES\nfrom . import job"),
    (imports_upwards, "cli.py", "from suffice import __version__\nfrom suffice.loop.measuring import measure"),
    (imports_of_others, "aws/x.py", "import boto3"),
    (imports_of_others, "agent/x.py", "import torch.utils.data"),
    (imports_into_the_job, "agent/x.py", "import os, torch\nfrom . import phases\nfrom .spool import Spool"),
    (imports_into_the_job, "loop.py", "import numpy"),
    (long_functions, "loop.py", LONG.removesuffix("    x = 1\n")),
    (missing_docstrings, "agent/x.py", '"""A."""\ndef f(): pass'),
    (missing_docstrings, "loop.py", '"""A."""\ndef _f(): pass\nclass _C: pass'),
]


@pytest.mark.parametrize(("checker", "path", "text"), VIOLATIONS)
def test_a_violation_is_found(checker: Checker, path: str, text: str) -> None:
    """Each checker finds a small made-up fault, and says in which file."""
    faults = list(checker(path, ast.parse(text)))
    assert faults
    assert all(fault.startswith(path) for fault in faults)


@pytest.mark.parametrize(("checker", "path", "text"), ALLOWED)
def test_what_is_allowed_is_not_blamed(checker: Checker, path: str, text: str) -> None:
    """No checker cries wolf."""
    assert list(checker(path, ast.parse(text))) == []


@pytest.mark.parametrize(
    "files",
    [{"loop.py": "\n" * 401}, {"keep/utils.py": ""}, {"core/x.py": ""}, {f"run/m{i}.py": "" for i in range(13)}],
    ids=["long", "name", "room's name", "many"],
)
def test_sizes_and_names_can_fail(files: dict[str, str]) -> None:
    """A file too long, a name that says nothing and a room too full are each found."""
    assert len(list(sizes_and_names(files))) == 1


def test_a_folder_of_one_machine_is_found() -> None:
    """A folder at the root is found; addresses, and folders under another, are not."""
    for folder in ("work", "root", "Users"):
        (fault,) = own_folders("a.md", f"one\nrun `/{folder}/me/x`\n")
        assert fault.startswith("a.md:2")
        assert list(own_folders("a.md", f"https://a.org/{folder}/x ~/{folder}/y $HOME/{folder}/z")) == []
