"""Errors about an image that cannot run at a site, or that the site's registry refuses."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from stacks.providers import registry
from stacks.providers.image import Image
from stacks.providers.resource import Call, ResourceFailed
from stacks.providers.values import Properties, to_property
from tools.oci import layout
from workstation import ssh
from workstation.errors import GovcloudError

CALL = Call(name="image-approval", stack="platform", preview=False, timeout_s=0, say=lambda line: None)
NODES = {"futian-kube1": "10.127.0.14", "futian-kube2": "10.127.0.24"}


def image(folder: Path) -> Properties:
    """Return the engine's inputs for an image of one file, at Futian."""
    (tree := folder / "tree").mkdir()
    (target := folder / "image").mkdir()
    (tree / "version").write_text("1")
    digest = layout.finish(target, [layout.layer(target, tree, lambda path: True)], {"User": "65532"})
    values = {
        "site": "futian",
        "name": "approval",
        "digest": digest,
        "url": "https://10.127.0.14:5000",
        "host": "futian-kube1",
        "nodes": NODES,
        "folder": str(target),
        "identity": {"authority": "", "cert": "", "key": ""},
    }
    return {key: to_property(value) for key, value in values.items()}


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the output of `uname -m` by address; an address without an entry does not answer. All are ARM machines."""
    found = dict.fromkeys(NODES.values(), "aarch64")

    def run(access: ssh.Access, address: str, argv: list[str], *, timeout_s: float) -> ssh.Result:
        assert argv == ["uname", "-m"]
        if address not in found:
            raise ssh.HostUnreachable(f"{address}: no answer")
        return ssh.Result(returncode=0, stdout=f"{found[address]}\n".encode(), stderr=b"")

    monkeypatch.setattr(ssh, "run", run)
    return found


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the digests that were pushed to the registry."""
    found: list[str] = []
    monkeypatch.setattr(registry, "push", lambda there, layout: found.append(layout.digest) or 1)
    return found


def of_architecture(monkeypatch: pytest.MonkeyPatch, machine: str) -> None:
    """Build later images for this machine type."""
    monkeypatch.setattr("platform.machine", lambda: machine)


def test_an_image_of_another_architecture_is_refused_before_the_push(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machines: dict[str, str], sent: list[str]
) -> None:
    """The message names the image, both architectures and the next step."""
    of_architecture(monkeypatch, "x86_64")
    with pytest.raises(ResourceFailed) as failed:
        asyncio.run(Image().create(image(tmp_path), CALL))
    text = "futian: image approval: it is for amd64, and futian-kube1 is arm64, futian-kube2 is arm64: its pods could"
    assert text in str(failed.value)
    assert "run the same command on a workstation that is arm64" in str(failed.value)
    assert sent == []


def test_every_node_of_the_site_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machines: dict[str, str], sent: list[str]
) -> None:
    """Not only the node with the registry: pods may start on each node."""
    of_architecture(monkeypatch, "aarch64")
    machines["10.127.0.24"] = "x86_64"
    with pytest.raises(ResourceFailed, match=r"it is for arm64, and futian-kube2 is amd64: .* have one architecture"):
        asyncio.run(Image().create(image(tmp_path), CALL))
    assert sent == []


def test_a_new_node_causes_a_new_check(tmp_path: Path) -> None:
    """Also if the registry already has the image."""
    olds = image(tmp_path)
    news = {**olds, "nodes": to_property({**NODES, "futian-kube3": "10.127.0.34"})}
    assert Image().diff(olds, news).changes
    assert not Image().diff(olds, dict(olds)).changes


def test_an_unreachable_node_is_reported_but_a_reachable_node_must_report_its_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machines: dict[str, str], sent: list[str]
) -> None:
    """An unreachable node starts no pods. If no node answers, nothing is pushed."""
    of_architecture(monkeypatch, "aarch64")
    said: list[str] = []
    news, call = image(tmp_path), replace(CALL, say=said.append)
    del machines["10.127.0.24"]
    made, _ = asyncio.run(Image().create(news, call))
    assert made == "futian/approval"
    assert "futian-kube2 does not answer" in said[0]
    assert len(sent) == 1
    machines["10.127.0.24"] = ""
    with pytest.raises(ResourceFailed, match="futian-kube2 does not report its architecture; run `uname -m`"):
        asyncio.run(Image().create(news, call))
    machines.clear()
    with pytest.raises(ResourceFailed, match="futian-kube1, futian-kube2 does not report"):
        asyncio.run(Image().create(news, call))
    assert len(sent) == 1


def test_a_registry_error_contains_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machines: dict[str, str]
) -> None:
    of_architecture(monkeypatch, "aarch64")

    def refuse(*given: object) -> bool:
        raise GovcloudError("the image registry of futian-kube1 refused", "see its journal")

    monkeypatch.setattr(registry, "push", refuse)
    monkeypatch.setattr(registry, "holds", refuse)
    news = image(tmp_path)
    with pytest.raises(ResourceFailed, match="approval: the image registry of futian-kube1 refused; see its journal"):
        asyncio.run(Image().create(news, CALL))
    with pytest.raises(ResourceFailed, match="approval: the image registry of futian-kube1 refused; see its journal"):
        asyncio.run(Image().read("futian/approval", news, news, CALL))
