"""The estate's hosts as addresses in a network namespace, with a real sshd and a real HTTPS server on them.

All hosts are this one machine. No packet can leave the namespace, because its only interface is `lo`.
"""

from __future__ import annotations

import http.server
import os
import pwd
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from estate.addressing import AddressPlan, plan
from estate.loader import load
from estate.model import Estate, HostRole
from lab.command import network_of
from monitors.observe.ssh_session import AGENT_COMMAND
from monitors.query import queried_hosts
from playbooks import pki
from tests import image_programs
from workstation.ssh import Access

USER = "postgres"
"""The account for logins. sshd runs as this user and not as root, so the tests create no account on this machine."""


class Pages(http.server.BaseHTTPRequestHandler):
    """A site's healthy service."""

    def do_GET(self) -> None:
        """Answer 200 on any path."""
        self.send_response(200)
        self.send_header("X-Govcloud-Site", "futian")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@dataclass(kw_only=True)
class EmulatedEstate:
    """The namespace and the servers in it."""

    namespace: Path
    folder: Path
    estate: Estate
    plan: AddressPlan
    access: Access
    sshd: subprocess.Popen[bytes] | None = None

    def run(self, *argv: str, text: str = "") -> None:
        """Run a command in the namespace."""
        with network_of(self.namespace):
            subprocess.run(argv, input=text, text=True, check=True, capture_output=True)

    def start_sshd(self) -> None:
        """Start sshd on all addresses."""
        options = [
            "Port=22", "ListenAddress=0.0.0.0", f"HostKey={self.folder}/host", "StrictModes=no", "PidFile=none",
            f"AuthorizedKeysFile={self.folder}/operator.pub", "MaxStartups=100", "UsePAM=no",
        ]  # fmt: skip
        line = [
            *image_programs.argv("sshd"),
            "-r",
            "-D",
            "-f",
            "/dev/null",
            *(word for o in options for word in ("-o", o)),
        ]
        with network_of(self.namespace):
            self.sshd = subprocess.Popen(line, user=USER, group=USER, extra_groups=[], stderr=subprocess.DEVNULL)

    def stop_sshd(self) -> None:
        """Kill the listener and all its connections, as if the hosts went down."""
        assert self.sshd is not None
        for process in [self.sshd.pid, *descendants(self.sshd.pid)]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.sshd.wait()

    def drop_packets_to(self, host: str) -> None:
        """Drop all packets to the host without an error to the sender."""
        address = self.plan.management(host)
        chain = f"type filter hook input priority 0\nip daddr {address} drop\n"
        self.run("nft", "-f", "-", text=f"table ip dropping {{\nchain inbound {{\n{chain}}}\n}}\n")

    def stop_dropping(self) -> None:
        """Let packets pass again."""
        self.run("nft", "delete", "table", "ip", "dropping")

    def agents(self, host: str = "") -> list[int]:
        """Return the process IDs of the agents on one host, or on all hosts."""
        destination = f" {self.plan.management(host)} 22" if host else " 22"
        return [number for number, connection in programs(self.namespace) if connection.endswith(destination)]


def programs(namespace: Path) -> Iterator[tuple[int, str]]:
    """Yield the process ID of each agent in a network namespace with its `SSH_CONNECTION`."""
    for folder in Path("/proc").iterdir():
        try:
            if not folder.name.isdigit() or not (folder / "ns/net").samefile(namespace):
                continue
            if AGENT_COMMAND[-1].encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                for word in (folder / "environ").read_bytes().split(b"\0"):
                    if word.startswith(b"SSH_CONNECTION="):
                        yield int(folder.name), word.decode()
        except OSError:
            continue  # the process has just ended


def children(parent: int) -> list[int]:
    """Return the child processes of a process."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def descendants(parent: int) -> list[int]:
    """Return the child processes and their children, because sshd has two processes for each connection."""
    return [one for child in children(parent) for one in (child, *descendants(child))]


@pytest.fixture(scope="module")
def emulated_estate() -> Iterator[EmulatedEstate]:
    """The estate's addresses with sshd on them. The namespace ends with the process that keeps it open."""
    if os.geteuid():
        pytest.skip("needs root: a network namespace")
    estate = load()
    computed = plan(estate)
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with tempfile.TemporaryDirectory(prefix="gc-observe-") as name:
        try:
            holder.stdout.readline()
            made = EmulatedEstate(
                namespace=Path(f"/proc/{holder.pid}/ns/net"), folder=Path(name), estate=estate, plan=computed,
                access=Access(user=USER, key=Path(name) / "operator", known_hosts=Path(name) / "known_hosts"),
            )  # fmt: skip
            _keys(made)
            _addresses(made)
            made.start_sshd()
            yield made
            made.stop_sshd()
        finally:
            holder.stdin.close()
            holder.wait()
            holder.stdout.close()


def _keys(emulated_estate: EmulatedEstate) -> None:
    for name in ("host", "operator"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", emulated_estate.folder / name], check=True
        )
    emulated_estate.access.known_hosts.write_text(f"* {(emulated_estate.folder / 'host.pub').read_text()}")
    owner = pwd.getpwnam(USER)
    os.chown(emulated_estate.folder / "host", owner.pw_uid, owner.pw_gid)
    emulated_estate.folder.chmod(0o755)


def _addresses(emulated_estate: EmulatedEstate) -> None:
    hosts = [host.name for host in queried_hosts(emulated_estate.estate)]
    kubes = [host.name for host in emulated_estate.estate.hosts if host.kind is HostRole.KUBE]
    four = {str(emulated_estate.plan.management(host)) for host in hosts} | {
        str(emulated_estate.plan.lan(kube).ipv4) for kube in kubes
    }
    six = set()
    for service in emulated_estate.plan.anycast.values():
        four.add(str(service.ipv4))
        six.add(str(service.ipv6))
    lines = [f"addr add {a}/32 dev lo" for a in four] + [f"addr add {a}/128 dev lo nodad" for a in six]
    emulated_estate.run("ip", "-batch", "-", text="\n".join(["link set lo up", *lines, ""]))
    emulated_estate.run("sysctl", "-qw", "net.ipv4.ip_unprivileged_port_start=22")


@pytest.fixture(scope="module")
def service(emulated_estate: EmulatedEstate) -> Iterator[str]:
    """The approval service on every address. The value is the CA certificate (PEM) that verifies it."""
    key, text = pki.new_authority("test", 1)
    key_pem, cert_pem = pki.issue(pki.Authority(key=key, cert=text), "approval", ["approval"], 1, ["server"])
    (emulated_estate.folder / "server.pem").write_text(key_pem + cert_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(emulated_estate.folder / "server.pem")
    with network_of(emulated_estate.namespace):
        listener = socket.create_server(("::", 443), family=socket.AF_INET6, dualstack_ipv6=True, backlog=100)
    server = http.server.ThreadingHTTPServer(("::", 443), Pages, bind_and_activate=False)
    server.socket.close()
    server.socket = context.wrap_socket(listener, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign,assignment]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield text
    server.shutdown()
    thread.join()
    server.server_close()
