"""Two sites of the estate on loopback: each a real API server with its controllers, and a real image registry.

There are no nodes. `kubelets` reports the pods' status to the API servers in their place.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi

from estate.addressing import plan
from estate.loader import load
from estate.model import Cluster, Estate, HostRole
from playbooks import pki
from playbooks.render.kubernetes.cluster import API_PORT, image_reference
from playbooks.render.pki import gateway_certificate
from playbooks.secrets import OPERATOR, password_names
from stacks.components.resources import PLAYBOOK
from stacks.phases import DATA
from stacks.providers import registry
from stacks.runs import engine, workspace
from stacks.state import state_files
from tests.image_registry import Authority, ImageRegistry
from tests.integration.platform.kubelet import Kubelet
from tests.one_service import only
from tests.unit.stacks.declared import closing_loops
from tools.envtest import ControlPlane
from tools.oci import layout
from workstation.oci import OciImage

REMOTE, CITY = "shaoguan", "futian"
SITES = {REMOTE: "127.0.1.3", CITY: "127.0.1.1"}
"""In the order of a change to a live estate, with the address of each site's cluster and registry."""
DAYS = 2
POLL_S = 0.2
SERVICE = "approval"
NAMESPACE = load().service(SERVICE).bureau
GATEWAY = load().bureau(NAMESPACE).gateway_name
GATEWAYS_CERTIFICATE = gateway_certificate(NAMESPACE)
STACK = ["platform"]
DEPLOYMENT = f"Deployment {NAMESPACE}/{SERVICE}"


def estate() -> Estate:
    """The project's own estate, with clusters at the two sites, and declared as real: so it needs no running lab."""
    return at_two_sites(load())


def at_two_sites(declared: Estate) -> Estate:
    """Return the estate with clusters at the two sites only, and with one service."""
    hosts = tuple(
        host.model_copy(update={"platform": host.platform.model_copy(update={"address": SITES[host.at]})})
        if host.kind is HostRole.KUBE and host.at in SITES
        else host
        for host in declared.hosts
    )
    clusters = tuple(Cluster(site=site, version="1.37.2") for site in SITES)
    assert declared.kubernetes
    kubernetes = declared.kubernetes.model_copy(update={"clusters": clusters})
    changed = declared.model_copy(update={"lab": False, "hosts": hosts, "kubernetes": kubernetes})
    return only(changed, SERVICE)


class Site:
    """One site's daemons, in a folder."""

    def __init__(self, name: str, folder: Path, authority: Authority) -> None:
        self.name = name
        self.address, self.host = SITES[name], f"{name}-kube1"
        networks = plan(estate()).clusters[name].cluster_ips
        self.cluster = ControlPlane(
            folder / "cluster",
            address=self.address,
            port=API_PORT,
            cluster_ips=f"{networks.ipv4},{networks.ipv6}",
        )
        self.registry = ImageRegistry(folder / "registry", self.address, self.host, authority)

    def start(self) -> None:
        """Start all daemons and wait until they answer."""
        self.cluster.start()
        self.registry.start()

    def stop(self) -> None:
        """Stop all daemons."""
        self.registry.stop()
        self.cluster.stop()

    def holds(self, image: OciImage) -> bool:
        """Whether the registry has the image."""
        return registry.holds(self.registry.there, image.name, image.digest)

    def secrets(self) -> dict[str, Any]:
        """Return a cluster's secrets as the data stack keeps them."""
        authority = self.cluster.authority
        key, cert = pki.issue(authority, OPERATOR, [], DAYS, ["client"], organizations=["system:masters"])
        return {
            "authority": authority.cert,
            "etcd_authority": authority.cert,
            "certificates": {OPERATOR: {"cert": cert, "key": key}},
            "encryption": "x" * 32,
        }

    def deployed(self) -> str:
        """Return the image of the service's pods."""
        path = "jsonpath={.spec.template.spec.containers[0].image}"
        return self.cluster.kubectl("-n", NAMESPACE, "get", "deployment", SERVICE, "-o", path)


def answers(folder: Path, site: Site, refusal: str = "") -> None:
    """Set the answer of the site's ingress about the service, for an operator whose machines are in the folder."""
    ingress = folder / "machines" / site.address / "ingress"
    ingress.write_text(f"#!/bin/sh\necho '{refusal}'\n{'exit 1' if refusal else ''}\n", encoding="utf-8")
    ingress.chmod(0o755)


@contextmanager
def kubelets(sites: list[Site], *good: OciImage, bad: OciImage | None = None) -> Iterator[None]:
    """Report pods to the API servers while the block runs.

    Pods of the good images become ready, pods of the bad image crash again and again, and terminating pods are deleted.
    """
    ended = threading.Event()
    digests, broken = {image.digest for image in good}, {bad.digest} if bad else set()

    def serve(site: Site) -> None:
        with closing(Kubelet(site.cluster, site.host, NAMESPACE)) as kubelet:
            while not ended.wait(POLL_S):
                kubelet.report_pods(digests, broken)

    threads = [threading.Thread(target=serve, args=(site,)) for site in sites]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@dataclass(frozen=True)
class Built:
    """The stacks before the platform, in the state that their own runs leave."""

    sites: list[Site]
    authority: Authority

    def data(self) -> None:
        """Deploy the data stack with its secrets."""
        key, cert = self.authority.operator
        door_key, door_cert = self.authority.issue(GATEWAYS_CERTIFICATE, ["server"])
        certificates = {
            OPERATOR: {"cert": cert, "key": key},
            GATEWAYS_CERTIFICATE: {"cert": door_cert, "key": door_key},
        }
        values = {
            "authority": self.authority.authority.cert,
            "certificates": certificates,
            "passwords": dict.fromkeys(password_names(load()), PASSWORD),
            "clusters": {site.name: site.secrets() for site in self.sites},
        }
        with closing_loops():
            workspace.open_stack(DATA, lambda: pulumi.export("secrets", pulumi.Output.secret(values))).up()

    def clusters(self) -> None:
        """Write the states of the sites' stacks. The platform only reads from them that a cluster was deployed."""
        for site in self.sites:
            role = {"role": "kubernetes_control_plane"}
            urn = f"urn:pulumi:{site.name}::govcloud::{PLAYBOOK}::{site.name}-{site.host}"
            host = {"urn": urn, "type": PLAYBOOK, "id": site.host, "outputs": {"roles": [role]}}
            path = state_files.checkpoint(site.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"version": 3, "checkpoint": {"latest": {"resources": [host]}}}))


PASSWORD = "hunter2hunter2hunter2hunter2"


def image(folder: Path, version: str, name: str = SERVICE) -> OciImage:
    """Make a small image. Its pods are never really started."""
    tree, made = folder / f"tree-{name}-{version}", folder / f"image-{name}-{version}"
    tree.mkdir(parents=True)
    made.mkdir()
    (tree / "version").write_text(f"{name} {version}")
    digest = layout.finish(made, [layout.layer(made, tree, lambda path: True)], {"User": "65532"})
    return OciImage(name=name, folder=made, digest=digest)


def up(estate: Estate, *images: OciImage, without: tuple[str, ...] = ()) -> tuple[engine.UpResult, list[str]]:
    """Run `./govcloud up platform`. Return its result and its progress lines."""
    said: list[str] = []
    done = engine.up(estate, STACK, without, said.append, images)
    return done, said


def reference(image: OciImage) -> str:
    """Return the image's name as pods use it."""
    return image_reference(image.name, image.digest)


def password_in(folder: Path) -> list[Path]:
    """Return the files below the folder that contain the password."""
    found = []
    for place, _, names in os.walk(folder):
        found += [path for name in names if PASSWORD.encode() in (path := Path(place) / name).read_bytes()]
    return found
