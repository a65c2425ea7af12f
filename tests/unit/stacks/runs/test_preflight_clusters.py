"""Before a cluster is changed: its daemons answer. The tests use real sockets on loopback."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from estate.addressing import plan
from estate.loader import load
from playbooks import pki
from stacks.programs.context import Context
from stacks.runs import preflight
from tests.unit.playbooks.clusters import switched_on

ESTATE = switched_on(load(), "futian")


@contextmanager
def port() -> Iterator[socket.socket]:
    """A port that accepts connections and makes no TLS handshake."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@contextmanager
def daemon(folder: Path) -> Iterator[socket.socket]:
    """A daemon that demands a client certificate, like API servers and registries."""
    key, cert = pki.new_authority("daemon", 1)
    (folder / "identity").write_text(key + cert)
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(folder / "identity")
    trust.verify_mode = ssl.CERT_REQUIRED
    trust.load_verify_locations(cadata=cert)

    def answer(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            trust.wrap_socket(connection, server_side=True).close()

    with port() as listening:
        thread = threading.Thread(target=answer, args=(listening,))
        thread.start()
        yield listening
        thread.join(10)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Checks futian's cluster at a socket's port."""

    def check(listening: socket.socket, **changes: Any) -> None:
        monkeypatch.setattr(preflight, "DAEMONS", {"Kubernetes API server": listening.getsockname()[1]})
        monkeypatch.setattr(preflight, "ANSWER_S", 0.5)
        monkeypatch.setattr(preflight, "address_of", lambda context, host: "127.0.0.1")
        preflight.check_clusters(Context(estate=ESTATE, plan=plan(ESTATE), instance="lab", **changes), patience_s=0)

    return check


def test_a_daemon_that_demands_a_certificate_counts_as_reachable(at: Any, tmp_path: Path) -> None:
    """The providers verify its identity later."""
    with daemon(tmp_path) as listening:
        at(listening)


def test_a_daemon_that_hangs_is_reported_with_site_and_reason(at: Any) -> None:
    """It accepts connections and sends nothing."""
    with port() as listening, pytest.raises(preflight.SiteUnreachable, match="timed out") as caught:
        at(listening, clusters=frozenset({"futian"}))
    assert caught.value.message.startswith("futian: the Kubernetes API server at 127.0.0.1:")
    assert "repairs their hosts" in caught.value.next_step


def test_a_dead_site_is_not_checked(at: Any) -> None:
    with port() as listening:
        at(listening, without=frozenset({"futian"}))


def test_a_closed_port_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with port() as listening:
        number = listening.getsockname()[1]
    assert preflight._handshake_error("127.0.0.1", number) == "Connection refused"


def test_a_cluster_that_was_never_deployed_needs_an_up_of_all_stacks(at: Any) -> None:
    with port() as listening, pytest.raises(preflight.SiteUnreachable) as caught:
        at(listening)
    assert "does not exist yet: run `./govcloud up` without naming stacks" in caught.value.next_step
