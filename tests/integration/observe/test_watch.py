"""A watch over all hosts of the estate through a real sshd: observations, failures, and no process left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lab.command import network_of
from monitors.collectors import service as service_collector
from monitors.observe import PollSettings, Watch, queries, snapshot
from monitors.query import queried_hosts
from tests.integration.observe.conftest import EmulatedEstate, children
from tests.polling import until
from workstation import paths

EDGE, OTHER = "futian-edge1", "nanshan-edge1"
EDGES = (EDGE, OTHER)
QUICK = PollSettings(interval_s=0.4, reply_timeout_s=10.0, connect_timeout_s=10, retry_delay_s=0.2, max_age_s=5.0)
"""Longer timeouts than in a drill, because other work may keep the test machine busy."""


@contextmanager
def watching(
    emulated_estate: EmulatedEstate, hosts: tuple[str, ...] = EDGES, settings: PollSettings = QUICK
) -> Iterator[Watch]:
    """Run a watch in the namespace. Its threads and processes stay in it."""
    with network_of(emulated_estate.namespace):
        watch = Watch(emulated_estate.estate, emulated_estate.access, hosts=hosts, settings=settings)
        watch.__enter__()
    try:
        until("every host is seen", lambda: all(host.reachable for host in watch.latest().hosts), 60)
        yield watch
    finally:
        watch.__exit__(None, None, None)


def reached(watch: Watch, host: str = EDGE) -> Callable[[], bool]:
    """Return a check whether a host is reachable now."""
    return lambda: watch.latest().host(host).reachable


def lost(watch: Watch, host: str = EDGE) -> Callable[[], bool]:
    """Return a check whether a host is unreachable now."""
    return lambda: not watch.latest().host(host).reachable


def another(emulated_estate: EmulatedEstate, than: list[int]) -> Callable[[], bool]:
    """Return a check whether a new agent runs on the host and the old ones have ended."""
    return lambda: bool(emulated_estate.agents(EDGE)) and not set(emulated_estate.agents(EDGE)) & set(than)


def gone(process: int) -> Callable[[], bool]:
    """Return a check whether a process has ended."""
    return lambda: not Path(f"/proc/{process}").exists()


def nothing_left(emulated_estate: EmulatedEstate) -> None:
    """Check that no thread and no ssh is left here, and no agent on a host."""
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("watch ")] == []
    names = [Path(f"/proc/{child}/comm").read_text().strip() for child in children(os.getpid())]
    assert "ssh" not in names
    until("the agents on the hosts have ended", lambda: not emulated_estate.agents(), 90)


def test_the_whole_estate_is_observed_with_one_agent_on_each_host(
    emulated_estate: EmulatedEstate, service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vantages verify with the CA certificate from the service's hosts. A snapshot sends no query."""
    authority = tmp_path / "ca.crt"
    authority.write_text(service)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    for module in (queries, service_collector):
        monkeypatch.setattr(module, "CA_FILE", str(authority))
    all_hosts = tuple(host.name for host in queried_hosts(emulated_estate.estate))
    with watching(
        emulated_estate, all_hosts, replace(QUICK, interval_s=1.0, reply_timeout_s=60.0, max_age_s=60.0)
    ) as watch:
        first = watch.latest()
        assert (len(first.hosts), len(first.sites), len(first.vantages)) == (14, 9, 12)
        until(
            "all services are healthy",
            lambda: all(health.ok for health in (*watch.latest().sites, *watch.latest().vantages)),
            60,
        )
        agents = emulated_estate.agents()
        assert len(agents) == 14
        until("every host has been polled again", lambda: watch.latest().at > first.at, 60)
        assert sorted(emulated_estate.agents()) == sorted(agents)
        begun = time.process_time()
        for _ in range(20):
            watch.latest()
        assert time.process_time() - begun < 2
    nothing_left(emulated_estate)


def test_one_snapshot_queries_each_host_once_and_is_fresh(emulated_estate: EmulatedEstate) -> None:
    """All its queries were sent after the call, and unreachable hosts are in it."""
    emulated_estate.drop_packets_to(OTHER)
    try:
        before = time.time()
        with network_of(emulated_estate.namespace):
            seen = snapshot(emulated_estate.estate, emulated_estate.access, timeout_s=20, hosts=EDGES)
        assert seen.host(EDGE).reachable
        assert not seen.host(OTHER).reachable
        assert str(emulated_estate.plan.management(OTHER)) in seen.host(OTHER).reason
        assert before <= seen.at <= time.time()
    finally:
        emulated_estate.stop_dropping()
    nothing_left(emulated_estate)


def test_an_unreachable_host_is_lost_and_found_and_delays_no_other_host(emulated_estate: EmulatedEstate) -> None:
    """As after a power failure, no packet reports the loss."""
    with watching(emulated_estate) as watch:
        emulated_estate.drop_packets_to(EDGE)
        until("the host is lost", lost(watch), 60)
        assert "no answer" in watch.latest().host(EDGE).reason
        until("the other host is seen", reached(watch, OTHER), 60)
        emulated_estate.stop_dropping()
        until("the host is found", reached(watch), 60)
    nothing_left(emulated_estate)


def test_a_hanging_agent_is_replaced_by_a_new_one(emulated_estate: EmulatedEstate) -> None:
    """The old agent ends as soon as it continues."""
    with watching(emulated_estate, settings=replace(QUICK, max_age_s=1.5)) as watch:
        hanging = emulated_estate.agents(EDGE)
        os.kill(hanging[0], signal.SIGSTOP)
        try:
            until("the host is lost", lost(watch), 60)
            until("another agent has been started", lambda: len(emulated_estate.agents(EDGE)) == 2, 60)
            until("the host is seen again", reached(watch), 60)
        finally:
            os.kill(hanging[0], signal.SIGCONT)
        until("the hanging agent has ended", gone(hanging[0]), 60)
    nothing_left(emulated_estate)


def test_a_killed_agent_is_replaced_while_its_host_stays_reachable(emulated_estate: EmulatedEstate) -> None:
    """The next query notices the end of the session. Until then the last reply counts."""
    with watching(emulated_estate, settings=replace(QUICK, max_age_s=60.0)) as watch:
        killed = emulated_estate.agents(EDGE)
        os.kill(killed[0], signal.SIGKILL)

        def replaced() -> bool:
            assert reached(watch)()
            return another(emulated_estate, killed)()

        until("another agent answers", replaced, 60)
        at = watch.latest().at
        until("a newer observation", lambda: watch.latest().at > at, 60)
    nothing_left(emulated_estate)


def test_after_the_local_ssh_is_killed_no_process_remains_on_the_host(emulated_estate: EmulatedEstate) -> None:
    """The watch starts ssh again."""
    with watching(emulated_estate, (EDGE,)) as watch:
        before = emulated_estate.agents(EDGE)
        (ssh,) = [c for c in children(os.getpid()) if Path(f"/proc/{c}/comm").read_text().strip() == "ssh"]
        os.kill(ssh, signal.SIGKILL)
        until("another agent answers", another(emulated_estate, before), 60)
        until("the first agent has ended", gone(before[0]), 60)
        until("the host is seen", reached(watch), 60)
    nothing_left(emulated_estate)


def test_a_host_that_comes_back_with_a_new_sshd_is_seen_again(emulated_estate: EmulatedEstate) -> None:
    """The watch does not wait for the old connections."""
    with watching(emulated_estate) as watch:
        emulated_estate.stop_sshd()
        until("both are lost", lambda: lost(watch)() and lost(watch, OTHER)(), 60)
        assert "refused" in watch.latest().host(EDGE).reason
        emulated_estate.start_sshd()
        until("both are seen", lambda: reached(watch)() and reached(watch, OTHER)(), 60)
    nothing_left(emulated_estate)


def fail_with_an_unreachable_host(emulated_estate: EmulatedEstate, error: type[BaseException]) -> None:
    """Raise the error while a query waits for a host that will not answer."""
    with watching(emulated_estate, settings=replace(QUICK, reply_timeout_s=300.0)) as watch:
        emulated_estate.drop_packets_to(EDGE)
        until("the host is lost", lost(watch), 60)
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_after_a_failed_body_no_process_remains_even_with_an_unreachable_host(
    emulated_estate: EmulatedEstate, error: type[BaseException]
) -> None:
    """The end of the watch does not wait for the host."""
    begun = time.monotonic()
    try:
        with pytest.raises(error):
            fail_with_an_unreachable_host(emulated_estate, error)
    finally:
        emulated_estate.stop_dropping()
    assert time.monotonic() - begun < 200
    nothing_left(emulated_estate)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
def test_after_an_observer_is_interrupted_or_killed_no_process_remains(
    emulated_estate: EmulatedEstate, number: signal.Signals
) -> None:
    """Ctrl-C goes to all processes of the terminal. SIGKILL allows no cleanup."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom estate.loader import load\nfrom monitors.observe import Watch\n"
        "from workstation.ssh import Access\n"
        f"access = Access(user='{emulated_estate.access.user}', key=Path(sys.argv[1]), known_hosts=Path(sys.argv[2]))\n"
        f"with Watch(load(), access, hosts={EDGES!r}):\n    print('open', flush=True)\n    sys.stdin.read()\n"
    )
    line = [sys.executable, "-c", script, str(emulated_estate.access.key), str(emulated_estate.access.known_hosts)]
    with network_of(emulated_estate.namespace):
        observer = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=paths.repo(),
            process_group=0,
        )  # fmt: skip
    assert observer.stdout is not None
    assert observer.stdout.readline() == b"open\n"
    started = children(observer.pid)
    assert len(started) == len(EDGES) == len(emulated_estate.agents())
    os.killpg(observer.pid, number)
    observer.communicate(timeout=60)
    for process in started:
        until("ssh has ended", gone(process), 60)
    nothing_left(emulated_estate)
