"""Errors that end a command. The command prints the message and the next step, without a traceback."""

from __future__ import annotations

from collections.abc import Iterable


class GovcloudError(Exception):
    """An operation failed. `next_step` is the operator's next action."""

    exit_code = 1

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.message, self.next_step = message, next_step

    def __str__(self) -> str:
        return f"{self.message}\n{self.next_step}" if self.next_step else self.message


class WrongUse(GovcloudError):
    """An unknown name, a wrong option, or a missing confirmation."""

    exit_code = 2


class ObjectiveMissed(GovcloudError):
    """The operation was measured and is slower or less available than promised."""

    exit_code = 5


class Refused(GovcloudError):
    """A safety rule forbids the operation."""

    exit_code = 6


class RolledBack(GovcloudError):
    """A drill stopped early, and all its changes were undone."""

    exit_code = 7


class Locked(GovcloudError):
    """Another operator holds the lock. The message names the operator and the start time."""

    exit_code = 8


class ChangesPending(GovcloudError):
    """The estate differs from its declaration."""

    exit_code = 10


def validated_choice(name: str, names: Iterable[str], what: str) -> str:
    """Return `name` if it is one of `names`. Otherwise raise `WrongUse` that lists them."""
    listed = list(names)
    if name not in listed:
        raise WrongUse(f"unknown {what} {name!r}", f"known: {', '.join(listed)}")
    return name
