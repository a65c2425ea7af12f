"""Create the operator's Python environment. ./govcloud calls `main` with the distribution's Python and no libraries.

A virtual environment contains its own absolute path, so it cannot be built elsewhere and renamed. It is built in place
under a lock. The marker file is written last. Without it the next run starts again, from pip's cache.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

from workstation import file_lock

MARKER = ".complete"


def say(text: str) -> None:
    """Print one line for the operator on standard error."""
    print(text, file=sys.stderr, flush=True)


def distribution_warning(os_release: str) -> str:
    """Return a warning for untested systems, from the text of /etc/os-release; empty on Debian 12."""
    fields = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', os_release, flags=re.MULTILINE))
    if fields.get("ID") == "debian" and fields.get("VERSION_ID") == "12":
        return ""
    name = fields.get("PRETTY_NAME") or "this system"
    return f"untested: govcloud is tested on Debian 12, this is {name}."


def _report_waiting() -> None:
    say("  another run creates the same Python environment; waiting for it")


def install(environment: Path, requirements: Path) -> None:
    """Install the locked wheels and verify their hashes. Report the progress every few seconds."""
    total = sum(1 for line in requirements.read_text().splitlines() if re.match(r"\S+==", line))
    argv = [str(environment / "bin/python"), "-m", "pip", "install", "--require-hashes", "--no-deps", "--no-compile"]
    argv += ["--only-binary", ":all:", "--progress-bar", "off", "--disable-pip-version-check", "-r", str(requirements)]
    seen, last = 0, time.monotonic()
    tail: list[str] = []
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            if "Retrying" not in line:
                tail = [*tail[-3:], line.rstrip()]
            seen += line.startswith("Collecting ")
            if time.monotonic() - last > 5:
                say(f"  {seen} of {total} packages fetched")
                last = time.monotonic()
    if pip.returncode:
        say("\n".join(f"  pip: {line}" for line in tail))
        raise SystemExit(
            "govcloud: the Python packages could not be installed: does a package index answer?\n"
            "  next: check pip's configuration and proxy; the unfinished environment was removed"
        )


def make(environment: Path, requirements: Path) -> None:
    """Create `environment` unless it is complete."""
    start = time.monotonic()
    with file_lock.wait_for(environment.with_name(environment.name + ".lock"), _report_waiting):
        if (environment / MARKER).exists():
            return
        if warning := distribution_warning(_os_release()):
            say(warning)
        say("▸ Python environment with pinned libraries (about 30 s)")
        shutil.rmtree(environment, ignore_errors=True)
        venv.create(environment, symlinks=True, with_pip=True)
        try:
            install(environment, requirements)
        except SystemExit:
            shutil.rmtree(environment, ignore_errors=True)
            raise
        (environment / MARKER).write_text("")
        say(f"  Python environment: done in {time.monotonic() - start:.0f} s")


def _os_release() -> str:
    try:
        return Path("/etc/os-release").read_text()
    except OSError:
        return ""


def main() -> int:
    """Make the environment of the arguments `DIRECTORY REQUIREMENTS`. Return the exit code."""
    os.environ.pop("PYTHONPATH", None)
    try:
        make(Path(sys.argv[1]), Path(sys.argv[2]))
    except KeyboardInterrupt:
        say("  interrupted; the next run continues")
        return 130
    except OSError as error:
        say(f"govcloud: the Python environment cannot be written: {error.strerror}: {error.filename}")
        say("  next: repair that, or use a writable place with 1 GB free: GOVCLOUD_CACHE=DIRECTORY ./govcloud ...")
        return 1
    except subprocess.CalledProcessError as error:
        say(f"govcloud: the Python environment could not be created ({error.cmd[0]} ended with {error.returncode})")
        say(f"  next: check that {sys.argv[1]} has 1 GB free and that the machine reaches its PyPI mirror")
        return 1
    return 0
