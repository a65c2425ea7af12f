"""A setup that is ended in the middle of a build: the next goes on where it was, and no half program is in place."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.polling import until
from tools import golang
from workstation import paths

SETUP = """
import sys
from pathlib import Path
from tools import golang
from workstation import file_lock, paths
one = golang.Build(name="program", folder=sys.argv[1], package="example/program", expected_s=1)
with file_lock.wait_for(paths.cache() / "setup.lock", print):
    golang.build(one, Path(sys.argv[2]), print)
assert one.ready
"""
TOOL = """#!/bin/sh
case "$1 $2" in *"/compile -V=full") ;; */compile*)
    echo "$TOOLEXEC_IMPORTPATH" >> "$TEST_FOLDER/compiled"
    [ "$TOOLEXEC_IMPORTPATH" = example/program/last ] && flock --shared "$TEST_FOLDER/hold" true ;;
esac
exec "$@"
"""
"""Wraps each tool of the compiler, and blocks at the last package until the test releases it."""
MODULE = {
    "go.mod": "module example/program\n\ngo 1.24\n",
    "go.sum": "",
    "main.go": 'package main\n\nimport "example/program/last"\n\nfunc main() { last.Say() }\n',
    "last/last.go": 'package last\n\nimport "example/program/first"\n\nfunc Say() { println(first.Word) }\n',
    "first/first.go": 'package first\n\nconst Word = "built"\n',
}
LONG_S = 300.0
AT_ONCE = 2
"""Packages that the compiler has in hand: no others are lost."""


class Setup:
    """An operator's `setup` of one program, with a cache of its own."""

    def __init__(self, folder: Path, go: Path) -> None:
        self.folder, self.program = folder, folder / "cache" / "artifacts" / "program"
        for name, text in {**MODULE, "tool": TOOL, "hold": "", "tmp/empty": ""}.items():
            path = folder / ("module" if name in MODULE else "") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (folder / "tool").chmod(0o755)
        self._argv = [sys.executable, "-c", SETUP, str(folder / "module"), str(go)]
        self._environment = {
            **{name: value for name, value in os.environ.items() if name not in ("GOCACHE", "GOMODCACHE")},
            "GOVCLOUD_CACHE": str(folder / "cache"),
            "GOFLAGS": f"-p={AT_ONCE} -toolexec={folder / 'tool'}",
            "PYTHONPATH": str(paths.repo()),
            "TEST_FOLDER": str(folder),
            "TMPDIR": str(folder / "tmp"),
        }

    def begin(self) -> subprocess.Popen[str]:
        """In a process group of its own, as a shell would."""
        return subprocess.Popen(
            self._argv,
            env=self._environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def compiled(self) -> list[str]:
        """Packages whose compilation has begun, in all runs since the file was removed."""
        path = self.folder / "compiled"
        return path.read_text().split() if path.exists() else []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_an_interrupted_build_is_continued(tmp_path: Path, how: signal.Signals) -> None:
    """What was compiled is not compiled again, and the lock is free at once."""
    go = golang.installed()
    if go is None:
        pytest.skip("no Go: setup has not run")
    setup = Setup(tmp_path, go)
    with (tmp_path / "hold").open("a") as hold:
        fcntl.flock(hold, fcntl.LOCK_EX)
        with setup.begin() as first:

            def last_package_begins() -> bool:
                assert first.poll() is None, first.communicate()[0]
                return "example/program/last" in setup.compiled()

            until("the last package begins", last_package_begins, LONG_S)
            # Ctrl-C reaches all of the terminal's processes; a kill only the one that it names.
            os.killpg(first.pid, how) if how is signal.SIGINT else first.send_signal(how)
            assert first.wait(LONG_S) != 0
            done = setup.compiled()
            assert "example/program/first" in done
            assert not setup.program.exists()
    (tmp_path / "compiled").unlink()
    with setup.begin() as second:
        words = second.communicate(timeout=LONG_S)[0]
    assert second.returncode == 0, words
    again = set(setup.compiled()) & set(done)
    assert "example/program/last" in again
    assert len(again) <= AT_ONCE, again
    said = subprocess.run([setup.program], capture_output=True, text=True, check=True)
    assert said.stderr == "built\n"
    assert [path.name for path in setup.program.parent.iterdir() if path.name.endswith(".new")] == []
