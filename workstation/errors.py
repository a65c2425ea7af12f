"""What a command ends with when it cannot do what was asked: message and next step are printed, no traceback."""

from __future__ import annotations


class GovcloudError(Exception):
    """Something failed. `next_step` tells the operator what to do now."""

    exit_code = 1

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.message, self.next_step = message, next_step

    def __str__(self) -> str:
        return f"{self.message}\n{self.next_step}" if self.next_step else self.message


class WrongUse(GovcloudError):
    """An unknown name, a wrong option, or a confirmation was needed."""

    exit_code = 2


class ObjectiveMissed(GovcloudError):
    """Done and measured, but slower or less available than promised."""

    exit_code = 5


class Refused(GovcloudError):
    """A safety rule forbids it."""

    exit_code = 6


class RolledBack(GovcloudError):
    """It failed half-way and what was changed has been restored."""

    exit_code = 7


class Locked(GovcloudError):
    """Someone else is at it; the message says who and since when."""

    exit_code = 8


class ChangesPending(GovcloudError):
    """The estate differs from what is declared."""

    exit_code = 10
