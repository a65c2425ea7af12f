"""What the clean-up leaves in a real registry, by the word of a real API server."""

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
from tests.integration.registry.conftest import Room
from tests.polling import until
from tools.oci import layout
from workstation.errors import GovcloudError
from workstation.oci import MANIFEST, OciImage, manifest_of

NAME = "planning/records"


def pushed(room: Room, folder: Path, version: str, *, days_ago: float = 2) -> OciImage:
    """In the registry, whole and since then: a layer that all versions share, and one of its own."""
    base, own, made = folder / "base", folder / f"tree-{version}", folder / f"image-{version}"
    for path in (base, own, made):
        path.mkdir(exist_ok=True)
    (base / "python").write_text("shared by all")
    (own / "version").write_text(version)
    layers = [layout.layer(made, tree, lambda path: True) for tree in (base, own)]
    image = OciImage(name=NAME, folder=made, digest=layout.finish(made, layers, {"User": "65532", "Env": [version]}))
    registry.push(room.registry.there, image)
    then = time.time() - days_ago * FRESH_S
    os.utime(link(room, image), (then, then))
    return image


def link(room: Room, image: OciImage) -> Path:
    """By its time the registry's disk tells when the image was pushed."""
    revisions = room.registry.storage / "docker/registry/v2/repositories" / NAME / "_manifests/revisions"
    return revisions / image.digest.replace(":", "/") / "link"


def parts(image: OciImage) -> set[str]:
    """Digests of all its blobs."""
    digest, manifest = manifest_of(image.folder)
    return {digest, *(str(blob["digest"]) for blob in (manifest["config"], *manifest["layers"]))}


def on_disk(room: Room) -> set[str]:
    """Digests of all blobs that the registry's disk holds."""
    blobs = (room.registry.storage / "docker/registry/v2/blobs").glob("*/*/*/data")
    return {f"sha256:{blob.parent.name}" for blob in blobs}


def is_whole(room: Room, image: OciImage) -> bool:
    """As a node would pull it: every part, by its content."""
    with registry._Repository(room.registry.there, image.name) as there:
        for digest in parts(image):
            place = "manifests" if digest == image.digest else "blobs"
            answer = there.ask("GET", f"{there.path}/{place}/{digest}", headers={"Accept": MANIFEST})
            if answer.status_code != 200 or f"sha256:{hashlib.sha256(answer.content).hexdigest()}" != digest:
                return False
    return True


def deployed(room: Room, image: OciImage) -> None:
    """A Deployment has it, and its ReplicaSet is there; no pod is, so the history alone names the version before."""
    reference = image_reference(image.name, image.digest)
    labels = {"app": "records"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": reference}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    declared = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "records"}, "spec": spec}
    room.cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(declared))
    until("its ReplicaSet is there", lambda: reference in room.cluster.kubectl("get", "rs", "-o", "wide"), 30)


def test_images_that_pods_or_a_rollback_may_need_stay_whole_and_all_others_leave_the_disk(
    room: Room, tmp_path: Path
) -> None:
    """Parts that are shared stay, and an image that is gone can be brought again."""
    before, now, first, second = (pushed(room, tmp_path, version) for version in ("1", "2", "3", "4"))
    fresh = pushed(room, tmp_path, "5", days_ago=0.5)
    deployed(room, before)
    deployed(room, now)
    code, said, faults = room.clean()
    assert (code, faults) == (0, "")
    assert sorted(said.splitlines()) == sorted(f"removed {NAME}@{one.digest}" for one in (first, second))
    kept = [before, now, fresh]
    assert all(is_whole(room, image) for image in kept)
    assert on_disk(room) == set().union(*(parts(image) for image in kept))
    assert len(parts(first) & on_disk(room)) == 1  # the layer that all share
    assert room.clean() == (0, "", "")
    assert registry.push(room.registry.there, first) == 2
    assert is_whole(room, first)


def test_an_old_image_that_is_declared_again_is_fresh(room: Room, tmp_path: Path) -> None:
    """It is there already and its pods are not yet; it is pushed all the same."""
    old, stale, now = (pushed(room, tmp_path, version) for version in ("1", "2", "3"))
    deployed(room, now)
    assert registry.push(room.registry.there, old) == 0
    last = pushed(room, tmp_path, "4", days_ago=-0.5)
    assert room.clean() == (0, f"removed {NAME}@{stale.digest}\n", "")
    assert is_whole(room, old)
    assert is_whole(room, last)


def test_while_the_api_server_does_not_answer_nothing_is_removed(room: Room, tmp_path: Path) -> None:
    stale, now = pushed(room, tmp_path, "1"), pushed(room, tmp_path, "2")
    deployed(room, now)
    room.cluster.stop_api()
    try:
        code, said, faults = room.clean()
    finally:
        room.cluster.start_api()
    assert (code, said) == (1, "")
    assert f"GET {room.cluster.server}/api/v1/pods: " in faults
    assert is_whole(room, stale)
    assert stale.digest in room.clean()[1]


def test_a_manifest_that_the_disk_has_lost_keeps_none_from_being_removed(room: Room, tmp_path: Path) -> None:
    """As after a loss of power; the next push brings it again."""
    lost, stale, now = (pushed(room, tmp_path, version) for version in ("1", "2", "3"))
    deployed(room, now)
    shutil.rmtree(room.registry.storage / "docker/registry/v2/blobs/sha256" / lost.digest[7:9] / lost.digest[7:])
    assert room.clean() == (0, f"removed {NAME}@{stale.digest}\n", "")
    assert on_disk(room) == parts(now)
    registry.push(room.registry.there, lost)
    assert is_whole(room, lost)


@pytest.mark.parametrize("words", [("get", "secrets"), ("get", "pod", "records"), ("delete", "pod", "records")])
def test_its_certificate_lists_what_names_images_and_opens_nothing_else(room: Room, words: tuple[str, ...]) -> None:
    key, cert = pki.issue(room.cluster.authority, kubernetes_pki.CLEANER_USER, [], DAYS, ["client"])
    pair = {"client-certificate-data": cert, "client-key-data": key}
    user = {name: base64.b64encode(text.encode()).decode() for name, text in pair.items()}
    config = room.folder / "own.conf"
    config.write_text(room.cluster.kubeconfig(user=user))
    room.cluster.kubectl(f"--kubeconfig={config}", "get", "pods,deployments,cronjobs", "--all-namespaces")
    with pytest.raises(GovcloudError) as refused:
        room.cluster.kubectl(f"--kubeconfig={config}", *words)
    assert "forbidden" in str(refused.value.next_step).lower()
