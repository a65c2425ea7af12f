"""All checks that need no test run: lint, format, types, imports, dead code, Go format, shell scripts, private keys.

`python -m tools.lint` runs all of them, `python -m tools.lint ruff types` only the named ones. The Makefile, the git
hooks in `tools/git-hooks` and `.pre-commit-config.yaml` call this module, so that each check is defined once. A check
whose program is not on this machine is skipped with a line: gofmt and shellcheck are not part of the environment.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from workstation import paths
from workstation.progress import say

BIN = Path(sys.executable).parent
PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----\s*[A-Za-z0-9+/=]{16}")
"""The header with the begin of a key's Base64 text: documents and programs may name the header."""

Check = Callable[[Path], bool]
"""Returns whether the checkout passes. Prints each problem."""


def _runs(*argv: str | Path) -> Check:
    def passes(folder: Path) -> bool:
        return subprocess.run(argv, cwd=folder, check=False).returncode == 0

    return passes


def gofmt(folder: Path) -> bool:
    """Return whether `gofmt` would change no Go file. Use the one next to setup's compiler, or one on the path."""
    with_compiler = paths.compiler().resolve().with_name("gofmt")
    program = str(with_compiler) if with_compiler.exists() else shutil.which("gofmt")
    files = [name for name in listed(folder) if name.endswith(".go")]
    if not program or not files:
        return _skipped("gofmt", program)
    done = subprocess.run([program, "-l", *files], cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="")
    return done.returncode == 0 and not done.stdout


def shellcheck(folder: Path) -> bool:
    """Return whether `shellcheck` accepts every file that begins with a shell's `#!`."""
    program = shutil.which("shellcheck")
    files = [name for name in listed(folder) if _is_shell(folder / name)]
    if not program or not files:
        return _skipped("shellcheck", program)
    return _runs(program, *files)(folder)


def private_keys(folder: Path) -> bool:
    """Return whether every file that is or could be committed is free of private keys in PEM."""
    hits = [name for name in listed(folder) if PRIVATE_KEY.search((folder / name).read_bytes())]
    for name in hits:
        print(f"{name}: contains a private key; remove it, and replace the key if it was ever pushed")
    return not hits


def listed(folder: Path) -> list[str]:
    """Return the files that git tracks, and new files that it does not ignore."""
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(argv, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    return [name for name in done.stdout.split("\0") if name and (folder / name).is_file()]


def _is_shell(file: Path) -> bool:
    with file.open("rb") as stream:
        return re.match(rb"#!.*\b(ba|da)?sh\b", stream.readline(80)) is not None


def _skipped(name: str, program: str | None) -> bool:
    say(f"! {name} skipped: {'it has no files to read' if program else 'it is not installed'}")
    return True


CHECKS: dict[str, Check] = {
    "private-keys": private_keys,
    "ruff": _runs(sys.executable, "-m", "ruff", "check", "."),
    "format": _runs(sys.executable, "-m", "ruff", "format", "--check", "."),
    "types": _runs(sys.executable, "-m", "mypy"),
    "imports": _runs(BIN / "lint-imports", "--no-cache"),
    "dead-code": _runs(sys.executable, "-m", "vulture"),
    "gofmt": gofmt,
    "shellcheck": shellcheck,
}


def main(names: Sequence[str], folder: Path | None = None) -> int:
    """Run the named checks, or all. Returns 0 if all pass, 1 if one fails, 2 for an unknown name."""
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        say(f"unknown check {unknown[0]!r}; known checks: {', '.join(CHECKS)}")
        return 2
    failed = []
    for name in names or CHECKS:
        say(f"▸ {name}")
        if not CHECKS[name](folder or paths.repo()):
            failed.append(name)
    if failed:
        say(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
