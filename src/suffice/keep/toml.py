"""Plain values -> TOML, which the standard library reads but does not write; what was read -> the line it stands on."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from suffice.errors import PlanError
from suffice.records import Figure

WIDTH = 118
BARE = re.compile(r"[A-Za-z0-9_-]+")
HEAD = re.compile(r"\s*\[{1,2}\s*([\w-]+)\s*\]{1,2}\s*(#.*)?")
SHORT = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
WORDS = {str: "text", int: "a whole number", float: "a number", dict: "a table", list: "a list"}


def key(name: str) -> str:
    """A key, in quotes where it needs them."""
    return name if BARE.fullmatch(name) else quoted(name)


def quoted(text: str) -> str:
    """A string on one line; what UTF-8 can't hold (bytes of a command that are no text) becomes a question mark."""
    return '"' + "".join(map(_escaped, text.encode("utf-8", "replace").decode())) + '"'


def literal(value: Any) -> str:
    """A value on one line; of a mapping, what is None is left out, because TOML has no such value.

    Raises:
        TypeError: if the value, or one within it, is of a kind that TOML does not have.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Mapping):
        pairs = [f"{key(str(name))} = {literal(each)}" for name, each in value.items() if each is not None]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return f"[{', '.join(map(literal, value))}]"
    raise TypeError(
        f"TOML has no {type(value).__name__}, found {value!r}; it has text, numbers, true, lists and tables"
    )


def comment(text: str, *, indent: str = "") -> list[str]:
    """The lines of a comment; control characters, which may not stand in one, are shown as their escapes."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    # Whatever isn't a plain blank keeps a name whole.
    lines = textwrap.wrap(shown, WIDTH - 2 - len(indent), break_long_words=False, break_on_hyphens=False)
    return [f"# {indent}{line}" for line in lines]


def _escaped(character: str) -> str:
    if character in SHORT:
        return SHORT[character]
    code = ord(character)
    # What can't be seen, or turns the direction of what can, is not for a file that people review.
    return character if character.isprintable() else f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


class Form:
    """What a plan's file may hold, and on which line it holds it; tomllib tells no lines of what it has read.

    A section is a table's name, empty for the top; of tables that come several times, with a number: `change 0`.
    """

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.lines = text.split("\n")  # the only ends of lines that TOML counts

    def at(self, section: str, name: str = "") -> str:
        """The file and the line of a key, else of its section's head, else the file alone."""
        found, current, changes = None, "", 0
        for number, line in enumerate(self.lines, start=1):
            head = HEAD.fullmatch(line)
            if head:
                current = head[1]
                if current == "change":
                    current, changes = f"change {changes}", changes + 1
                found = number if current == section else found
            elif (
                name
                and current == section
                and re.match(rf"\s*([\w-]+\s*\.\s*)*[\"']?{re.escape(name)}[\"']?\s*[.=]", line)
            ):
                return f"{self.file}, line {number}"
        return f"{self.file}, line {found}" if found else self.file

    def check(
        self, section: str, table: Any, allowed: Mapping[str, tuple[type, ...]], required: Sequence[str] = ()
    ) -> None:
        """Each key is allowed and of its kind, and none is missing."""
        what = section.split(maxsplit=1)[0] if section else "plan"
        if not isinstance(table, dict):
            raise PlanError(f"{self.at(section)}: a {what} is a table, found {table!r}")
        hint = f"it has {', '.join(allowed)}"
        for name, value in table.items():
            if name not in allowed:
                raise PlanError(f"{self.at(section, name)}: a {what} has no {name!r}", hint=hint)
            if type(value) not in allowed[name]:
                kinds = " or ".join(WORDS[kind] for kind in allowed[name])
                raise PlanError(f"{self.at(section, name)}: {name} must be {kinds}, found {value!r}")
        for name in required:
            if name not in table:
                raise PlanError(f"{self.at(section)}: the {what} lacks {name!r}", hint=hint)

    def texts(self, section: str, table: Mapping[str, Any], name: str) -> tuple[str, ...]:
        """A list of texts; empty where there is none."""
        values = table.get(name, [])
        for value in values:
            if not isinstance(value, str):
                raise PlanError(f"{self.at(section, name)}: {name} is a list of texts, found {value!r} in it")
        return tuple(values)

    def figure(self, section: str, table: Mapping[str, Any], name: str) -> Figure | None:
        """A figure; None where there is none."""
        if name not in table:
            return None
        try:
            return Figure.from_json(table[name])
        except (ValueError, TypeError, KeyError) as error:
            hint = f"it has {', '.join(each.name for each in fields(Figure))}"
            raise PlanError(f"{self.at(section, name)}: {name} is no figure: {error}", hint=hint) from error
