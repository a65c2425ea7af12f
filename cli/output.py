"""Shared by all commands: options, messages on standard error, exit codes, the lab's network namespace."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from cli import run_log
from cli.json_output import print_json
from estate.loader import EstateError, load
from estate.model import Estate
from workstation import namespace
from workstation.errors import GovcloudError
from workstation.progress import say

INTERRUPTED = 130
logger = logging.getLogger(__name__)


class Lang(StrEnum):
    """Languages of texts for readers."""

    ZH = "zh"
    EN = "en"


Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, and messages on standard error.")
]
Language = Annotated[Lang, typer.Option("--lang", envvar="GOVCLOUD_LANG", help="Language of the output.")]


def named_path(text: str) -> Path:
    """Return the path of an option. Refuse an empty text, for example from an unset variable.

    An empty path would silently mean the current directory.
    """
    if not text:
        raise typer.BadParameter("is empty; name a file or a folder")
    return Path(text)


EstateFile = Annotated[
    Path | None,
    typer.Option(
        "--file", parser=named_path, metavar="PATH", help="Use another estate: a file or a folder.",
        show_default="the project's own",
    ),
]  # fmt: skip


@contextmanager
def error_boundary(as_json: bool = False, interrupted: str = "") -> Iterator[None]:
    """Convert errors to messages and exit codes, and end the run log if the command has started one.

    `interrupted` is the next step to print after Ctrl-C.
    """
    run_log.add_null_handler()
    code = 1
    try:
        with _messages(as_json, interrupted):
            yield
        code = 0
    except typer.Exit as ended:
        code = ended.exit_code
        raise
    except BrokenPipeError:
        raise
    except Exception:
        logger.exception("unexpected error")
        raise
    finally:
        run_log.finish(code)


@contextmanager
def _messages(as_json: bool, interrupted: str) -> Iterator[None]:
    try:
        yield
    except EstateError as error:
        lines = "".join(f"\n  {problem}" for problem in error.problems)
        message = f"the estate is invalid, {len(error.problems)} problem(s):{lines}"
        if error.waiting:
            message += f"\n  {error.waiting} rules cannot be checked before these are corrected"
        which = f" --file {shlex.quote(str(error.path))}" if error.path else ""
        next_step = f"nothing was changed; correct the files and run `./govcloud estate check{which}`"
        problems = [asdict(problem) for problem in error.problems]
        _fail(as_json, message, next_step, 1, problems=problems, rules_waiting=error.waiting)
    except GovcloudError as error:
        _fail(as_json, error.message, error.next_step, error.exit_code)
    except KeyboardInterrupt:
        next_step = interrupted or "no change is left half finished; run the same command again"
        _fail(as_json, "interrupted", next_step, INTERRUPTED)
    except BrokenPipeError:
        raise  # the reader of standard output has closed it, so a message would not arrive
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(
            as_json, f"{where}{error.strerror or error}", "check the path, its permissions and the free disk space", 1
        )


def _fail(as_json: bool, message: str, next_step: str, code: int, **more: Any) -> NoReturn:
    """Report the error that is being handled, and the run log that has its traceback, then exit."""
    logger.error("%s", message, exc_info=sys.exception())
    log = run_log.path()
    if as_json:
        named = {"log": str(log)} if log else {}
        with suppress(OSError):  # the error may be a full disk behind standard output
            print_json({"error": message, "next_step": next_step, "exit_code": code, **named, **more})
    say(f"govcloud: {message}")
    if next_step:
        say(f"  next: {next_step}")
    if log:
        say(f"  log: {log}")
    raise typer.Exit(code)


def load_estate(path: Path | None = None) -> Estate:
    """Load the estate. Raises EstateError (exit 1) with all problems of an invalid estate."""
    return load(path)


def need_root(what: str) -> None:
    """Raise GovcloudError without root, before anything is changed. `what` is the action that needs root."""
    if os.geteuid() != 0:
        raise GovcloudError(f"{what} needs root; nothing was changed", "run it with sudo, or as root")


def into_namespace(estate: Estate) -> None:
    """On a lab, put this process into the operator's namespace. No packet can leave the machine from there."""
    if not estate.lab or namespace.in_operator_namespace():
        return
    need_root("reaching the lab's hosts")
    if not namespace.exists():
        raise GovcloudError("no lab is up, so no host is reachable", "run `./govcloud lab up` first")
    namespace.enter()
