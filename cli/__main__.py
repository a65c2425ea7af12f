"""`python -m cli`: what `./govcloud` starts."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Start the command line; Ctrl-C ends it with 130 from its first moment on."""
    try:
        from cli.app import app

        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may hold bytes that are no text
        app(prog_name="./govcloud")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
