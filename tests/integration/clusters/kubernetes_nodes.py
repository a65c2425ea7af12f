"""One site's kube hosts as real machines, without the rest of the estate: their own namespaces, disks and names.

Machines are started as the lab starts them and configured by the real roles through the real runner. Nothing here bears
a name by which the lab would take it for its own, so that both may stand on one host.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from estate import versions
from estate.addressing import plan
from estate.loader import load
from estate.model import Cluster, Estate, Host, HostRole
from lab import cgroups, disks, lab_state, mounts, processes, sysctls
from lab.command import network_of
from lab.machines import DROPPED
from playbooks import pki, runner
from playbooks.host_spec import HostSpec, keyed
from playbooks.render import pki as render_pki
from playbooks.render.kubernetes import pki as kubernetes_pki
from playbooks.render.pki import Leaf
from playbooks.role_assignment import roles
from playbooks.secrets import Certificate, ClusterSecrets, Secrets, password_names
from tests.polling import until
from tools import golang
from tools.image import bake
from workstation import paths, ssh

PREFIX, OPERATOR = "gk-", "gk-ops"
SITE = "futian"
OLD, VERSION = versions.KUBERNETES
NEEDED = ("usr/local/bin/kubelet", "usr/local/bin/containerd", "usr/bin/docker-registry")


def missing(version: str) -> str:
    """Return the reason why this cannot run here; empty if it can."""
    if os.geteuid() != 0:
        return "needs root: machines with namespaces and disks of their own"
    try:
        root = bake.current()
    except Exception as error:
        return str(error)
    if unbuilt := golang.missing(golang.kubernetes([version])):
        return f"{unbuilt[0].name} has not been built: run `./govcloud test lab`"
    lacking = [name for name in NEEDED if not (root / name).exists()]
    return f"the base image has no {', '.join(lacking)}: no cluster is declared in it" if lacking else ""


def estate_with(nodes: int, version: str) -> Estate:
    """Return the project's estate with a cluster of this many nodes at one site, under names that no lab uses."""
    estate = load()
    declared_here = estate.hosts_at(SITE, HostRole.KUBE)
    first = declared_here[0]
    own = tuple(
        first.model_copy(update={"name": f"node-kube{n}", "number": first.number + n - 1}) for n in range(1, nodes + 1)
    )
    others = tuple(host for host in estate.hosts if host not in declared_here)
    assert estate.kubernetes
    clusters = (Cluster(site=SITE, version=version),)
    declared = estate.kubernetes.model_copy(update={"clusters": clusters})
    return estate.model_copy(update={"hosts": (*others, *own), "kubernetes": declared})


def _issued(authority: pki.Authority, leaves: Iterable[Leaf]) -> dict[str, Certificate]:
    made = {}
    for leaf in leaves:
        key, cert = pki.issue(authority, leaf.subject, leaf.sans, 1, leaf.usages, leaf.organizations)
        made[leaf.name] = Certificate(cert=cert, key=key)
    return made


def _authority(name: str) -> pki.Authority:
    key, cert = pki.new_authority(name, 2)
    return pki.Authority(key=key, cert=cert)


class KubernetesNodes:
    """The machines of the site's nodes. `close` removes everything."""

    def __init__(self, folder: Path, nodes: int, version: str = VERSION) -> None:
        self.folder, self.estate = folder, estate_with(nodes, version)
        self.plan = plan(self.estate)
        self.hosts = self.estate.nodes_at(SITE)
        self.first = self.hosts[0]
        self.image, self.layout = bake.current(), cgroups.detect()
        self.access = ssh.Access(key=folder / "ssh" / "id", known_hosts=folder / "ssh" / "known")
        self.secrets = self._secrets()
        self.leaders: dict[str, subprocess.Popen[bytes]] = {}
        self._undo = ExitStack()

    def _secrets(self) -> Secrets:
        estate, cluster, etcd = (_authority(name) for name in ("estate", "cluster", "etcd"))
        certificates = _issued(cluster, kubernetes_pki.leaves(self.estate, self.plan, SITE))
        return Secrets(
            authority=estate.cert,
            certificates=_issued(estate, render_pki.leaves(self.estate, self.plan)),
            passwords={name: pki.new_password() for name in password_names(self.estate)},
            clusters={
                SITE: ClusterSecrets(
                    authority=cluster.cert,
                    etcd_authority=etcd.cert,
                    certificates=certificates | _issued(etcd, kubernetes_pki.etcd_leaves()),
                    encryption=pki.new_password(),
                )
            },
        )

    # Machines -------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Create the network, keys and machines. The machines answer when this returns."""
        sysctls.change(nodes=True)
        self._wire()
        self.key = self._keys()
        for host in self.hosts:
            self._prepare(host)
            self.power_on(host)
        for host in self.hosts:
            self.await_ssh(host)

    def _wire(self) -> None:
        own, segment = self.plan.operator, self.plan.segments[SITE]
        gateway = self.plan.lan(self.estate.router_of(SITE).name)
        _ip("netns", "add", OPERATOR)
        for bridge, v4, v6 in (
            ("mgmt", own.ipv4, own.ipv6),
            ("lan", f"{gateway.ipv4}/{segment.ipv4.prefixlen}", f"{gateway.ipv6}/{segment.ipv6.prefixlen}"),
        ):
            _ip("-n", OPERATOR, "link", "add", bridge, "type", "bridge", "forward_delay", "0")
            _ip("-n", OPERATOR, "link", "set", bridge, "up")
            _ip("-n", OPERATOR, "address", "add", str(v4), "dev", bridge)
            _ip("-n", OPERATOR, "address", "add", str(v6), "dev", bridge, "nodad")
        _ip("-n", OPERATOR, "link", "set", "lo", "up")

    def _keys(self) -> str:
        self.access.key.parent.mkdir(mode=0o700)
        private, public = _new_key()
        self.access.key.write_bytes(private)
        self.access.key.chmod(0o600)
        return public

    def _prepare(self, host: Host) -> None:
        upper = self.folder / host.name / "upper"
        private, public = _new_key()
        address = self.plan.management(host.name)
        with self.access.known_hosts.open("a") as known:
            known.write(f"{address} {public}\n")
        for path, content, mode in (
            ("etc/hostname", f"{host.name}\n".encode(), 0o644),
            ("etc/machine-id", f"{uuid.uuid4().hex}\n".encode(), 0o444),
            ("etc/ssh/ssh_host_ed25519_key", private, 0o600),
            ("root/.ssh/authorized_keys", f"{self.key}\n".encode(), 0o600),
        ):
            target = upper / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(mode)
        (upper / "root").chmod(0o700)
        (upper / "root/.ssh").chmod(0o700)
        assert host.disk
        disks.create(self._disk(host), host.disk.size_mib)

    def _disk(self, host: Host) -> Path:
        return self.folder / f"{PREFIX}{host.name}.disk"

    def power_on(self, host: Host) -> None:
        """Connect, mount and start the machine without waiting."""
        self._plug(host)
        where, root, data = self.folder / host.name, self.folder / host.name / "root", self.folder / host.name / "data"
        for path in (where / "work", root, data):
            path.mkdir(parents=True, exist_ok=True)
        options = f"lowerdir={self.image},upperdir={where / 'upper'},workdir={where / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "-o", options, f"{PREFIX}root", str(root)], check=True)
        disks.mount(self._disk(host), data)
        groups = [hierarchy / f"{PREFIX}nodes" / host.name for hierarchy in self.layout.hierarchies]
        for group in groups:
            group.mkdir(parents=True, exist_ok=True)
        self.leaders[host.name] = self._start(host, root, data, groups)

    def _start(self, host: Host, root: Path, data: Path, groups: list[Path]) -> subprocess.Popen[bytes]:
        assert host.disk
        join = 'for group in $GROUPS_TO_JOIN; do echo $$ >"$group/cgroup.procs"; done; exec "$@"'
        argv = [
            "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--settings=no", f"--directory={root}",
            f"--machine={PREFIX}{host.name}", f"--hostname={host.name}",
            f"--network-namespace-path=/run/netns/{PREFIX}{host.name}",
            "--capability=all", f"--drop-capability={DROPPED}", "--system-call-filter=add_key keyctl request_key bpf",
            "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--bind=/dev/kmsg",
            f"--bind={data}:{host.disk.mount}", "--boot", "--console=pipe",
        ]  # fmt: skip
        environment = {"PATH": os.environ["PATH"], "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"}
        with (self.folder / f"{host.name}.console").open("ab") as console:
            return subprocess.Popen(
                ["sh", "-c", join, "sh", *argv],
                env={**environment, "GROUPS_TO_JOIN": " ".join(map(str, groups))},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                cwd="/",
                start_new_session=True,
            )

    def _plug(self, host: Host) -> None:
        netns, own = f"{PREFIX}{host.name}", self.plan.hosts[host.name].management
        _ip("netns", "add", netns)
        for inside, bridge in (("mgmt0", "mgmt"), ("lan0", "lan")):
            outside = f"{bridge}{host.number}"
            _ip("-n", netns, "link", "add", inside, "type", "veth", "peer", "name", outside, "netns", OPERATOR)
            _ip("-n", OPERATOR, "link", "set", outside, "master", bridge, "up")
            _ip("-n", netns, "link", "set", inside, "up")
        _ip("-n", netns, "link", "set", "lo", "up")
        _ip("-n", netns, "address", "add", str(own.ipv4), "dev", "mgmt0")
        _ip("-n", netns, "address", "add", str(own.ipv6), "dev", "mgmt0", "nodad")

    def await_ssh(self, host: Host) -> None:
        """Wait until SSH works."""

        def answers() -> bool:
            try:
                return self.run(host, "true").returncode == 0
            except ssh.HostUnreachable:
                return False

        until(f"{host.name} answers", answers, 60)

    def cut_power(self, host: Host) -> None:
        """Power off the machine: unsynced data is lost and every process is killed."""
        where = self.folder / host.name
        with suppress(OSError):
            disks.lose_power(where / "data")
        nspawn = self.leaders.pop(host.name)
        for pid in (*_children(nspawn.pid), nspawn.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        nspawn.wait(timeout=20)
        for name in ("data", "root"):
            until(f"{where / name} is free", lambda at=where / name: mounts.unmount(at) or not at.is_mount(), 20)
        for bridge in ("mgmt", "lan"):  # the kernel takes its time to bury a namespace with its ends
            _ip("-n", OPERATOR, "link", "delete", f"{bridge}{host.number}")
        _ip("netns", "delete", f"{PREFIX}{host.name}")
        control = self.access.key.parent
        for socket in control.glob("mux-*"):
            socket.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove everything that still exists."""
        for host in self.hosts:
            if host.name in self.leaders:
                self.cut_power(host)
        for netns in (OPERATOR, *(f"{PREFIX}{host.name}" for host in self.hosts)):
            subprocess.run(["ip", "netns", "delete", netns], stderr=subprocess.DEVNULL, check=False)
        if lab_state.read() is None:  # a lab that is up needs them, and puts them back itself
            sysctls.restore()
        until("the control groups are empty", self._remove_groups, 20)
        cgroups.remove_nodes(processes.powered())
        shutil.rmtree(self.folder, ignore_errors=True)

    def _remove_groups(self) -> bool:
        """False while the kernel still buries processes in one of them."""
        for top in (hierarchy / f"{PREFIX}nodes" for hierarchy in self.layout.hierarchies):
            for path, _, _ in os.walk(top, topdown=False):
                with suppress(OSError):
                    Path(path).rmdir()
        return not any((hierarchy / f"{PREFIX}nodes").exists() for hierarchy in self.layout.hierarchies)

    # What is done there --------------------------------------------------------------------------------------------

    def run(self, host: Host, *argv: str, stdin: bytes = b"", timeout_s: float = 60) -> ssh.Result:
        """Run a command on the machine."""
        with network_of(Path("/run/netns") / OPERATOR):
            return ssh.run(
                self.access, str(self.plan.management(host.name)), list(argv), stdin=stdin, timeout_s=timeout_s
            )

    def text(self, host: Host, *argv: str, stdin: bytes = b"") -> str:
        """Run a command and return its output. Raises AssertionError with the output if it fails."""
        done = self.run(host, *argv, stdin=stdin)
        assert done.returncode == 0, f"{argv}: {done.stdout.decode()} {done.stderr.decode()}"
        return done.stdout.decode()

    def kubectl(self, *argv: str, stdin: str = "") -> str:
        """Run kubectl as the host's administrator."""
        return self.text(self.first, "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", *argv, stdin=stdin.encode())

    def inputs(self, host: Host) -> HostSpec:
        """The network stack, and of the site's stack what the cluster consists of."""
        network = roles(self.estate, host.name, "network", operator_keys=(self.key,))
        site = roles(self.estate, host.name, "site", self.secrets)
        kept = [role for role in site if role.role not in ("service_setup", "ingress")]
        return keyed(host.name, str(self.plan.management(host.name)), (*network, *kept), secret=self.secrets.texts())

    def upgrade(self, version: str) -> None:
        """Declare another version; `apply` deploys it."""
        self.estate = estate_with(len(self.hosts), version)

    def apply(self, host: Host) -> runner.Applied:
        """Apply the wanted state to the machine."""
        with network_of(Path("/run/netns") / OPERATOR):
            return runner.apply(self.inputs(host), self.access, artifacts=paths.cache() / "artifacts", timeout_s=600)


def _children(pid: int) -> list[int]:
    """The processes that it has started: of a systemd-nspawn, the machine's first."""
    try:
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _new_key() -> tuple[bytes, str]:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), public


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
