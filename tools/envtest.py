"""A private Kubernetes control plane on loopback: real daemons for tests and benchmarks, without nodes.

It runs an API server and etcd. With `controllers` the controller manager runs too: it creates pods of Deployments,
counts quotas and deletes namespaces. Pods stay pending, because there is no scheduler and no kubelet.
"""

from __future__ import annotations

import base64
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml

from estate import versions
from playbooks import pki
from tools import command
from workstation import paths
from workstation.errors import GovcloudError

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
VERSION = versions.KUBERNETES[-1]
"""The newest supported version of Kubernetes."""
STARTS_WITHIN_S = 300.0
"""Time limit for a start on two cores while a whole lab starts too. Alone it takes 5 s."""
DAYS = 2


def missing() -> tuple[str, ...]:
    """Return the programs that have not been built."""
    return tuple(name for name in PROGRAMS if not program(name).exists())


def program(name: str) -> Path:
    """Return the path of a built program."""
    return paths.cache() / "artifacts" / (name if name == "etcd" else f"kubernetes/v{VERSION}/{name}")


class ControlPlane:
    """One cluster in a folder, usable as a context. `stop_api` and `freeze_api` make its API server unreachable."""

    def __init__(
        self,
        folder: Path,
        controllers: bool = True,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        cluster_ips: str = "10.96.0.0/20",
    ) -> None:
        """Configure the cluster. The API server listens at the loopback address and the port; 0 means any free port.

        `cluster_ips` are the prefixes of Services, with a comma between the families.
        """
        self.folder, self.controllers = folder, controllers
        self.address, self.cluster_ips = address, cluster_ips
        self.token = secrets.token_hex(16)
        free, self._etcd_port, self._peer_port, self._controller_port = _free_ports(4)
        self.port = port or free
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        key, cert = pki.new_authority("envtest", DAYS)
        self.authority = pki.Authority(key=key, cert=cert)

    @property
    def running(self) -> tuple[str, ...]:
        """Names of the running daemons."""
        return tuple(self._running)

    @property
    def server(self) -> str:
        """URL of the API server."""
        return f"https://{self.address}:{self.port}"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start all daemons and wait until the API server is ready."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key, cert = pki.issue(self.authority, "kube-apiserver", [self.address, "localhost"], DAYS, ["server"])
        account_key, account_cert = pki.new_authority("accounts", DAYS)
        files = {
            "ca.crt": self.authority.cert,
            "server.crt": cert,
            "server.key": key,
            "accounts.key": account_key,
            "accounts.crt": account_cert,
            "tokens.csv": f'{self.token},admin,admin,"system:masters"\n',
            "admin.conf": self.kubeconfig(),
        }
        for name, text in files.items():
            (self.folder / name).touch(mode=0o600)
            (self.folder / name).write_text(text)
        self._run_etcd()
        self.start_api()
        if self.controllers:
            self._run_controllers()

    def stop(self) -> None:
        """Stop all daemons, the controller manager first, and delete the data."""
        for name in ("kube-controller-manager", "kube-apiserver", "etcd"):
            self._end(name)
        shutil.rmtree(self.folder / "etcd", ignore_errors=True)

    def stop_api(self) -> None:
        """Kill the API server as a crash would."""
        self._end("kube-apiserver", kill=True)

    def start_api(self) -> None:
        """Start the API server again at the same address, with the same data."""
        folder = self.folder
        self._run(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--bind-address={self.address}",
            f"--advertise-address={self.address}",
            "--endpoint-reconciler-type=none",  # refuses loopback addresses
            f"--secure-port={self.port}",
            f"--tls-cert-file={folder}/server.crt",
            f"--tls-private-key-file={folder}/server.key",
            f"--client-ca-file={folder}/ca.crt",
            f"--token-auth-file={folder}/tokens.csv",
            "--service-account-issuer=https://envtest.invalid",
            f"--service-account-key-file={folder}/accounts.crt",
            f"--service-account-signing-key-file={folder}/accounts.key",
            f"--service-cluster-ip-range={self.cluster_ips}",
            "--authorization-mode=RBAC",
            "--anonymous-auth=false",
            "--allow-privileged=true",  # so that only its namespace can refuse a privileged pod
            "--profiling=false",
        )
        self._wait("kube-apiserver", lambda: self._answers("/readyz"))
        self._wait("kube-apiserver", lambda: self._answers("/api/v1/namespaces/default"))

    def freeze_api(self) -> None:
        """Freeze the API server with SIGSTOP: it accepts connections and does not answer."""
        self._running["kube-apiserver"].send_signal(signal.SIGSTOP)

    def thaw_api(self) -> None:
        """Continue the API server. It may be running already."""
        if found := self._running.get("kube-apiserver"):
            found.send_signal(signal.SIGCONT)

    def kubeconfig(self, **changes: Any) -> str:
        """Return an administrator's kubeconfig.

        `changes` replaces `server`, `authority` (PEM), `token` or `user` (all credentials).
        """
        authority = base64.b64encode(str(changes.get("authority", self.authority.cert)).encode()).decode()
        user: Mapping[str, Any] = changes.get("user") or {"token": changes.get("token", self.token)}
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "envtest",
                "clusters": [
                    {
                        "name": "envtest",
                        "cluster": {
                            "server": changes.get("server", self.server),
                            "certificate-authority-data": authority,
                        },
                    }
                ],
                "users": [{"name": "admin", "user": dict(user)}],
                "contexts": [{"name": "envtest", "context": {"cluster": "envtest", "user": "admin"}}],
            }
        )

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """Run kubectl and return its output. Raises `GovcloudError` with its error output."""
        argv = [_program("kubectl"), f"--kubeconfig={self.folder}/admin.conf", *words]
        env = {"HOME": str(self.folder), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, env=env)
        if done.returncode:
            raise GovcloudError(f"kubectl {' '.join(words)} failed", done.stderr.strip())
        return done.stdout

    def _answers(self, path: str) -> bool:
        request = urllib.request.Request(self.server + path, headers={"Authorization": f"Bearer {self.token}"})
        trust = ssl.create_default_context(cadata=self.authority.cert)
        try:
            with urllib.request.urlopen(request, context=trust, timeout=5):
                return True
        except OSError:
            return False

    def _run_etcd(self) -> None:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        self._run(
            "etcd",
            f"--data-dir={self.folder}/etcd",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )

    def _run_controllers(self) -> None:
        self._run(
            "kube-controller-manager",
            f"--kubeconfig={self.folder}/admin.conf",
            f"--service-account-private-key-file={self.folder}/accounts.key",
            f"--root-ca-file={self.folder}/ca.crt",
            "--use-service-account-credentials=false",
            "--leader-elect=false",
            "--controllers=*,-node-lifecycle-controller",  # nodes that a test declares have no kubelet to report
            "--bind-address=127.0.0.1",
            f"--secure-port={self._controller_port}",
            f"--cert-dir={self.folder}",
            "--profiling=false",
        )
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._wait("kube-controller-manager", lambda: self._answers(account))

    def _run(self, name: str, *options: str) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        argv = [*command.DIE_WITH_PARENT, _program(name), *options]
        self._running[name] = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder)
        log.close()

    def _end(self, name: str, kill: bool = False) -> None:
        process = self._running.pop(name, None)
        if process is None:
            return
        process.kill() if kill else process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _wait(self, name: str, ready: Any) -> None:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not ready():
            process, log = self._running[name], self.folder / f"{name}.log"
            last = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
            if process.poll() is not None:
                raise GovcloudError(f"{name} ended with {process.returncode}", last)
            if time.monotonic() > deadline:
                raise GovcloudError(f"{name} was not ready after {STARTS_WITHIN_S:.0f} s", last)
            time.sleep(0.1)


def _program(name: str) -> str:
    path = program(name)
    if not path.exists():
        raise GovcloudError(f"{name} has not been built", "run `./govcloud test`, or setup with Kubernetes")
    return str(path)


def _free_ports(count: int) -> list[int]:
    """Return different ports that are free at this moment. All sockets stay bound until all ports are known."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
