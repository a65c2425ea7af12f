"""How a command of this project starts another one."""

from __future__ import annotations

import sys


def module(name: str, *arguments: str) -> list[str]:
    """The command that runs a module with this interpreter, from this checkout.

    Without `-P` the current directory would come first on the path: whoever calls one checkout's `govcloud` while
    standing in another would be given the other's code and estate, halfway through.
    """
    return [sys.executable, "-P", "-m", name, *arguments]
