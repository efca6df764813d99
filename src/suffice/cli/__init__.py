"""The command line: `main` is what the program `suffice` runs."""

from suffice.cli.verbs import main

__all__ = ["main"]
