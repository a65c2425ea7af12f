"""The data tier of the real estate without the lab: each host is a network namespace and process namespaces.

Every daemon is real, reads the rendered files, and uses the estate's addresses, which are in network namespaces of the
hosts on a common switch. Only the paths are below a temporary folder, one per host. Killing the first process of a
process namespace kills all its processes at once, as a loss of power does.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from estate.addressing import AddressPlan, plan
from estate.loader import load
from estate.model import Estate, Host, HostRole
from facts.host_paths import POSTGRESQL_PROGRAMS
from playbooks import host_programs, pki
from playbooks.host_spec import File, RoleSpec
from playbooks.render import etcd, postgresql
from playbooks.render import pki as render_pki
from playbooks.secrets import Certificate, Secrets, password_names
from tests.polling import until
from workstation import paths

MOVED = (
    "/etc/govcloud",
    "/srv/data",
    "/var/lib/govcloud-etcd",
    "/run/govcloud-etcd",
    "/run/govcloud-patroni",
    "/var/run/postgresql",
    host_programs.DIRECTORY,
    postgresql.VENV,
)
SWITCH = "switch"


def secrets_of(estate: Estate, addresses: AddressPlan) -> Secrets:
    """Return a new authority, all certificates that it signs, and new passwords."""
    key, cert = pki.new_authority("test authority", 2)
    authority, certificates = pki.Authority(key=key, cert=cert), {}
    for leaf in render_pki.leaves(estate, addresses):
        own_key, own_cert = pki.issue(authority, leaf.subject, leaf.sans, 1, leaf.usages)
        certificates[leaf.name] = Certificate(cert=own_cert, key=own_key)
    passwords = {name: pki.new_password() for name in password_names(estate)}
    return Secrets(authority=cert, certificates=certificates, passwords=passwords)


class DatabaseCluster:
    """The hosts of the data tier. `members` are those of the database, in the declared order."""

    def __init__(self, root: Path, venv: Path) -> None:
        self.root, self.venv = root, venv
        self.estate = load()
        self.plan = plan(self.estate)
        self.secrets = secrets_of(self.estate, self.plan)
        self.members = [host.name for host in self.estate.database_members]
        self.client = next(host.name for host in self.estate.managed_hosts if host.kind is HostRole.KUBE)
        self.running: dict[tuple[str, str], subprocess.Popen[bytes]] = {}
        self.networks = {SWITCH: _network()}
        self.net(SWITCH, "ip", "link", "add", "switch", "type", "bridge")
        self.net(SWITCH, "ip", "link", "set", "switch", "up")
        for number, host in enumerate(self.hosts()):
            self.connect(host, number)
            self.install(host)

    def hosts(self) -> list[Host]:
        """Return the hosts with an etcd vote or a database member, and one host for clients."""
        own = self.estate.managed_hosts
        return [host for host in own if host.etcd_votes or host.database or host.name == self.client]

    def connect(self, host: Host, number: int) -> None:
        """Create the host's network namespace with its addresses, on the common switch."""
        pool, own = self.estate.networks.sites, self.plan.lan(host.name)
        self.networks[host.name] = _network()
        pid = str(self.networks[host.name].pid)
        self.net(SWITCH, "ip", "link", "add", f"p{number}", "type", "veth", "peer", "name", "lan0", "netns", pid)
        self.net(SWITCH, "ip", "link", "set", f"p{number}", "master", "switch", "up")
        self.net(host.name, "ip", "addr", "add", f"{own.ipv4}/{pool.ipv4.prefixlen}", "dev", "lan0")
        self.net(host.name, "ip", "addr", "add", f"{own.ipv6}/{pool.ipv6.prefixlen}", "dev", "lan0", "nodad")
        for device in ("lo", "lan0"):
            self.net(host.name, "ip", "link", "set", device, "up")

    @contextmanager
    def isolated(self, host: str) -> Iterator[None]:
        """Drop all packets from and to the host. Its carrier and its addresses stay.

        The kernel removes the IPv6 addresses of an interface that is set down. The etcd vote could then not listen on
        its own address.
        """
        port = f"p{[own.name for own in self.hosts()].index(host)}"
        self.net(SWITCH, "bridge", "link", "set", "dev", port, "state", "disabled")
        try:
            yield
        finally:
            self.net(SWITCH, "bridge", "link", "set", "dev", port, "state", "forwarding")

    @contextmanager
    def dropping(self, host: str, sender: str) -> Iterator[None]:
        """Let `host` drop all packets from `sender`."""
        other = self.plan.lan(sender)
        drops = f"ip saddr {other.ipv4} drop; ip6 saddr {other.ipv6} drop"
        rules = f"table inet dropping {{ chain input {{ type filter hook input priority 0; {drops}\n}}\n}}\n"
        self.net(host, "nft", rules)
        try:
            yield
        finally:
            self.net(host, "nft", "delete table inet dropping")

    def folder(self, host: str) -> Path:
        """Return the folder of one host."""
        return self.root / host.replace("-", "")

    def moved(self, host: str, text: str) -> str:
        """Return the text with its paths moved below the host's folder."""
        for path in MOVED:
            text = text.replace(path, str(self.venv) if path == postgresql.VENV else f"{self.folder(host)}{path}")
        return text

    def install(self, host: Host) -> None:
        """Write the files that the roles of the stack write on this host."""
        roles: list[RoleSpec] = [render_pki.role_spec(host, self.secrets)]
        roles += [etcd.role_spec(self.estate, self.plan, host)] if host.etcd_votes else []
        roles += [postgresql.role_spec(self.estate, self.plan, host, self.secrets)] if host.database else []
        for path in MOVED[:-1]:
            (self.folder(host.name) / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
        for role in roles:
            for file in role.files:
                if not file.path.startswith("/etc/systemd"):
                    self._write(host.name, file)
        subprocess.run(["chown", "-R", "postgres:postgres", str(self.folder(host.name))], check=True)
        for secret in (render_pki.KEY_FILE, render_pki.BUNDLE_FILE):
            (self.folder(host.name) / secret.lstrip("/")).chmod(0o600)

    def start_etcd(self, host: str) -> None:
        """Start the etcd vote of `host` with the same joining step as its unit, and start it again whenever it ends."""
        folder = self.folder(host)
        folder.joinpath("srv/data/etcd").mkdir(exist_ok=True)
        shutil.chown(folder / "srv/data/etcd", "postgres", "postgres")
        folder.joinpath("srv/data/etcd").chmod(0o700)
        names = f"{folder}/etc/govcloud/etcd/etcd.env", f"{folder}/run/govcloud-etcd/join.env"
        once = f". {names[0]}; {folder}{etcd.JOIN} && . {names[1]} && exec etcd"
        script = f"set -a; while :; do ({once}); sleep {etcd.RESTART_S}; done"
        self._start(host, "etcd", ["sh", "-c", script])

    def start_patroni(self, host: str) -> None:
        """Start the database member of `host`."""
        for path in ("srv/data/postgresql", "srv/data/diverged"):
            folder = self.folder(host) / path
            folder.mkdir(exist_ok=True)
            shutil.chown(folder, "postgres", "postgres")
            folder.chmod(0o700)
        config = self.folder(host) / "etc/govcloud/postgresql/patroni.yml"
        self._start(host, "patroni", [f"{self.venv}/bin/patroni", str(config)])

    def start(self, *hosts: str) -> None:
        """Start all daemons of these hosts, or of all hosts if no host is named."""
        for host in self.hosts():
            if (not hosts or host.name in hosts) and host.etcd_votes:
                self.start_etcd(host.name)
        for host in self.hosts():
            if (not hosts or host.name in hosts) and host.database:
                self.start_patroni(host.name)

    def kill(self, *hosts: str, what: str | None = None) -> None:
        """Kill the daemons of these hosts at once: `etcd`, `patroni`, or both."""
        for key in [key for key in self.running if key[0] in hosts and what in (None, key[1])]:
            process = self.running.pop(key)
            _kill_tree(process.pid)
            process.wait()

    def kill_site(self, site: str) -> None:
        """Kill every daemon of the site at once."""
        self.kill(*(host.name for host in self.hosts() if host.at == site))

    def start_site(self, site: str) -> None:
        """Start every daemon of the site."""
        self.start(*(host.name for host in self.hosts() if host.at == site))

    def close(self) -> None:
        """Kill all daemons and remove the networks."""
        self.kill(*(host.name for host in self.hosts()))
        for network in self.networks.values():
            network.kill()
            network.wait()

    def log(self, host: str, what: str = "patroni") -> str:
        """Return the complete log of the daemon."""
        return (self.folder(host) / f"{what}.log").read_text(errors="replace")

    def sql(self, host: str, statement: str, database: str = "postgres", options: str = "") -> str:
        """Run a statement as superuser on the host and return its rows as text. Raise AssertionError if it fails."""
        argv = ["psql", "-XAtq", "-h", str(self.folder(host) / "var/run/postgresql"), "-d", database, "-c", statement]
        done = subprocess.run(
            argv,
            user="postgres",
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PGOPTIONS": options, "PGCONNECT_TIMEOUT": "3"},
        )
        assert done.returncode == 0, f"{host}: {statement}: {done.stderr}"
        return done.stdout.strip()

    def get(self, host: str, path: str) -> tuple[int, Any]:
        """Return status and JSON of the member's Patroni, or (0, None) if it does not answer."""
        url = f"{postgresql.rest_url(self.plan, self.estate.host(host))}{path}"
        argv = [
            "curl",
            "-s",
            "-m",
            "3",
            "--cacert",
            f"{self.folder(host)}{render_pki.AUTHORITY_FILE}",
            "-w",
            "\n%{http_code}",
            url,
        ]
        body, _, code = self.net(self.client, *argv, check=False).stdout.rpartition("\n")
        try:
            return int(code), json.loads(body) if body else None
        except ValueError:
            return int(code or 0), None

    def primary(self) -> str | None:
        """Return the member that reports to be primary. Raise AssertionError if two members do."""
        found = [
            host for host in self.members if (host, "patroni") in self.running and self.get(host, "/primary")[0] == 200
        ]
        assert len(found) < 2, f"two primaries: {found}"
        return found[0] if found else None

    def role(self, host: str) -> Mapping[str, Any]:
        """Return the status of the member from its Patroni; empty if it does not answer."""
        return self.get(host, "/patroni")[1] or {}

    def streaming(self, host: str) -> bool:
        """Return whether the member is a standby that streams from the primary."""
        return bool(self.role(host).get("replication_state") == "streaming")

    def synchronous_names(self, host: str) -> str:
        """Return the standbys that the member's commits wait for."""
        return self.sql(host, "SHOW synchronous_standby_names")

    def etcdctl(self, host: str, *arguments: str) -> str:
        """Run `etcdctl` on the host against its own vote and return the output; empty if it fails."""
        script = 'set -a; . "$0"; exec "$@"'
        own = self.folder(host) / "etc/govcloud/etcd/ctl.env"
        path = str(paths.cache() / "artifacts" / "etcdctl")
        done = self.net(host, "sh", "-c", script, str(own), path, *arguments, check=False)
        return done.stdout if done.returncode == 0 else ""

    def voting(self, host: str) -> bool:
        """Return whether the host's vote answers a read: then it follows the leader and has the majority's data."""
        return bool(self.etcdctl(host, "endpoint", "health", "--write-out", "json"))

    def wait_until_healthy(self, within_s: float = 60) -> str:
        """Wait for all etcd votes and one primary whose commits wait for one of the two others. Return its name."""
        for vote in self.estate.etcd_members:
            until(f"a healthy vote on {vote.name}", partial(self.voting, vote.name), within_s)

        def check() -> str | None:
            name = self.primary()
            others = [member for member in self.members if member != name]
            streaming = name and all(self.streaming(other) for other in others)
            listed = all(other in self.synchronous_names(name) for other in others) if name and streaming else False
            return name if listed else None

        return str(until("a primary with two synchronous candidates", check, within_s))

    @contextmanager
    def stopped(self, host: str, pattern: str) -> Iterator[None]:
        """Freeze the host's processes whose command line contains `pattern`."""
        pids = [pid for pid in _descendants(self.running[host, "patroni"].pid) if pattern in _command(pid)]
        assert pids, f"no process {pattern!r} on {host}"
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                if Path(f"/proc/{pid}").exists():
                    os.kill(pid, signal.SIGCONT)

    def net(self, host: str, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the host's network."""
        return subprocess.run([*self._inside(host), *argv], capture_output=True, text=True, check=check)

    def _inside(self, host: str) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.networks[host].pid}/ns/net"]

    def _start(self, host: str, what: str, argv: list[str]) -> None:
        assert (host, what) not in self.running
        path = f"{paths.cache() / 'artifacts'}:/usr/sbin:/usr/bin:/sbin:/bin"
        new = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        drop = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        with (self.folder(host) / f"{what}.log").open("ab") as log:
            self.running[host, what] = subprocess.Popen(
                [*self._inside(host), *new, *drop, *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": path, "HOME": str(self.folder(host)), "LC_ALL": "C.UTF-8"},
                cwd=self.root,
            )

    def _write(self, host: str, file: File) -> None:
        path = self.folder(host) / file.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.moved(host, file.text), encoding="utf-8")
        path.chmod(int(file.mode, 8))


def _network() -> subprocess.Popen[bytes]:
    """Start a process that keeps a new network namespace."""
    own, holder = Path("/proc/self/ns/net").stat().st_ino, subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    until("a network namespace", lambda: Path(f"/proc/{holder.pid}/ns/net").stat().st_ino != own, 5)
    return holder


def _kill_tree(pid: int) -> None:
    """Kill the first process of the namespace below `pid`: the kernel then kills all others."""
    for child in _children(pid):
        os.kill(child, signal.SIGKILL)
    until(f"the end of {pid}", lambda: not _children(pid), 10)


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _descendants(pid: int) -> list[int]:
    found = []
    for child in _children(pid):
        found += [child, *_descendants(child)]
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def patroni_environment(folder: Path) -> Path:
    """Install Patroni from the wheelhouse, as the role does, and return its folder."""
    wheels, venv = paths.cache() / "artifacts" / "wheels", folder / "patroni"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pinned = venv / "pinned"
    lock = (wheels / "requirements-patroni.lock").read_text().splitlines()
    pinned.write_text(
        "\n".join(line.split(" ")[0] for line in lock if "==" in line and not line.startswith((" ", "#")))
    )
    subprocess.run(
        [
            f"{venv}/bin/pip",
            "install",
            "--quiet",
            "--no-index",
            "--no-deps",
            "--find-links",
            str(wheels),
            "-r",
            str(pinned),
        ],
        check=True,
    )
    return venv


def missing() -> str:
    """Return the reason why the tests cannot run here; empty if they can."""
    if os.geteuid():
        return "needs root: network and process namespaces"
    if not Path(POSTGRESQL_PROGRAMS, "initdb").exists():
        return f"needs PostgreSQL {postgresql.VERSION}"
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        return "needs the account postgres"
    artifacts = paths.cache() / "artifacts"
    if not (artifacts / "etcd").exists() or not (artifacts / "wheels" / "requirements-patroni.lock").exists():
        return f"needs etcd and Patroni's wheels in {artifacts}"
    return ""


def new_folder() -> Path:
    """Return a new folder. Its path is short because of sockets; all users can read it because daemons drop rights."""
    folder = Path(tempfile.mkdtemp(prefix="gc"))
    folder.chmod(0o755)
    return folder
