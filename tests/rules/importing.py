"""Imports every module of the packages named on the command line and reports each side effect of an import.

Run it in a separate Python: `python -B importing.py ROOT PACKAGE…`. It exits with 1 and prints one line per act.
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
FOREIGN = ("playbooks.connection.",)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def modules(root: Path, package: str) -> list[str]:
    """Return the dotted names of a package's files, without those that Ansible loads or a machine runs by itself."""
    files = sorted((root / package).rglob("*.py"))
    parts = [file.relative_to(root).with_suffix("").parts for file in files if file.stem != "__main__"]
    names = [".".join(part[:-1] if part[-1] == "__init__" else part) for part in parts]
    return [name for name in names if not name.startswith(FOREIGN)]


def being_imported() -> str:
    """Return the file of the module that is being loaded. Its calls into libraries count as its own acts."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    return frame.f_code.co_filename


def acts_of_importing(root: Path, names: list[str]) -> list[str]:
    """Import the modules. Return their acts on files, environment, processes and network, not those of libraries."""
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
    """Print all acts. Return 1 if there is an act, or a package without modules."""
    root, packages = Path(sys.argv[1]).resolve(), sys.argv[2:]
    sys.path.insert(0, str(root))
    found = {package: modules(root, package) for package in packages}
    empty = [f"{package}: it has no module to import" for package, names in found.items() if not names]
    acts = acts_of_importing(root, [name for names in found.values() for name in names])
    print("\n".join([*empty, *acts, f"{sum(map(len, found.values()))} modules"]))
    return 1 if acts or empty else 0


if __name__ == "__main__":
    sys.exit(main())
