"""A site's image registry and API server on loopback, both real, and the clean-up program with both."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from playbooks import host_programs, pki
from playbooks.render import registry_clean
from playbooks.render.kubernetes import pki as kubernetes_pki
from playbooks.render.kubernetes import rbac
from tests.image_registry import DAYS, Authority, ImageRegistry, docker_registry
from tools.envtest import ControlPlane, missing

ADDRESS, HOST = "127.0.1.5", "futian-kube1"
COLLECTED = "collected"


@dataclass
class Site:
    """A site's image registry and cluster, and the folder with the settings and certificates of the clean-up."""

    registry: ImageRegistry
    cluster: ControlPlane
    folder: Path

    def clean(self) -> tuple[int, str, str]:
        """Run the host's own program with its settings. Return exit code, output and errors.

        If the program requests it, restart the registry.
        """
        program, asked = Path(host_programs.__file__).with_name("registry_clean.py"), self.folder / COLLECTED
        argv = ["/usr/bin/python3", str(program), str(self.folder / "settings.json")]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if asked.exists():
            asked.unlink()
            self.registry.start_again()
        return done.returncode, done.stdout, done.stderr


def own_identity(site: Site, authority: Authority) -> None:
    """Install the certificates as the roles do on a host, and the rights of a new cluster."""
    host_key, host_cert = authority.issue(HOST, ["client"])
    key, cert = pki.issue(site.cluster.authority, kubernetes_pki.CLEANER_USER, [], DAYS, ["client"])
    texts = {
        "host.key": host_key,
        "host.crt": host_cert,
        "own.key": key,
        "own.crt": cert,
        "estate.crt": authority.authority.cert,
        "cluster.crt": site.cluster.authority.cert,
    }
    for name, text in texts.items():
        (site.folder / name).write_text(text)

    def client(url: str, trust: str, name: str) -> dict[str, str]:
        paths = {"authority": f"{trust}.crt", "cert": f"{name}.crt", "key": f"{name}.key"}
        return {"url": url, **{part: str(site.folder / path) for part, path in paths.items()}}

    settings = {
        "storage": str(site.registry.storage),
        "registry": client(site.registry.url, "estate", "host"),
        "cluster": client(site.cluster.server, "cluster", "own"),
        "lists": registry_clean.lists(),
        "collect": ["touch", str(site.folder / COLLECTED)],
    }
    (site.folder / "settings.json").write_text(json.dumps(settings))
    site.cluster.kubectl("apply", "-f", "-", stdin=rbac.access())


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Start the registry and the API server."""
    if absent := (*missing(), *(() if docker_registry() else ("docker-registry",))):
        pytest.skip(f"not built: {', '.join(absent)}")
    authority, folder = Authority([ADDRESS]), tmp_path_factory.mktemp("clean")
    built = Site(
        ImageRegistry(tmp_path_factory.mktemp("registry"), ADDRESS, HOST, authority),
        ControlPlane(tmp_path_factory.mktemp("cluster")),
        folder,
    )
    with ExitStack() as stack:
        for daemon in (built.registry, built.cluster):
            stack.callback(daemon.stop)
            daemon.start()
        own_identity(built, authority)
        yield built


@pytest.fixture
def site(daemons: Site) -> Site:
    """Empty the registry, and remove all image references from the cluster."""
    daemons.cluster.kubectl("delete", "deployments", "--all", "--cascade=foreground", "--wait")
    daemons.registry.empty()
    return daemons
