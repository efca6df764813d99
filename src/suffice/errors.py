"""What can go wrong that the user can mend; each message says what happened, what was found, and what to do next.

SufficeError            exit 2
├── CommandError        126/127   the user's command can't be started
├── RunUnknownError     2         no such run in the ledger
├── ChangeUnknownError  2         no such change in the catalogue
├── LedgerError         2         the ledger can't be read: newer schema, damaged, no permission
├── GoalError           2         suffice.toml or a flag asks for something that does not exist
├── PlanError           2         a plan.toml can't be read, or asks for something that does not exist
├── SandboxError        2         the user's files can't be kept as they are during trials
├── RigError            2         the job can't be tried: it makes no step, or not again
├── SearchVoidError     2         no change at all seemed to be a gain: the comparison itself is at fault
├── ModelError          2         a model, its samples or a bundle is not what it must be
└── MissingExtraError   2         an optional dependency is not installed
"""

from __future__ import annotations


class SufficeError(Exception):
    """The root: the command line prints the message, and a hint if there is one, and ends with `exit_code`."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        if exit_code is not None:
            self.exit_code = exit_code


class CommandError(SufficeError):
    """The user's command could not be started; `exit_code` is the one that shells use."""


class RunUnknownError(SufficeError):
    """A run was asked for that the ledger does not hold."""


class ChangeUnknownError(SufficeError):
    """A change was asked for that the catalogue does not hold; the hint lists those that it does."""


class LedgerError(SufficeError):
    """The ledger can't be read or written."""


class GoalError(SufficeError):
    """A goal names something that does not exist, or is out of bounds."""


class PlanError(SufficeError):
    """A plan can't be read, or names what this suffice does not know."""


class SandboxError(SufficeError):
    """Nothing here can keep the user's files as they are during a trial; the hint says how to allow it."""


class MissingExtraError(SufficeError):
    """An optional dependency is needed; the hint is its install command."""


class RigError(SufficeError):
    """The job can't be tried: it makes no step, or what could be switched on once can't be again."""


class SearchVoidError(SufficeError):
    """A change that changes nothing was found to make a difference, so no verdict of the search holds."""


class ModelError(SufficeError):
    """A model can't be loaded or judged, or a bundle is damaged or does not fit."""
