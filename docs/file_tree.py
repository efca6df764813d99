"""The repository's files -> the tree in README.md with a sentence a file: `python docs/file_tree.py` writes it anew.

A source file speaks for itself by the first line of its docstring; what has none is described here.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- files: written by docs/file_tree.py -->\n```text\n", "```\n<!-- end of files -->"
OTHERS = {
    "Makefile": "Sets up by itself: setup, demo, test, check, bench.",
    "pyproject.toml": "The package, its extras; the rules of ruff, mypy and pytest, each exception with its reason.",
    "constraints.txt": "The versions that were tried together, which `make` installs.",
    "CONTRIBUTING.md": "The rules of the house, and when a change is done.",
    "LOG.md": "What was tried and what it gave, what failed included.",
    "changelog.d/": "One sentence for each change that users notice.",
    "docs/concepts.md": "How suffice measures and what its figures mean.",
    "docs/improving.md": "How suffice tries changes, and what proves them.",
    "docs/guidance.md": "Each practice of the guidance: where it is, the test that holds it, and the figure.",
    "docs/dependencies.md": "Why each dependency, and not its rivals.",
    "docs/dependencies.d/": "The same for what is vendored.",
    "docs/reference/plan.md": "What plan.toml holds, and what may be edited in it.",
    "docs/reference/profile.md": "Every field of the JSON that suffice writes.",
    "docs/reference/settings.md": "suffice.toml, the options, the environment, the exit codes.",
    "docs/reference/tables.md": "The dated tables: columns, sources, licences, how to refresh them.",
    "examples/README.md": "The training program of the demo, its data and their licence.",
    "src/suffice/keep/profile.schema.json": "The JSON Schema of a profile.",
    "src/suffice/keep/report/assets/": "The page's own script and style, and the vendored uPlot that draws its curves.",
    "src/suffice/tables/*.csv": "The facts, each row with its source and its date.",
    "tests/": "The tests, in folders that mirror the rooms; tests/jobs holds the small programs that they measure.",
    "bench/results/": "What the benches printed: command, versions, spread.",
    "bench/data/": "Published figures that an estimate is held against.",
    ".ci/run": "What a fresh machine runs.",
}
LISTED = ("src", "bench", "docs", "examples")


def sentence(path: Path) -> str:
    """The first line of a Python file's docstring."""
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    return docstring.splitlines()[0] if docstring else ""


def entries() -> Iterator[tuple[str, str]]:
    """Each path, relative to the repository, with what it is."""
    found = dict(OTHERS)
    for folder in LISTED:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.name != "__init__.py" or path.parent.parent.name == "src":
                found[str(path.relative_to(ROOT))] = sentence(path)
            elif path.name == "__init__.py":
                found[f"{path.parent.relative_to(ROOT)}/"] = sentence(path)
    yield from sorted(found.items(), key=lambda entry: _order(entry[0]))


def _order(name: str) -> tuple[bool, list[tuple[bool, str]]]:
    """A folder's own line first, then its files, then its folders; what lies at the top comes last."""
    parts = name.split("/")
    folders, file = parts[:-1], parts[-1]
    return ("/" not in name or name.startswith("."), [*((True, folder) for folder in folders), (False, file)])


def tree() -> str:
    """The lines between the two marks of README.md."""
    rows = list(entries())
    width = max(len(name) for name, _ in rows)
    return "".join(f"{name:{width}}  {text}\n" for name, text in rows)


def main() -> None:
    """Write the tree into README.md."""
    readme = ROOT / "README.md"
    before, rest = readme.read_text().split(BEGIN)
    _, after = rest.split(END)
    readme.write_text(f"{before}{BEGIN}{tree()}{END}{after}")


if __name__ == "__main__":
    main()
