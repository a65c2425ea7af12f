"""Plain `pulumi up` runs the same programs on the same state, and needs no installation."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pulumi.automation.errors import CommandError
from pulumi.automation.events import EngineEvent

from stacks.runs import engine, workspace
from stacks.state import state_files, store
from tests import bytecode
from tests.integration.stacks.machines import Machines
from tests.integration.stacks.test_interrupted import prepared
from tests.integration.stacks.test_without import REAL
from tests.unit.stacks.declared import closing_loops
from workstation import paths


def preview(stack: str) -> set[str]:
    """Run a preview as the official distribution's language host does. Return the kinds of its steps."""
    kinds: set[str] = set()

    def on_event(event: EngineEvent) -> None:
        if event.summary_event:
            kinds.update(str(getattr(op, "value", op)) for op in event.summary_event.resource_changes)

    def program() -> None:
        runpy.run_path(str(paths.repo() / "stacks"), run_name="__main__")

    with closing_loops():
        workspace.open_stack(stack, program).preview(refresh=True, on_event=on_event, suppress_outputs=True)
    return kinds


def test_plain_pulumi_finds_nothing_to_change_after_our_own_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both read the same state. Without a lab the preview ends with a sentence."""
    prepared(tmp_path, monkeypatch)
    monkeypatch.setattr(workspace, "_plugin", lambda name, module: None)
    Machines(tmp_path / "machines", monkeypatch)
    engine.up(REAL, ["province"])
    with monkeypatch.context() as patch:
        patch.setattr(store, "instance", lambda estate: REAL.name)
        assert preview("province") == {"same"}
    monkeypatch.setattr(store, "LAB_RECORD", tmp_path / "none")
    with pytest.raises(CommandError, match="no lab is up") as failed:
        preview("province")
    assert "Traceback" not in str(failed.value)


HOST = """
import runpy, sys
from concurrent import futures
from pathlib import Path
import grpc
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2_grpc

class Host(LanguageServer):
    def Run(self, request, context):
        at = Path(request.info.program_directory) / request.info.entry_point
        self.program = lambda: runpy.run_path(str(at), run_name="__main__") and None
        return super().Run(request, context)

server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
language_pb2_grpc.add_LanguageRuntimeServicer_to_server(Host(None), server)
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
sys.stdin.read()
"""
"""Replaces the official distribution's language host, which is also a separate program.

It runs the program at the engine's request, from the place that Pulumi.yaml names.
"""
PREPARE = "from stacks.runs import workspace; workspace.prepare(); workspace.open_stack('province')"


class Clone:
    """Another checkout, of an estate that is not a lab, whose operator has a separate home."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder / "clone", folder / "home"
        ignored = shutil.ignore_patterns(".git", "__pycache__", "tests")
        shutil.copytree(paths.repo(), self.folder, ignore=ignored)
        sites = self.folder / "estate" / "data" / "sites.yaml"
        sites.write_text(sites.read_text().replace("lab: true", "lab: false"))
        services = sites.with_name("services.yaml")
        simulated = 'carrier: {simulated_on: province-cloud1, deliver_synthetic: "1540"}'
        text = services.read_text()
        assert simulated in text
        services.write_text(text.replace(simulated, "carrier: {url: https://sms.example}"))
        (self.home / "ssh").mkdir(parents=True)
        (self.home / "ssh" / "id_ed25519.pub").write_text("ssh-ed25519 AAAA operator\n")
        self._environment = {
            "PATH": f"{workspace.engine_binary().parent}:{os.defpath}",
            "HOME": str(folder),
            "GOVCLOUD_HOME": str(self.home),
            "GOVCLOUD_CACHE": str(paths.cache()),
        }
        ours = {**self._environment, "PYTHONPATH": str(self.folder), **bytecode.VARIABLES}
        subprocess.run([sys.executable, "-c", PREPARE], cwd=folder, env=ours, check=True)

    def shell(self, line: str, *words: str) -> subprocess.Popen[str]:
        """Run a line from docs/plain-pulumi.md in the checkout, after `. pulumi.sh`."""
        script = f'. "$0" && exec {line}'
        argv = ["sh", "-c", script, str(self.home / "engine" / "pulumi.sh"), *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            argv, cwd=self.folder, env=self._environment, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )

    def preview(self, stack: str) -> tuple[int, str]:
        """Run `pulumi preview`. Return its exit code and its output."""
        with self.shell('python3 -c "$1"', HOST) as host:
            assert host.stdout
            settings = f"$GOVCLOUD_HOME/engine/{stack}/Pulumi.{stack}.yaml"
            line = f'pulumi preview --refresh --stack {stack} --config-file "{settings}" --non-interactive'
            with self.shell(f'{line} --client "127.0.0.1:$1"', host.stdout.readline().strip()) as pulumi:
                words = pulumi.communicate(timeout=300)[0]
            host.communicate(timeout=60)
        return pulumi.returncode, words

    def files(self) -> dict[str, bytes]:
        """Return all files of the checkout."""
        return {str(path): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}


def test_a_preview_from_a_clone_shows_the_estate_and_does_not_change_the_tree(tmp_path: Path) -> None:
    """It uses only the documented lines: shell file, project file, settings, program, our provider, the real engine."""
    clone = Clone(tmp_path)
    before = clone.files()
    code, words = clone.preview("province")
    assert code == 0, words
    for site in REAL.sites:
        assert f"province-{site.name}-edge1" in words
    assert f"+ {len(REAL.sites) + 2} to create" in words
    assert clone.files() == before
    broken = clone.folder / "estate" / "data" / "sites.yaml"
    broken.write_text(broken.read_text().replace("lab: false", "lab: perhaps"))
    code, words = clone.preview("province")
    assert code != 0, words
    assert "sites.yaml" in words
    assert "Traceback" not in words


def test_pulumi_sh_is_sufficient_for_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It works in any folder and needs no other variable."""
    monkeypatch.setenv("GOVCLOUD_CACHE", str(paths.cache()))
    monkeypatch.setenv("GOVCLOUD_HOME", str(tmp_path / "a home"))
    workspace.prepare()
    script = (
        '. "$0" && command -v pulumi-resource-govcloud && echo "$PULUMI_BACKEND_URL" && '
        "python3 -c 'import estate, playbooks, stacks, pulumi'"
    )
    argv = ["sh", "-c", script, str(state_files.engine_home() / "pulumi.sh")]
    done = subprocess.run(argv, cwd=tmp_path, env={"PATH": os.defpath}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        str(state_files.engine_home() / "bin" / workspace.PLUGIN),
        workspace.backend(),
    ]
