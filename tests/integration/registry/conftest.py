"""A site's image registry and API server on loopback, both real, and the clean-up between them."""

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
class Room:
    """One of each, and a folder with what belongs to the clean-up."""

    registry: ImageRegistry
    cluster: ControlPlane
    folder: Path

    def clean(self) -> tuple[int, str, str]:
        """The host's own program with its settings: exit code, output, faults. Asked to, the registry starts anew."""
        program, asked = Path(host_programs.__file__).with_name("registry_clean.py"), self.folder / COLLECTED
        argv = ["/usr/bin/python3", str(program), str(self.folder / "settings.json")]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if asked.exists():
            asked.unlink()
            self.registry.start_again()
        return done.returncode, done.stdout, done.stderr


def own_identity(room: Room, authority: Authority) -> None:
    """Certificates as the roles put them on a host, and the rights that a new cluster gets."""
    host_key, host_cert = authority.issue(HOST, ["client"])
    key, cert = pki.issue(room.cluster.authority, kubernetes_pki.CLEANER_USER, [], DAYS, ["client"])
    texts = {
        "host.key": host_key,
        "host.crt": host_cert,
        "own.key": key,
        "own.crt": cert,
        "estate.crt": authority.authority.cert,
        "cluster.crt": room.cluster.authority.cert,
    }
    for name, text in texts.items():
        (room.folder / name).write_text(text)

    def shows(url: str, trust: str, name: str) -> dict[str, str]:
        paths = {"authority": f"{trust}.crt", "cert": f"{name}.crt", "key": f"{name}.key"}
        return {"url": url, **{part: str(room.folder / path) for part, path in paths.items()}}

    settings = {
        "storage": str(room.registry.storage),
        "registry": shows(room.registry.url, "estate", "host"),
        "cluster": shows(room.cluster.server, "cluster", "own"),
        "lists": registry_clean.lists(),
        "collect": ["touch", str(room.folder / COLLECTED)],
    }
    (room.folder / "settings.json").write_text(json.dumps(settings))
    room.cluster.kubectl("apply", "-f", "-", stdin=rbac.access())


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """Running."""
    if absent := (*missing(), *(() if docker_registry() else ("docker-registry",))):
        pytest.skip(f"not built: {', '.join(absent)}")
    authority, folder = Authority([ADDRESS]), tmp_path_factory.mktemp("clean")
    made = Room(
        ImageRegistry(tmp_path_factory.mktemp("registry"), ADDRESS, HOST, authority),
        ControlPlane(tmp_path_factory.mktemp("cluster")),
        folder,
    )
    with ExitStack() as stack:
        for daemon in (made.registry, made.cluster):
            stack.callback(daemon.stop)
            daemon.start()
        own_identity(made, authority)
        yield made


@pytest.fixture
def room(daemons: Room) -> Room:
    """The registry is empty, and the cluster names no image."""
    daemons.cluster.kubectl("delete", "deployments", "--all", "--cascade=foreground", "--wait")
    daemons.registry.empty()
    return daemons
