"""A watch over every host of the estate through a real sshd: what is seen, what breaks, and what is left after it."""

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
from monitors.observe import PollSettings, Watch, queries, snapshot
from tests.integration.observe.conftest import EmulatedEstate, children
from tests.polling import until
from workstation import paths

EDGE, OTHER = "futian-edge1", "nanshan-edge1"
EDGES = (EDGE, OTHER)
QUICK = PollSettings(interval_s=0.4, reply_timeout_s=10.0, connect_timeout_s=10, retry_delay_s=0.2, max_age_s=5.0)
"""More patient than a drill's: the machine that runs the tests may be busy with others."""


@contextmanager
def watching(
    emulated_estate: EmulatedEstate, hosts: tuple[str, ...] = EDGES, settings: PollSettings = QUICK
) -> Iterator[Watch]:
    """A watch from within the namespace: its threads and processes stay where they were started."""
    with network_of(emulated_estate.namespace):
        watch = Watch(emulated_estate.estate, emulated_estate.access, hosts=hosts, settings=settings)
        watch.__enter__()
    try:
        until("every host is seen", lambda: all(host.reachable for host in watch.snapshot().hosts), 60)
        yield watch
    finally:
        watch.__exit__(None, None, None)


def reached(watch: Watch, host: str = EDGE) -> Callable[[], bool]:
    """Whether a host is reachable now."""
    return lambda: watch.snapshot().host(host).reachable


def lost(watch: Watch, host: str = EDGE) -> Callable[[], bool]:
    """Whether it is not."""
    return lambda: not watch.snapshot().host(host).reachable


def another(emulated_estate: EmulatedEstate, than: list[int]) -> Callable[[], bool]:
    """Whether another program answers on the host."""
    return lambda: bool(emulated_estate.serving(EDGE)) and not set(emulated_estate.serving(EDGE)) & set(than)


def gone(process: int) -> Callable[[], bool]:
    """Whether a process has ended."""
    return lambda: not Path(f"/proc/{process}").exists()


def nothing_left(emulated_estate: EmulatedEstate) -> None:
    """No thread, no ssh here, no program on a host."""
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("watch ")] == []
    names = [Path(f"/proc/{child}/comm").read_text().strip() for child in children(os.getpid())]
    assert "ssh" not in names
    until("the programs on the hosts have ended", lambda: not emulated_estate.serving(), 90)


def test_the_whole_estate_is_seen_by_one_process_on_each_host(
    emulated_estate: EmulatedEstate, service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vantages verify by the authority that the service's hosts tell. Looking costs nobody's answer."""
    authority = tmp_path / "ca.crt"
    authority.write_text(service)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    monkeypatch.setattr(queries, "CA_FILE", str(authority))
    everyone = tuple(host.name for host in queries.queried_hosts(emulated_estate.estate))
    with watching(
        emulated_estate, everyone, replace(QUICK, interval_s=1.0, reply_timeout_s=60.0, max_age_s=60.0)
    ) as watch:
        first = watch.snapshot()
        assert (len(first.hosts), len(first.sites), len(first.vantages)) == (14, 9, 12)
        until(
            "all is well",
            lambda: all(health.ok for health in (*watch.snapshot().sites, *watch.snapshot().vantages)),
            60,
        )
        serving = emulated_estate.serving()
        assert len(serving) == 14
        until("every host has been asked again", lambda: watch.snapshot().at > first.at, 60)
        assert sorted(emulated_estate.serving()) == sorted(serving)
        begun = time.process_time()
        for _ in range(20):
            watch.snapshot()
        assert time.process_time() - begun < 2
    nothing_left(emulated_estate)


def test_one_snapshot_asks_each_host_once_and_is_fresh(emulated_estate: EmulatedEstate) -> None:
    """Everything in it was asked after the call, and hosts that do not answer are in it."""
    emulated_estate.silence(OTHER)
    try:
        before = time.time()
        with network_of(emulated_estate.namespace):
            seen = snapshot(emulated_estate.estate, emulated_estate.access, timeout_s=20, hosts=EDGES)
        assert seen.host(EDGE).reachable
        assert not seen.host(OTHER).reachable
        assert str(emulated_estate.plan.management(OTHER)) in seen.host(OTHER).reason
        assert before <= seen.at <= time.time()
    finally:
        emulated_estate.lift()
    nothing_left(emulated_estate)


def test_a_host_that_falls_silent_is_lost_and_found_and_holds_up_nobody(emulated_estate: EmulatedEstate) -> None:
    """As when its power goes: no packet says so."""
    with watching(emulated_estate) as watch:
        emulated_estate.silence(EDGE)
        until("the host is lost", lost(watch), 60)
        assert "no answer" in watch.snapshot().host(EDGE).reason
        until("the other host is seen", reached(watch, OTHER), 60)
        emulated_estate.lift()
        until("the host is found", reached(watch), 60)
    nothing_left(emulated_estate)


def test_a_program_that_hangs_on_a_host_is_left_for_a_new_one(emulated_estate: EmulatedEstate) -> None:
    """And ends as soon as it can be woken."""
    with watching(emulated_estate, settings=replace(QUICK, max_age_s=1.5)) as watch:
        hanging = emulated_estate.serving(EDGE)
        os.kill(hanging[0], signal.SIGSTOP)
        try:
            until("the host is lost", lost(watch), 60)
            until("another program has been started", lambda: len(emulated_estate.serving(EDGE)) == 2, 60)
            until("the host is seen again", reached(watch), 60)
        finally:
            os.kill(hanging[0], signal.SIGCONT)
        until("the program that hung has ended", gone(hanging[0]), 60)
    nothing_left(emulated_estate)


def test_a_program_that_is_killed_is_replaced_before_anybody_misses_it(emulated_estate: EmulatedEstate) -> None:
    """The end of the session is seen at the next query; the last reply stands meanwhile."""
    with watching(emulated_estate, settings=replace(QUICK, max_age_s=60.0)) as watch:
        killed = emulated_estate.serving(EDGE)
        os.kill(killed[0], signal.SIGKILL)

        def replaced() -> bool:
            assert reached(watch)()
            return another(emulated_estate, killed)()

        until("another program answers", replaced, 60)
        at = watch.snapshot().at
        until("it has answered", lambda: watch.snapshot().at > at, 60)
    nothing_left(emulated_estate)


def test_an_ssh_that_is_killed_here_leaves_nothing_on_the_host(emulated_estate: EmulatedEstate) -> None:
    """And is started again."""
    with watching(emulated_estate, (EDGE,)) as watch:
        before = emulated_estate.serving(EDGE)
        (ssh,) = [c for c in children(os.getpid()) if Path(f"/proc/{c}/comm").read_text().strip() == "ssh"]
        os.kill(ssh, signal.SIGKILL)
        until("another program answers", another(emulated_estate, before), 60)
        until("the first has ended", gone(before[0]), 60)
        until("the host is seen", reached(watch), 60)
    nothing_left(emulated_estate)


def test_a_host_that_comes_back_with_a_new_sshd_is_seen_again(emulated_estate: EmulatedEstate) -> None:
    """Nothing of the old connections is waited for."""
    with watching(emulated_estate) as watch:
        emulated_estate.stop_sshd()
        until("both are lost", lambda: lost(watch)() and lost(watch, OTHER)(), 60)
        assert "refused" in watch.snapshot().host(EDGE).reason
        emulated_estate.start_sshd()
        until("both are seen", lambda: reached(watch)() and reached(watch, OTHER)(), 60)
    nothing_left(emulated_estate)


def fail_beside_a_silent_host(emulated_estate: EmulatedEstate, error: type[BaseException]) -> None:
    """Fail while a query is under way that nobody will answer."""
    with watching(emulated_estate, settings=replace(QUICK, reply_timeout_s=300.0)) as watch:
        emulated_estate.silence(EDGE)
        until("the host is lost", lost(watch), 60)
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_body_that_fails_leaves_nothing_even_beside_a_silent_host(
    emulated_estate: EmulatedEstate, error: type[BaseException]
) -> None:
    """Nobody is waited for at the end."""
    begun = time.monotonic()
    try:
        with pytest.raises(error):
            fail_beside_a_silent_host(emulated_estate, error)
    finally:
        emulated_estate.lift()
    assert time.monotonic() - begun < 200
    nothing_left(emulated_estate)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
def test_an_observer_that_is_interrupted_or_killed_leaves_nothing(
    emulated_estate: EmulatedEstate, number: signal.Signals
) -> None:
    """Ctrl-C goes to all processes of the terminal; SIGKILL lets nobody tidy up."""
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
    assert len(started) == len(EDGES) == len(emulated_estate.serving())
    os.killpg(observer.pid, number)
    observer.communicate(timeout=60)
    for process in started:
        until("ssh has ended", gone(process), 60)
    nothing_left(emulated_estate)
