"""Before a cluster is changed: does somebody answer there? Asked of real sockets on loopback."""

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
    """Takes connections; nobody shakes hands."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@contextmanager
def daemon(folder: Path) -> Iterator[socket.socket]:
    """One that wants to know who calls, as API servers and registries do."""
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
    """Looks for futian's cluster at a socket's port."""

    def look(listening: socket.socket, **changes: Any) -> None:
        monkeypatch.setattr(preflight, "DAEMONS", {"Kubernetes API server": listening.getsockname()[1]})
        monkeypatch.setattr(preflight, "ANSWER_S", 0.5)
        monkeypatch.setattr(preflight, "address_of", lambda context, host: "127.0.0.1")
        preflight.check_clusters(Context(estate=ESTATE, plan=plan(ESTATE), instance="lab", **changes), patience_s=0)

    return look


def test_a_daemon_that_asks_who_calls_is_there(at: Any, tmp_path: Path) -> None:
    """Whoever it is: the providers find that out."""
    with daemon(tmp_path) as listening:
        at(listening)


def test_one_that_hangs_is_told_with_its_site_and_reason(at: Any) -> None:
    """It takes connections and says nothing."""
    with port() as listening, pytest.raises(preflight.SiteUnreachable, match="timed out") as told:
        at(listening, clusters=frozenset({"futian"}))
    assert told.value.message.startswith("futian: the Kubernetes API server at 127.0.0.1:")
    assert "repairs their hosts" in told.value.next_step


def test_at_a_dead_site_nobody_is_asked(at: Any) -> None:
    with port() as listening:
        at(listening, without=frozenset({"futian"}))


def test_one_that_is_gone_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with port() as listening:
        number = listening.getsockname()[1]
    assert preflight._refusal("127.0.0.1", number) == "Connection refused"


def test_a_cluster_that_was_never_brought_up_is_another_matter(at: Any) -> None:
    with port() as listening, pytest.raises(preflight.SiteUnreachable) as told:
        at(listening)
    assert "is not there yet: run `./govcloud up` without naming stacks" in told.value.next_step
