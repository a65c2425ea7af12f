"""`python -m cli`, which `./govcloud` starts."""

from __future__ import annotations

import io
import os
import sys

COMPLETION_OPTIONS = frozenset({"--install-completion", "--show-completion"})


def program_name() -> str:
    """Return the command's name: as it is typed, or `govcloud` for shell completion.

    A shell completes a command by the part of its path after the last slash.
    """
    completes = "_GOVCLOUD_COMPLETE" in os.environ or COMPLETION_OPTIONS & set(sys.argv)
    return "govcloud" if completes else "./govcloud"


def main() -> None:
    """Start the command line. Ctrl-C ends it with exit code 130, also during the imports."""
    try:
        from cli.app import app  # noqa: PLC0415 - Ctrl-C may come while this imports

        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a file name may contain bytes that are not text
        app(prog_name=program_name())
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
