"""Logging of one command: `--verbose`, and a file with everything that the command did.

Only this module configures the standard `logging`. All other modules take a logger of their own and know no handler.

Commands that change something write a file, and so do `plan` and `drift`, which compare all hosts. The file is
`logs/<UTC>-<command>.log` in the operator's home, readable by its owner only. It has the version, the command line,
each event, an error with its traceback, and the exit code. It contains no environment and no secret (`redacted`), so
that the operator can mail it to a colleague. A command works the same if the file cannot be written.
"""

from __future__ import annotations

import getpass
import logging
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from workstation import paths, progress

PACKAGES = (
    "cli", "contracts", "estate", "facts", "failover", "lab", "monitors", "operations", "playbooks", "stacks", "tools",
    "workstation",
)  # fmt: skip
"""Our packages log from DEBUG. Libraries log from WARNING: their DEBUG records contain requests with credentials."""
KEPT = 50
"""Newest files that are kept."""
NAME = re.compile(r"\d{8}T\d{6}Z(-\d+)?-[a-z-]+\.log")
VERSION_WITHIN_S = 5.0
MASK = "[secret]"
_SECRETS = (
    (re.compile(r"-----BEGIN ([A-Z ]*)PRIVATE KEY-----.*?-----END \1PRIVATE KEY-----", re.DOTALL), MASK),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----((\s|\\n)*[A-Za-z0-9+/=]{16,})*"), MASK),  # a text that was cut
    (
        re.compile(r"(?i)\b(authorization[\"']?\s*[:=]\s*[\"']?(?:basic|bearer)\s+|bearer\s+)[\w.~+/=-]{8,}"),
        rf"\1{MASK}",
    ),
    (re.compile(r"(\w://[^/\s:@]*:)[^/\s@]+@"), rf"\1{MASK}@"),
    (
        re.compile(
            r"""(?ix) ( (?<![\w-]) [\w-]*
            (?: pass(?:word|phrase|wd) | secret | token | api_?key | private_?key | key-data ) s?
            (?: \\*["'] )? \s* [=:] (?!:) \s* )
            (?: \\+"[^"]*" | "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' | [^\s"',;)}\]]+ )"""
        ),
        rf"\1{MASK}",
    ),
)
"""Values that look like secrets. Our own code puts no secret in a message. This also covers the messages of programs
and libraries in an error's traceback."""

logger = logging.getLogger(__name__)


def redacted(text: str) -> str:
    """Return the text without private keys, credentials and values of fields that are named like a secret."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class _Formatter(logging.Formatter):
    """One record with its traceback, redacted. Times are UTC with milliseconds."""

    converter = staticmethod(time.gmtime)
    default_time_format, default_msec_format = "%Y-%m-%dT%H:%M:%S", "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        return redacted(super().format(record))


class _Handler(logging.StreamHandler[TextIO]):
    """Writes records as long as that works. A full disk or a closed terminal never disturbs the command."""

    broken = False

    def __init__(self, stream: TextIO, layout: str) -> None:
        super().__init__(stream)
        self.setFormatter(_Formatter(layout))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, unless an earlier one could not be written."""
        if not self.broken:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - `logging` calls this name
        """Stop writing."""
        self.broken = True


class _RunLog:
    """The handlers of this process. A command line has one run log at most."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self.file: _Handler | None = None
        self.console: _Handler | None = None


_STATE = _RunLog()


def add_null_handler() -> None:
    """Drop all records until there is a file or `--verbose`. Otherwise Python would print warnings."""
    root = logging.getLogger()
    if not any(isinstance(handler, logging.NullHandler) for handler in root.handlers):
        root.addHandler(logging.NullHandler())


def _attach(handler: logging.Handler) -> None:
    """Send all records to a handler, and let our packages make records from DEBUG."""
    add_null_handler()
    logging.getLogger().addHandler(handler)
    for package in PACKAGES:
        logging.getLogger(package).setLevel(logging.DEBUG)


def be_verbose() -> None:
    """Print all records on standard error. Events are there already, so they are not repeated."""
    if _STATE.console is not None:
        return
    _STATE.console = _Handler(sys.stderr, "%(asctime)s %(levelname)s %(name)s: %(message)s")
    _STATE.console.addFilter(lambda record: record.name != progress.__name__)
    _attach(_STATE.console)


def is_verbose() -> bool:
    """Return whether `--verbose` was given."""
    return _STATE.console is not None


def start(command: str) -> None:
    """Begin the run log of a command, after its arguments were checked.

    Without root there is no file: these commands then refuse to begin. If the file cannot be written, the command works
    without it.
    """
    if os.geteuid() != 0 or _STATE.file is not None:
        return
    folder = paths.home() / "logs"
    try:
        path, stream = _create(folder, command)
    except OSError as error:
        logger.warning("no run log: %s", error)
        return
    _STATE.path = path
    _STATE.file = _Handler(stream, "%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    _attach(_STATE.file)
    logger.info("govcloud %s, Python %s, %s", _version(), platform.python_version(), platform.platform())
    logger.info("command: %s", shlex.join(["./govcloud", *sys.argv[1:]]))
    logger.info("process %d of %s on %s, home %s", os.getpid(), _user(), platform.node(), paths.home())
    with suppress(OSError):
        prune(path)


def path() -> Path | None:
    """Return the file of this run, or None if there is no usable file."""
    return _STATE.path if _STATE.file is not None and not _STATE.file.broken else None


def finish(code: int) -> None:
    """Write the exit code and end the run log and `--verbose`, if they were begun."""
    logger.info("exit code %d", code)
    root = logging.getLogger()
    if _STATE.console is not None:
        root.removeHandler(_STATE.console)
    if _STATE.file is not None:
        root.removeHandler(_STATE.file)
        with suppress(OSError):
            _STATE.file.stream.close()
    _STATE.path = _STATE.file = _STATE.console = None


def prune(newest: Path) -> None:
    """Delete all but the newest `KEPT` run logs next to this one. Other files stay."""
    logs = sorted(file for file in newest.parent.iterdir() if NAME.fullmatch(file.name))
    for old in logs[:-KEPT]:
        if old != newest:
            old.unlink(missing_ok=True)


def _create(folder: Path, command: str) -> tuple[Path, TextIO]:
    """Create a file that no other command of the same second has. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    for file in _names(folder, command):
        with suppress(FileExistsError):
            return file, os.fdopen(os.open(file, flags, 0o600), "a", encoding="utf-8", errors="backslashreplace")
    raise FileExistsError(f"{folder} has too many files of this second")


def _names(folder: Path, command: str) -> Iterator[Path]:
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    words = command.replace(" ", "-")
    yield folder / f"{now}-{words}.log"
    yield from (folder / f"{now}-{number}-{words}.log" for number in range(2, 100))


def _version() -> str:
    """Return the checkout's commit, with `-dirty` if it is changed. It may belong to another user than root."""
    root = paths.repo()
    argv = ["git", "-c", f"safe.directory={root}", "describe", "--always", "--tags", "--dirty"]
    env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # do not write the index
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            argv, cwd=root, env=env, capture_output=True, text=True, timeout=VERSION_WITHIN_S, check=True
        )
        return done.stdout.strip()
    return "of an unknown commit"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
