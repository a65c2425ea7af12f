"""Which images the clean-up keeps in a real registry, by the answers of a real API server."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import time
from pathlib import Path

import pytest
import yaml

from playbooks import pki
from playbooks.host_programs.registry_clean import FRESH_S
from playbooks.render.kubernetes import pki as kubernetes_pki
from playbooks.render.kubernetes.cluster import image_reference
from stacks.providers import registry
from tests.image_registry import DAYS
from tests.integration.registry.conftest import Site
from tests.polling import until
from tools.oci import layout
from workstation.errors import GovcloudError
from workstation.oci import MANIFEST, OciImage, manifest_of

NAME = "planning/records"


def pushed(site: Site, folder: Path, version: str, *, days_ago: float = 2) -> OciImage:
    """Push an image and set the time of its push. It has a layer that all versions share, and a layer of its own."""
    base, own, built = folder / "base", folder / f"tree-{version}", folder / f"image-{version}"
    for path in (base, own, built):
        path.mkdir(exist_ok=True)
    (base / "python").write_text("shared by all")
    (own / "version").write_text(version)
    layers = [layout.layer(built, tree, lambda path: True) for tree in (base, own)]
    image = OciImage(name=NAME, folder=built, digest=layout.finish(built, layers, {"User": "65532", "Env": [version]}))
    registry.push(site.registry.there, image)
    then = time.time() - days_ago * FRESH_S
    os.utime(link(site, image), (then, then))
    return image


def link(site: Site, image: OciImage) -> Path:
    """Return the file whose time shows when the image was pushed."""
    revisions = site.registry.storage / "docker/registry/v2/repositories" / NAME / "_manifests/revisions"
    return revisions / image.digest.replace(":", "/") / "link"


def parts(image: OciImage) -> set[str]:
    """Return the digests of all the image's blobs."""
    digest, manifest = manifest_of(image.folder)
    return {digest, *(str(blob["digest"]) for blob in (manifest["config"], *manifest["layers"]))}


def on_disk(site: Site) -> set[str]:
    """Return the digests of all blobs on the registry's disk."""
    blobs = (site.registry.storage / "docker/registry/v2/blobs").glob("*/*/*/data")
    return {f"sha256:{blob.parent.name}" for blob in blobs}


def is_complete(site: Site, image: OciImage) -> bool:
    """Return whether a node could pull the image: every blob has the content of its digest."""
    with registry._Repository(site.registry.there, image.name) as there:
        for digest in parts(image):
            place = "manifests" if digest == image.digest else "blobs"
            answer = there.request("GET", f"{there.path}/{place}/{digest}", headers={"Accept": MANIFEST})
            if answer.status_code != 200 or f"sha256:{hashlib.sha256(answer.content).hexdigest()}" != digest:
                return False
    return True


def deployed(site: Site, image: OciImage) -> None:
    """Deploy the image and wait for its ReplicaSet.

    There are no pods, so only the history names the previous version.
    """
    reference = image_reference(image.name, image.digest)
    labels = {"app": "records"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": reference}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    declared = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "records"}, "spec": spec}
    site.cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(declared))
    until("its ReplicaSet exists", lambda: reference in site.cluster.kubectl("get", "rs", "-o", "wide"), 30)


def test_images_for_pods_or_a_rollback_stay_complete_and_all_others_are_removed(site: Site, tmp_path: Path) -> None:
    """Shared blobs stay, and a removed image can be pushed again."""
    before, now, first, second = (pushed(site, tmp_path, version) for version in ("1", "2", "3", "4"))
    fresh = pushed(site, tmp_path, "5", days_ago=0.5)
    deployed(site, before)
    deployed(site, now)
    code, output, errors = site.clean()
    assert (code, errors) == (0, "")
    assert sorted(output.splitlines()) == sorted(f"removed {NAME}@{one.digest}" for one in (first, second))
    kept = [before, now, fresh]
    assert all(is_complete(site, image) for image in kept)
    assert on_disk(site) == set().union(*(parts(image) for image in kept))
    assert len(parts(first) & on_disk(site)) == 1  # the shared layer
    assert site.clean() == (0, "", "")
    assert registry.push(site.registry.there, first) == 2
    assert is_complete(site, first)


def test_an_old_image_that_is_declared_again_is_fresh(site: Site, tmp_path: Path) -> None:
    """The image is in the registry and its pods are not declared yet. It is pushed all the same."""
    old, stale, now = (pushed(site, tmp_path, version) for version in ("1", "2", "3"))
    deployed(site, now)
    assert registry.push(site.registry.there, old) == 0
    last = pushed(site, tmp_path, "4", days_ago=-0.5)
    assert site.clean() == (0, f"removed {NAME}@{stale.digest}\n", "")
    assert is_complete(site, old)
    assert is_complete(site, last)


def test_no_image_is_removed_while_the_api_server_does_not_answer(site: Site, tmp_path: Path) -> None:
    stale, now = pushed(site, tmp_path, "1"), pushed(site, tmp_path, "2")
    deployed(site, now)
    site.cluster.stop_api()
    try:
        code, output, errors = site.clean()
    finally:
        site.cluster.start_api()
    assert (code, output) == (1, "")
    assert f"GET {site.cluster.server}/api/v1/pods: " in errors
    assert is_complete(site, stale)
    assert stale.digest in site.clean()[1]


def test_a_lost_manifest_does_not_stop_the_removal_of_others(site: Site, tmp_path: Path) -> None:
    """As after a power loss. The next push uploads it again."""
    lost, stale, now = (pushed(site, tmp_path, version) for version in ("1", "2", "3"))
    deployed(site, now)
    shutil.rmtree(site.registry.storage / "docker/registry/v2/blobs/sha256" / lost.digest[7:9] / lost.digest[7:])
    assert site.clean() == (0, f"removed {NAME}@{stale.digest}\n", "")
    assert on_disk(site) == parts(now)
    registry.push(site.registry.there, lost)
    assert is_complete(site, lost)


@pytest.mark.parametrize("arguments", [("get", "secrets"), ("get", "pod", "records"), ("delete", "pod", "records")])
def test_its_certificate_may_only_list_objects_with_image_references(site: Site, arguments: tuple[str, ...]) -> None:
    key, cert = pki.issue(site.cluster.authority, kubernetes_pki.CLEANER_USER, [], DAYS, ["client"])
    pair = {"client-certificate-data": cert, "client-key-data": key}
    user = {name: base64.b64encode(text.encode()).decode() for name, text in pair.items()}
    config = site.folder / "own.conf"
    config.write_text(site.cluster.kubeconfig(user=user))
    site.cluster.kubectl(f"--kubeconfig={config}", "get", "pods,deployments,cronjobs", "--all-namespaces")
    with pytest.raises(GovcloudError) as refused:
        site.cluster.kubectl(f"--kubeconfig={config}", *arguments)
    assert "forbidden" in str(refused.value.next_step).lower()
