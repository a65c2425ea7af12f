"""Imports every module of the packages named on the command line and tells what an import did besides.

Run in a Python of its own: `python -B importing.py ROOT PACKAGE…`. Exit 1 with one line per act.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

ACTS = frozenset({
    "os.mkdir", "os.putenv", "os.remove", "os.rename", "os.rmdir", "os.system", "os.unsetenv", "shutil.rmtree",
    "socket.bind", "socket.connect", "socket.getaddrinfo", "subprocess.Popen",
})  # fmt: skip
FOREIGN = ("playbooks.connection.", "playbooks.library.")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def modules(root: Path, package: str) -> list[str]:
    """Dotted names of all files below a package; not what Ansible loads or a machine runs as a program of its own."""
    files = sorted((root / package).rglob("*.py"))
    parts = [file.relative_to(root).with_suffix("").parts for file in files if file.stem != "__main__"]
    names = [".".join(part[:-1] if part[-1] == "__init__" else part) for part in parts]
    return [name for name in names if not name.startswith(FOREIGN)]


def being_imported() -> str:
    """The file of the module whose body is running now: calls that it makes into libraries are its own."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    return frame.f_code.co_filename


def acts_of_importing(root: Path, names: list[str]) -> list[str]:
    """What importing `names` did to files, environment, processes or the network; not what libraries do to load."""
    found: list[str] = []

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in ACTS or (event == "open" and isinstance(args[2], int) and args[2] & WRITES):
            file = being_imported()
            if file.startswith(f"{root}/") and file != __file__:
                found.append(f"{file}: {event} {args}")

    sys.addaudithook(hook)
    for name in names:
        importlib.import_module(name)
    return found


def main() -> int:
    """Tell, and exit 1 where there is something to tell, or nothing was imported."""
    root, packages = Path(sys.argv[1]).resolve(), sys.argv[2:]
    sys.path.insert(0, str(root))
    found = {package: modules(root, package) for package in packages}
    empty = [f"{package}: there is nothing to import" for package, names in found.items() if not names]
    acts = acts_of_importing(root, [name for names in found.values() for name in names])
    print("\n".join([*empty, *acts, f"{sum(map(len, found.values()))} modules"]))
    return 1 if acts or empty else 0


if __name__ == "__main__":
    sys.exit(main())
