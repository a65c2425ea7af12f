"""A real API server with controllers on loopback, and the real engine with our provider."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest
from pulumi.automation.errors import CommandError
from pulumi.automation.events import EngineEvent

from stacks.runs import events, state_repair, workspace
from stacks.state import lock, state_files, store
from tests.unit.stacks.declared import closing_loops
from tools.envtest import ControlPlane, missing
from workstation import paths

STACK = "kubernetes"
Declare = Callable[[pulumi.ResourceOptions], None]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Yield one control plane for all tests. Each test has its own namespace."""
    if absent := missing():
        pytest.skip(f"not built: {', '.join(absent)}")
    with ControlPlane(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@dataclass
class Run:
    """Result of one engine run. `changed` counts steps by kind, `diffs` are paths by resource name."""

    changed: dict[str, int] = field(default_factory=dict)
    diffs: dict[str, dict[str, str]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    printed: str = ""

    @property
    def failed(self) -> bool:
        """Whether it ended with an error."""
        return bool(self.errors)


class EngineSession:
    """Engine runs of one operator, with their own state and their own namespace."""

    def __init__(self, cluster: ControlPlane, home: Path, namespace: str) -> None:
        self.cluster, self.home, self.namespace = cluster, home, namespace
        self.kubeconfig: Any = cluster.kubeconfig()
        self.settings: dict[str, Any] = {}
        self.on_event: Callable[[EngineEvent], None] = lambda event: None

    def up(self, declare: Declare) -> Run:
        """Refresh, then apply the declaration, as `./govcloud up` does."""
        with lock.acquire("test"):
            state_repair.drop_pending_operations(STACK, lambda line: None)
            return self._run("up", declare, refresh=True, run_program=True)

    def preview(self, declare: Declare, *, refresh: bool = True) -> Run:
        """Preview as `./govcloud plan` does; without a refresh, as `pulumi preview` does."""
        return self._run("preview", declare, refresh=refresh, run_program=True)

    def drift(self) -> dict[str, tuple[str, ...]]:
        """Return the differences that a read finds, by object, as `./govcloud drift` does."""
        found: dict[str, tuple[str, ...]] = {}

        def on_event(event: EngineEvent) -> None:
            if event.res_outputs_event and (drifted := events.drift_of(event.res_outputs_event.metadata)):
                found.update([drifted])

        stack = workspace.open_stack(STACK, lambda: None)
        with closing_loops():
            stack.refresh(preview_only=True, run_program=False, on_event=on_event, suppress_outputs=True)
        return found

    def destroy(self) -> Run:
        """Delete all declared objects."""
        return self._run("destroy", lambda opts: None, run_program=False)

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """Run kubectl in the session's namespace."""
        return self.cluster.kubectl("-n", self.namespace, *words, stdin=stdin)

    def uid(self, kind: str, name: str) -> str:
        """Return the uid, which distinguishes an object from a later one of the same name."""
        return self.kubectl("get", kind, name, "-o", "jsonpath={.metadata.uid}")

    def resources(self) -> dict[str, dict[str, Any]]:
        """Return the state's resources by name."""
        return {str(item["urn"]).rsplit("::", 1)[-1]: item for item in store.resources(STACK)}

    def checkpoint(self) -> str:
        """Return the state's text on disk."""
        return state_files.checkpoint(STACK).read_text()

    def engines(self) -> list[int]:
        """Return the process IDs of this session's engine."""
        return [pid for pid, line in self._processes() if "/pulumi\0" in line.split(" ")[0] + "\0"]

    def providers(self) -> list[int]:
        """Return the process IDs of this session's providers."""
        return [pid for pid, line in self._processes() if "stacks.providers.kubernetes" in line]

    def kill(self, number: signal.Signals) -> None:
        """Send a signal only to the engine."""
        for pid in self.engines():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _processes(self) -> Iterator[tuple[int, str]]:
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            with suppress(OSError):
                if str(self.home).encode() in (folder / "environ").read_bytes():
                    words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                    yield int(folder.name), " ".join(words)

    def _run(self, operation: str, declare: Declare, **options: Any) -> Run:
        run, lines = Run(), []

        def program() -> None:
            provider = k8s.Provider("cluster", kubeconfig=pulumi.Output.secret(self.kubeconfig), **self.settings)
            declare(pulumi.ResourceOptions(provider=provider))

        def on_event(event: EngineEvent) -> None:
            self._note(run, event)
            self.on_event(event)

        stack = workspace.open_stack(STACK, program)
        try:
            with closing_loops():
                getattr(stack, operation)(on_event=on_event, on_output=lines.append, **options)
        except CommandError as error:
            run.errors = run.errors or [str(error)]
        run.printed = "\n".join(lines)
        return run

    def _note(self, run: Run, event: EngineEvent) -> None:
        if event.summary_event:
            counted = event.summary_event.resource_changes.items()
            run.changed = {str(getattr(op, "value", op)): count for op, count in counted}
        step = event.resource_pre_event
        if step and step.metadata.detailed_diff:
            kinds = {path: str(diff.diff_kind.value) for path, diff in step.metadata.detailed_diff.items()}
            run.diffs[step.metadata.urn.rsplit("::", 1)[-1]] = kinds
        if event.diagnostic_event:
            run.errors += events.errors_of(event.diagnostic_event)
            run.said += [line] if (line := events.progress_of(event)) else []


@contextmanager
def open_session(cluster: ControlPlane, home: Path, namespace: str) -> Iterator[EngineSession]:
    """Yield a new session."""
    workspace.engine_binary()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOVCLOUD_CACHE", str(paths.cache()))
        patch.setenv("GOVCLOUD_HOME", str(home))
        patch.delenv("KUBECONFIG", raising=False)
        workspace.prepare()
        found = EngineSession(cluster, home, namespace)
        yield found
        cluster.thaw_api()
        cluster.start_api() if "kube-apiserver" not in cluster.running else None
        found.kill(signal.SIGKILL)


@pytest.fixture
def session(cluster: ControlPlane, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[EngineSession]:
    """Yield a new session with an empty namespace."""
    namespace = f"t{abs(hash(request.node.nodeid)) % 10**9}"
    cluster.kubectl("create", "namespace", namespace)
    with open_session(cluster, tmp_path / "home", namespace) as found:
        yield found
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


@dataclass
class BackgroundRun:
    """A run in a background thread."""

    thread: threading.Thread
    ended: list[Run]

    def result(self, timeout_s: float) -> Run:
        """Wait for the end of the run and return its result."""
        self.thread.join(timeout_s)
        assert self.ended, f"the run did not end within {timeout_s} s"
        return self.ended[0]


@pytest.fixture
def in_flight(session: EngineSession) -> Callable[[Declare, str], BackgroundRun]:
    """Return a function that starts an `up` and returns when a message contains the given words."""

    def start(declare: Declare, words: str) -> BackgroundRun:
        reported, ended = threading.Event(), list[Run]()

        def on_event(event: EngineEvent) -> None:
            if event.diagnostic_event and words in event.diagnostic_event.message:
                reported.set()

        session.on_event = on_event
        thread = threading.Thread(target=lambda: ended.append(session.up(declare)), daemon=True)
        thread.start()
        assert reported.wait(240), f"no message contains {words!r}"
        session.on_event = lambda event: None
        return BackgroundRun(thread, ended)

    return start
